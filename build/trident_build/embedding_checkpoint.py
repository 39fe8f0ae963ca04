"""A sentence embedder as sentence-transformers lays it out: what it says of itself, and whether it is one of ours.

    config.json, model.safetensors, tokenizer.json   a BERT encoder
    sentence_bert_config.json                        the longest text
    1_Pooling/config.json                            how token vectors become one

https://sbert.net/docs/sentence_transformer/usage/custom_models.html
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trident.errors import RecipeError
from trident.manifest import Tokens
from trident_build.facts import ModelFacts
from trident_build.hf_checkpoint import read_header, read_json

WEIGHTS = "model.safetensors"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
# What `embedding_graph` writes; any other value would be another computation.
_REQUIRED = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
}
_DEFAULTS = {"position_embedding_type": "absolute"}
_SPECIAL = {"eos": "[SEP]", "bos": "[CLS]", "pad": "[PAD]"}
_WORDS = "embeddings.word_embeddings.weight"
_PRECISIONS = {"F32": "f32", "F16": "f16", "BF16": "bf16"}


@dataclass(frozen=True)
class EncoderShape:
    """The sizes of a BERT encoder."""

    num_layers: int
    num_heads: int
    hidden: int  # dimensions of an embedding
    epsilon: float  # of layer normalisation

    @staticmethod
    def of(config: dict[str, Any]) -> EncoderShape:
        """As config.json says them.

        Raises:
            RecipeError: one is missing.
        """
        try:
            return EncoderShape(
                num_layers=config["num_hidden_layers"],
                num_heads=config["num_attention_heads"],
                hidden=config["hidden_size"],
                epsilon=config["layer_norm_eps"],
            )
        except KeyError as exc:
            raise RecipeError(f"config.json says no {exc}, which a build needs") from exc


def read_embedding_checkpoint(folder: Path) -> ModelFacts:
    """The facts of the checkpoint in `folder`; `context_tokens` is the longest text that it was made for.

    Raises:
        RecipeError: a file is missing or unreadable, or the model is none that can be built; names it.
    """
    config = read_json(folder / "config.json")
    for key, expected in _REQUIRED.items():
        found = config.get(key, _DEFAULTS.get(key))
        if found != expected:
            raise RecipeError(f"{folder.name}/config.json: {key} is {found!r}; only {expected!r} can be built")
    EncoderShape.of(config)
    _check_pooling(folder)
    tensors = read_header(folder / WEIGHTS)
    longest = read_json(folder / "sentence_bert_config.json").get("max_seq_length")
    if not isinstance(longest, int) or longest > config.get("max_position_embeddings", 0):
        raise RecipeError(f"{folder.name}/sentence_bert_config.json: max_seq_length is {longest!r}")
    special = _special_tokens(folder)
    return ModelFacts(
        architecture=config.get("architectures", ["BertModel"])[0],
        precision=_PRECISIONS.get(str(tensors.get(_WORDS, {}).get("dtype")), "unknown"),
        context_tokens=longest,
        tokens=Tokens(
            vocab_size=config["vocab_size"],
            eos_ids=(special[_SPECIAL["eos"]],),
            bos_id=special[_SPECIAL["bos"]],
            pad_id=special[_SPECIAL["pad"]],
        ),
        special_tokens=special,
        weights_bytes=(folder / WEIGHTS).stat().st_size,
    )


def _check_pooling(folder: Path) -> None:
    modes = {key for key, value in read_json(folder / "1_Pooling" / "config.json").items() if value is True}
    modes = {mode for mode in modes if mode.startswith("pooling_mode_")}
    if modes != {"pooling_mode_mean_tokens"}:
        raise RecipeError(
            f"{folder.name}/1_Pooling/config.json: {', '.join(sorted(modes))}; only the mean can be built"
        )


def _special_tokens(folder: Path) -> dict[str, int]:
    added = read_json(folder / "tokenizer.json").get("added_tokens", [])
    special = {token["content"]: token["id"] for token in added if token.get("special")}
    missing = [text for text in _SPECIAL.values() if text not in special]
    if missing:
        raise RecipeError(f"{folder.name}/tokenizer.json has no {', '.join(missing)}")
    return special
