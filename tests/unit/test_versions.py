"""Versions are promoted in one step, gone back from as often as there were promotions, and cleared away when unused."""

import shutil

import pytest

from tests.unit.manifests import MANIFEST
from trident import versions
from trident.errors import ManifestError
from trident.manifest import CURRENT, write_manifest
from trident.versions import (
    collect_garbage,
    current_version,
    differences,
    find_version,
    holding,
    list_versions,
    promote,
    rollback,
)

NAME = "tiny"


@pytest.fixture
def engines(tmp_path):
    """Four versions, v4 the newest; none is current."""
    for number in range(1, 5):
        directory = tmp_path / NAME / f"v{number}"
        directory.mkdir(parents=True)
        (directory / "x").write_text("x")
        changes = {"name": NAME, "version": f"v{number}", "built_at": f"2026-01-0{number}T00:00:00+00:00"}
        write_manifest(directory, MANIFEST.model_copy(update=changes))
    return tmp_path


def names(versions):
    return [version.directory.name for version in versions]


def test_the_newest_build_is_first_and_the_current_one_is_marked(engines):
    promote(engines / NAME / "v2")
    versions = list_versions(engines, NAME)
    assert names(versions) == ["v4", "v3", "v2", "v1"]
    assert [version.directory.name for version in versions if version.is_current] == ["v2"]
    assert versions[0].size_bytes == 1


def test_current_is_a_relative_link(engines):
    promote(engines / NAME / "v1")
    assert str((engines / NAME / CURRENT).readlink()) == "v1"
    assert not [path for path in (engines / NAME).iterdir() if path.name.startswith(".current")]


def test_each_rollback_goes_one_promotion_back(engines):
    for version in ("v1", "v3", "v3", "v2"):  # the same one twice is one promotion
        promote(engines / NAME / version)
    assert rollback(engines, NAME).directory.name == "v3"
    assert rollback(engines, NAME).directory.name == "v1"
    with pytest.raises(ManifestError, match="no version was promoted before v1"):
        rollback(engines, NAME)
    assert current_version(engines / NAME) == "v1"


def test_a_link_that_was_set_by_hand_can_be_gone_back_to(engines):
    (engines / NAME / CURRENT).symlink_to("v1")
    promote(engines / NAME / "v4")
    assert rollback(engines, NAME).directory.name == "v1"


def test_a_rollback_passes_over_versions_that_are_gone(engines):
    for version in ("v1", "v2", "v3"):
        promote(engines / NAME / version)
    (engines / NAME / "v2" / "manifest.json").unlink()
    assert rollback(engines, NAME).directory.name == "v1"


def test_the_current_and_the_newest_others_are_kept(engines):
    promote(engines / NAME / "v1")
    assert names(collect_garbage(engines, NAME, 1, is_dry_run=True)) == ["v3", "v2"]
    assert names(list_versions(engines, NAME)) == ["v4", "v3", "v2", "v1"]
    assert names(collect_garbage(engines, NAME, 1)) == ["v3", "v2"]
    assert names(list_versions(engines, NAME)) == ["v4", "v1"]
    assert sorted(path.name for path in engines.iterdir()) == [NAME]


def test_the_version_that_a_rollback_goes_to_is_kept(engines):
    promote(engines / NAME / "v1")
    promote(engines / NAME / "v4")
    assert names(collect_garbage(engines, NAME, 0)) == ["v3", "v2"]
    assert rollback(engines, NAME).directory.name == "v1"


def test_a_held_version_is_kept(engines):
    promote(engines / NAME / "v4")
    with holding(engines / NAME / "v2"):
        assert names(collect_garbage(engines, NAME, 0)) == ["v3", "v1"]
    assert names(collect_garbage(engines, NAME, 0)) == ["v2"]


def test_a_version_that_is_promoted_while_garbage_is_collected_is_kept(engines, monkeypatch):
    """Somebody promotes it after the list was made."""
    promote(engines / NAME / "v4")
    listed = list_versions(engines, NAME)
    promote(engines / NAME / "v1")
    monkeypatch.setattr(versions, "list_versions", lambda *_: listed)
    assert names(collect_garbage(engines, NAME, 0)) == ["v3", "v2"]
    assert current_version(engines / NAME) == "v1"


def test_a_version_that_is_gone_is_not_promoted(engines):
    promote(engines / NAME / "v4")
    shutil.rmtree(engines / NAME / "v2")
    with pytest.raises(ManifestError, match=r"no engine at .*v2"):
        promote(engines / NAME / "v2")
    assert current_version(engines / NAME) == "v4"


def test_the_start_of_a_version_finds_it_where_it_is_the_only_one(engines):
    promote(engines / NAME / "v2")
    assert find_version(engines, NAME).directory.name == "v2"
    assert find_version(engines, f"{NAME}@v3").directory.name == "v3"
    with pytest.raises(ManifestError, match="several versions that begin with 'v': v4, v3, v2, v1"):
        find_version(engines, f"{NAME}@v")
    with pytest.raises(ManifestError, match="no version 'x': v4, v3, v2, v1"):
        find_version(engines, f"{NAME}@x")


@pytest.mark.parametrize("name", ["tyny", "../tiny", ""])
def test_an_unknown_engine_is_refused_with_those_that_there_are(engines, name):
    with pytest.raises(ManifestError, match="there are tiny"):
        list_versions(engines, name)


def test_without_a_current_version_it_says_how_to_make_one(engines):
    with pytest.raises(ManifestError, match="trident engines promote tiny@VERSION"):
        find_version(engines, NAME)


def test_differences_are_told_by_key(engines):
    old, new = find_version(engines, f"{NAME}@v1").manifest, find_version(engines, f"{NAME}@v2").manifest
    new = new.model_copy(update={"precision": "int8", "quality": {"perplexity": 20.5}})
    found = differences(old, new)
    assert found["precision"] == ("q4_1", "int8")
    assert found["quality.perplexity"] == ("-", "20.5")
    assert set(found) == {"precision", "quality.perplexity", "version", "built_at"}
    assert differences(old, old) == {}
