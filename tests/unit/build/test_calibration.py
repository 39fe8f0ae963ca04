"""Samples are of the length that was asked for and lie all over the text; a text that is too short is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from tests.unit.build.tiny_source import write_gguf
from trident.errors import RecipeError
from trident_build.calibration import cut_samples, read_text
from trident_build.gguf_file import read_gguf
from trident_build.recipe import Calibration
from trident_build.tokenizer import convert_tokenizer


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    return convert_tokenizer(read_gguf(write_gguf(tmp_path / "tiny.gguf")))


def test_samples_are_equally_long_and_reach_the_end_of_the_text(tokenizer: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("".join(f"{number:04d}" for number in range(1000)))
    calibration = Calibration(text=tmp_path / "text.txt", num_samples=10, sample_tokens=40)
    samples = cut_samples(calibration, tokenizer)
    assert [len(tokenizer.encode(sample).ids) for sample in samples] == [40] * 10
    assert [int(sample[:4]) for sample in samples] == list(range(0, 1000, 100))


@pytest.mark.parametrize(("text", "problem"), [("", "is empty"), (" \n", "is empty"), ("hello", "has 1 tokens, .*512")])
def test_a_text_without_enough_in_it_is_refused(text: str, problem: str, tokenizer: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(text)
    with pytest.raises(RecipeError, match=rf"calibration text .*{problem}"):
        cut_samples(Calibration(text=tmp_path / "text.txt", num_samples=1), tokenizer)


def test_a_text_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"absent.txt cannot be read: No such file"):
        read_text(Calibration(text=tmp_path / "absent.txt"))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(RecipeError, match="is not UTF-8"):
        read_text(Calibration(text=tmp_path / "binary"))
