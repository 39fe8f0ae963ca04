"""Verification catches the mistakes that conversions really make."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from tests.unit.build.tiny_source import CONTROL, write_gguf
from trident.errors import EngineError
from trident_build.gguf_file import GgufMetadata, read_gguf
from trident_build.texts import agreement_texts
from trident_build.tokenizer import convert_tokenizer
from trident_build.verify import can_spell, check_agreement, check_round_trip, check_special_tokens

TEXTS = agreement_texts(CONTROL)
SPECIAL = {text: token_id for token_id, text in enumerate(CONTROL)}


@pytest.fixture
def metadata(tmp_path: Path) -> GgufMetadata:
    return read_gguf(write_gguf(tmp_path / "tiny.gguf"))


@pytest.fixture
def tokenizer(metadata: GgufMetadata) -> Tokenizer:
    return convert_tokenizer(metadata)


def test_the_texts_are_several_hundred_and_the_same_every_time() -> None:
    assert len(TEXTS) > 400
    assert agreement_texts(CONTROL) == TEXTS


def test_a_right_tokenizer_passes(tokenizer: Tokenizer) -> None:
    check_agreement(tokenizer, TEXTS, [tokenizer.encode(text).ids for text in TEXTS])
    check_round_trip(tokenizer, TEXTS)
    check_special_tokens(tokenizer, SPECIAL)


def test_another_splitting_rule_is_caught(tokenizer: Tokenizer) -> None:
    reference = [tokenizer.encode(text).ids for text in TEXTS]
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    with pytest.raises(EngineError, match=r"the tokenizer was converted wrongly: .* for OpenVINO"):
        check_agreement(tokenizer, TEXTS, reference)


def test_a_missing_decoder_is_caught(tokenizer: Tokenizer) -> None:
    tokenizer.decoder = None
    with pytest.raises(EngineError, match="comes back as"):
        check_round_trip(tokenizer, TEXTS)


def test_control_tokens_that_are_plain_text_are_caught(tokenizer: Tokenizer) -> None:
    plain = Tokenizer(models.BPE(vocab=tokenizer.get_vocab(), merges=[]))
    plain.pre_tokenizer = tokenizer.pre_tokenizer
    with pytest.raises(EngineError, match=r"<\|endoftext\|>"):
        check_special_tokens(plain, SPECIAL)


def test_a_text_with_a_byte_that_the_vocabulary_lacks_cannot_be_spelled(tokenizer: Tokenizer) -> None:
    assert can_spell(tokenizer, "é")
    poor = Tokenizer(models.BPE(vocab={"a": 0}, merges=[]))
    assert can_spell(poor, "a")
    assert not can_spell(poor, "é")
