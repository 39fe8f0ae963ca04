"""The proof that an engine directory works before anybody sees it: same tokens, right ends, real text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, pre_tokenizers

from trident.errors import EngineError
from trident.text.token_pieces import read_pieces
from trident_build.facts import ModelFacts
from trident_build.openvino_process import probe
from trident_build.progress import Stage
from trident_build.texts import WRITTEN, agreement_texts

PROMPT = "The capital of France is"
NUM_TOKENS = 12


def verify_engine(engine: Path, facts: ModelFacts, stage: Stage, *, is_exact: bool, log: Path | None = None) -> None:
    """Compare the written tokenizer with OpenVINO's own, check every id that ends a text, and generate.

    OpenVINO's own tokenizer encodes no prompt in Trident; guides take its vocabulary, which must be the same. The one
    that GenAI makes of a GGUF file has the same ids for every text. The one that openvino-tokenizers 2026.4 makes of
    tokenizer.json has not: where digits are split off, a run of spaces before them is cut otherwise.

    Args:
        engine: the folder.
        facts: of the model.
        stage: is told what came of it.
        is_exact: OpenVINO's tokenizer was made from the GGUF file.
        log: takes what OpenVINO prints.

    Raises:
        EngineError: a token or a text does not come back, an end is missing, or nothing is generated.
    """
    tokenizer, texts = check_tokenizer(engine, facts)
    found = probe(engine, texts, PROMPT, NUM_TOKENS, log=log)
    if is_byte_level(tokenizer):
        check_vocabulary(engine, found.vocabulary)
    if is_exact:
        check_agreement(tokenizer, texts, found.token_ids)
    agreeing = num_agreeing(tokenizer, texts, found.token_ids)
    if found.eos_id not in facts.tokens.eos_ids or found.stop_ids != sorted(facts.tokens.eos_ids):
        raise EngineError(f"OpenVINO ends at {found.eos_id} and {found.stop_ids}, the model at {facts.tokens.eos_ids}")
    if not found.completion.strip():
        raise EngineError(f"the converted model completes {PROMPT!r} with nothing")
    stage.note(f"{len(texts)} texts come back, {agreeing} as OpenVINO's ids; {PROMPT!r} -> {found.completion!r}")


def check_tokenizer(engine: Path, facts: ModelFacts) -> tuple[Tokenizer, list[str]]:
    """The tokenizer in the folder `engine` and the texts that came back from it; ends and special tokens are right.

    Raises:
        EngineError: a text does not come back, or a special token is not one id, its own.
    """
    tokenizer = Tokenizer.from_file(str(engine / "tokenizer" / "tokenizer.json"))
    if is_byte_level(tokenizer):
        texts = [text for text in agreement_texts(tuple(facts.special_tokens)) if can_spell(tokenizer, text)]
    else:
        texts = [text for text in WRITTEN if text.isascii() and text.isprintable() and text == text.strip() != ""]
    check_round_trip(tokenizer, texts)
    check_special_tokens(tokenizer, facts.special_tokens)
    for token_id in facts.tokens.eos_ids:
        if tokenizer.id_to_token(token_id) is None:
            raise EngineError(f"the tokenizer has no token {token_id}, which ends a text")
    return tokenizer, texts


def is_byte_level(tokenizer: Tokenizer) -> bool:
    """Whether every byte of a text is kept: others normalize it, and agree with nobody on odd characters."""
    return isinstance(tokenizer.decoder, decoders.ByteLevel) and tokenizer.normalizer is None


def check_agreement(tokenizer: Tokenizer, texts: Sequence[str], reference: Sequence[Sequence[int]]) -> None:
    """Every text has the token ids of the reference.

    Raises:
        EngineError: the first text that has others.
    """
    for text, expected in zip(texts, reference, strict=True):
        found = tokenizer.encode(text, add_special_tokens=False).ids
        if found != list(expected):
            raise EngineError(
                f"the tokenizer was converted wrongly: {text!r} is {found}, for OpenVINO {list(expected)}"
            )


def num_agreeing(tokenizer: Tokenizer, texts: Sequence[str], reference: Sequence[Sequence[int]]) -> int:
    """How many texts have the token ids of the reference."""
    pairs = zip(texts, reference, strict=True)
    return sum(tokenizer.encode(text, add_special_tokens=False).ids == list(expected) for text, expected in pairs)


def check_vocabulary(engine: Path, vocabulary: Mapping[str, int]) -> None:
    """Every token of OpenVINO's tokenizer, given in hexadecimal, has the bytes that tokenizer.json gives its id.

    Raises:
        EngineError: the first that has not.
    """
    content = json.loads((engine / "tokenizer" / "tokenizer.json").read_text(encoding="utf-8"))
    pieces = read_pieces(content, skip_special_tokens=False).inner
    for spelling, token_id in vocabulary.items():
        own = pieces[token_id] if token_id < len(pieces) else b""
        if own != bytes.fromhex(spelling):
            raise EngineError(
                f"the tokenizer was converted wrongly: token {token_id} is {own!r}, for OpenVINO "
                f"{bytes.fromhex(spelling)!r}"
            )


def check_round_trip(tokenizer: Tokenizer, texts: Sequence[str]) -> None:
    """Every text comes back from its token ids.

    Raises:
        EngineError: the first text that does not.
    """
    for text in texts:
        back = tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids, skip_special_tokens=False)
        if back != text:
            raise EngineError(f"the tokenizer was converted wrongly: {text!r} comes back as {back!r}")


def can_spell(tokenizer: Tokenizer, text: str) -> bool:
    """Whether the vocabulary has every byte of `text`.

    SmolLM's lacks 21 of the 256: 13 that UTF-8 never uses, six control characters, and the lead bytes of planes 4 to
    11. The model's own tokenizer drops those (https://github.com/huggingface/smollm/issues/81) and so does the
    converted one; OpenVINO's writes `<|endoftext|>` instead, which ends a text.
    """
    spelling = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return all(
        tokenizer.token_to_id(char) is not None for piece, _ in spelling.pre_tokenize_str(text) for char in piece
    )


def check_special_tokens(tokenizer: Tokenizer, special_tokens: Mapping[str, int]) -> None:
    """Every special token is one id, its own, and disappears from decoded text.

    Raises:
        EngineError: the first one that does not.
    """
    for text, token_id in special_tokens.items():
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        if ids != [token_id] or tokenizer.decode(ids) != "":
            raise EngineError(f"the tokenizer was converted wrongly: {text!r} is {ids}")
