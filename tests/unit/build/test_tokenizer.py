"""The converted tokenizer is the model's: OpenVINO's own gives the same ids for every text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from tests.unit.build.tiny_source import CONTROL, vocabulary, write_gguf
from tests.unit.examples import many
from trident.errors import RecipeError
from trident_build.gguf_file import read_gguf
from trident_build.tokenizer import check_supported, convert_tokenizer, eos_ids, write_tokenizer
from trident_build.verify import can_spell

TEXT = st.lists(st.one_of(st.text(), st.sampled_from([*CONTROL, " ", "  ", "\n", "123", "'ll", "👩‍👩‍👧", "é"]))).map(
    "".join
)


@pytest.fixture(scope="session")
def converted(engine: Path) -> Tokenizer:
    return Tokenizer.from_file(str(engine / "tokenizer" / "tokenizer.json"))


@many(3)
@given(text=TEXT)
def test_every_text_that_can_be_spelled_has_openvino_s_ids(
    text: str, converted: Tokenizer, openvino_tokenizer: Any
) -> None:
    if can_spell(converted, text):
        expected = openvino_tokenizer.encode(text, add_special_tokens=False).input_ids.data[0].tolist()
        assert converted.encode(text).ids == expected


@many(3)
@given(text=TEXT)
def test_every_text_that_can_be_spelled_comes_back(text: str, converted: Tokenizer) -> None:
    if can_spell(converted, text):
        assert converted.decode(converted.encode(text).ids, skip_special_tokens=False) == text


@pytest.mark.parametrize("text", ["\U00040000", "\u0006", "\U0009abcd"])
def test_bytes_that_the_vocabulary_lacks_are_dropped_and_never_end_a_text(text: str, converted: Tokenizer) -> None:
    assert not can_spell(converted, text)
    assert 0 not in converted.encode(f"a{text}b").ids


def test_nothing_is_added_before_or_after(converted: Tokenizer) -> None:
    assert converted.encode("").ids == []
    assert (
        converted.encode("hello", add_special_tokens=True).ids
        == converted.encode("hello", add_special_tokens=False).ids
    )


def test_digits_stand_alone_merges_apply_and_control_tokens_are_one_id(tmp_path: Path) -> None:
    tokenizer = convert_tokenizer(read_gguf(write_gguf(tmp_path / "tiny.gguf")))
    assert tokenizer.encode("hello hello12<|im_end|>").tokens == ["hello", "Ġhello", "1", "2", "<|im_end|>"]


def test_the_files_name_the_special_tokens_and_every_end(tmp_path: Path) -> None:
    metadata = read_gguf(write_gguf(tmp_path / "tiny.gguf", chat_template="{{ messages }}"))
    write_tokenizer(metadata, convert_tokenizer(metadata), tmp_path)
    config = json.loads((tmp_path / "tokenizer" / "tokenizer_config.json").read_text())
    assert (config["bos_token"], config["eos_token"], config["pad_token"]) == (
        "<|im_start|>",
        "<|im_end|>",
        "<|im_end|>",
    )
    assert config["add_bos_token"] is False
    assert config["chat_template"] == (tmp_path / "tokenizer" / "chat_template.jinja").read_text() == "{{ messages }}"
    generation = json.loads((tmp_path / "generation_config.json").read_text())
    assert generation == {"bos_token_id": 1, "eos_token_id": [2, 0], "pad_token_id": 2}
    assert eos_ids(metadata) == (2, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokenizer_pre": "smolm"}, "tokenizer.ggml.pre is 'smolm', .*did you mean 'smollm'"),
        ({"tokenizer_pre": "qwen2"}, "tokenizer.ggml.pre is 'qwen2', an unknown splitting rule; known: smollm"),
        ({"tokenizer_model": "llama"}, "tokenizer.ggml.model is 'llama'; only 'gpt2'"),
        ({"add_bos_token": True}, "add_bos_token is true"),
    ],
)
def test_a_tokenizer_that_would_be_converted_wrongly_is_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    metadata = read_gguf(write_gguf(tmp_path / "tiny.gguf", **changes))
    with pytest.raises(RecipeError, match=message):
        check_supported(metadata)


def test_a_file_that_is_no_gguf_or_lacks_a_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"has no metadata key 'merges'"):
        read_gguf(write_gguf(tmp_path / "tiny.gguf", without="token_merges"))
    (tmp_path / "text.gguf").write_text("no model at all, only text, but long enough for a header")
    with pytest.raises(RecipeError, match="is no intact GGUF file"):
        read_gguf(tmp_path / "text.gguf")


@pytest.mark.parametrize("fraction", [0.0, 0.001, 0.1, 0.5, 0.9])
def test_a_truncated_gguf_is_refused(fraction: float, tmp_path: Path) -> None:
    whole = write_gguf(tmp_path / "tiny.gguf").read_bytes()
    (tmp_path / "cut.gguf").write_bytes(whole[: int(len(whole) * fraction)])
    with pytest.raises(RecipeError, match=r"intact GGUF|no metadata key"):
        read_gguf(tmp_path / "cut.gguf")


def test_the_tiny_vocabulary_is_as_the_file_says(tmp_path: Path) -> None:
    assert list(read_gguf(write_gguf(tmp_path / "tiny.gguf")).tokens) == vocabulary()
