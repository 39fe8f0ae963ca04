"""From a GGUF's vocabulary to Hugging Face tokenizer files. Knows byte-level BPE and nothing of engines.

transformers' own conversion adds a BOS, forgets the digits rule and swaps the names of eos and bos; this one is
checked against OpenVINO's tokenizer in `verify`.
"""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from trident.errors import RecipeError, did_you_mean
from trident.manifest import Tokens
from trident_build.facts import ModelFacts
from trident_build.gguf_file import GgufMetadata, TokenType

# llama.cpp, src/llama-vocab.cpp: LLAMA_VOCAB_PRE_TYPE_SMOLLM splits at "\p{N}", then by GPT-2's regex.
PRE_TOKENIZERS = {
    "smollm": pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    ),
}
# Same source: the control tokens that end a generation by their name, whatever `eos_token_id` says.
END_TOKENS = frozenset(
    {"<|endoftext|>", "<|im_end|>", "<|eot_id|>", "<|end|>", "<|end_of_text|>", "<end_of_turn>", "<|eom_id|>", "</s>"}
)


def check_supported(metadata: GgufMetadata) -> None:
    """Refuse a tokenizer that would be converted wrongly.

    Raises:
        RecipeError: another model than byte-level BPE, an unknown splitting rule, or a BOS before every text.
    """
    if metadata.tokenizer_model != "gpt2":
        raise RecipeError(
            f"tokenizer.ggml.model is '{metadata.tokenizer_model}'; only 'gpt2' (byte-level BPE) is known"
        )
    if metadata.pre_tokenizer not in PRE_TOKENIZERS:
        hint = did_you_mean(metadata.pre_tokenizer, PRE_TOKENIZERS)
        raise RecipeError(
            f"tokenizer.ggml.pre is '{metadata.pre_tokenizer}', an unknown splitting rule{hint or ';'} "
            f"known: {', '.join(PRE_TOKENIZERS)}"
        )
    if metadata.adds_bos:
        raise RecipeError("tokenizer.ggml.add_bos_token is true; only tokenizers that add nothing are known")


def eos_ids(metadata: GgufMetadata) -> tuple[int, ...]:
    """Every id that ends a completion, `eos_token_id` first."""
    named = [
        token_id
        for token_id, (text, kind) in enumerate(zip(metadata.tokens, metadata.token_types, strict=True))
        if kind is TokenType.CONTROL and text in END_TOKENS
    ]
    return tuple(dict.fromkeys([metadata.eos_id, *named]))


def convert_tokenizer(metadata: GgufMetadata) -> Tokenizer:
    """The tokenizer of a GGUF: adds no token of its own, control tokens in the text are one token each."""
    vocabulary = {text: token_id for token_id, text in enumerate(metadata.tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=list(metadata.merges)))
    tokenizer.pre_tokenizer = PRE_TOKENIZERS[metadata.pre_tokenizer]
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in metadata.control_tokens])
    return tokenizer


def write_tokenizer(metadata: GgufMetadata, tokenizer: Tokenizer, engine: Path) -> None:
    """Write `tokenizer/` and `generation_config.json` into the directory `engine`."""
    folder = engine / "tokenizer"
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_json(folder / "tokenizer_config.json", _tokenizer_config(metadata))
    if metadata.chat_template is not None:
        (folder / "chat_template.jinja").write_text(metadata.chat_template, encoding="utf-8")
    ids = {"bos_token_id": metadata.bos_id, "eos_token_id": eos_ids(metadata), "pad_token_id": pad_id(metadata)}
    _write_json(engine / "generation_config.json", {key: value for key, value in ids.items() if value is not None})


def pad_id(metadata: GgufMetadata) -> int:
    """The id that fills a batch: the file's own, or eos where it names none."""
    return metadata.eos_id if metadata.pad_id is None else metadata.pad_id


def facts_of(metadata: GgufMetadata, weights_bytes: int) -> ModelFacts:
    """What a build must know of the model in a GGUF file."""
    return ModelFacts(
        architecture=metadata.architecture,
        precision=metadata.precision,
        context_tokens=metadata.context_tokens,
        tokens=Tokens(
            vocab_size=len(metadata.tokens),
            eos_ids=eos_ids(metadata),
            bos_id=metadata.bos_id,
            pad_id=pad_id(metadata),
        ),
        special_tokens={text: metadata.tokens.index(text) for text in metadata.control_tokens},
        widths=metadata.widths,
        kv_values_per_token=metadata.kv_values_per_token,
        weights_bytes=weights_bytes,
    )


def _tokenizer_config(metadata: GgufMetadata) -> dict[str, object]:
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": metadata.context_tokens,
        "add_bos_token": metadata.adds_bos,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "bos_token": metadata.token(metadata.bos_id),
        "eos_token": metadata.token(metadata.eos_id),
        "pad_token": metadata.token(pad_id(metadata)),
        "unk_token": metadata.token(metadata.unknown_id),
        "chat_template": metadata.chat_template,
    }
    return {key: value for key, value in config.items() if value is not None}


def _write_json(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
