"""A Hugging Face checkpoint in a folder: what it says of itself, and whether it is whole. No PyTorch is needed.

Formats: config.json and generation_config.json (transformers), *.safetensors
(https://huggingface.co/docs/safetensors/index#format), tokenizer.json (tokenizers).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trident.errors import RecipeError
from trident.manifest import Tokens
from trident_build.facts import ModelFacts

INDEX = "model.safetensors.index.json"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
_MAX_HEADER_BYTES = 100_000_000  # of the format itself
_PRECISIONS = {"BF16": "bf16", "F16": "f16", "F32": "f32", "F8_E4M3": "fp8"}


def read_checkpoint(folder: Path) -> ModelFacts:
    """The facts of the checkpoint in `folder`; headers are read, tensors are not.

    Raises:
        RecipeError: a file is missing, truncated or unreadable; names it.
    """
    config = read_json(folder / "config.json")
    tensors = _tensors(folder)
    tokenizer = _tokenizer(folder)
    text_config = {**config, **config.get("text_config", {})}  # of models that also see
    special = {token["content"]: token["id"] for token in tokenizer.get("added_tokens", []) if token.get("special")}
    try:
        return ModelFacts(
            architecture=config["architectures"][0],
            precision=_precision(tensors),
            context_tokens=text_config["max_position_embeddings"],
            tokens=_tokens(folder, text_config, tokenizer),
            special_tokens=special,
            widths={
                n: t["shape"][1] for n, t in tensors.items() if n.endswith("_proj.weight") and len(t["shape"]) == 2
            },
            kv_values_per_token=_kv_values(text_config),
            weights_bytes=sum(path.stat().st_size for path in folder.glob("*.safetensors")),
        )
    except (KeyError, IndexError, TypeError) as exc:
        raise RecipeError(f"{folder.name}/config.json says no {exc}, which a build needs") from exc


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file of a checkpoint.

    Raises:
        RecipeError: there is none.
    """
    name = f"{path.parent.name}/{path.name}"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise RecipeError(f"no Hugging Face checkpoint: {name} is missing") from exc
    except (OSError, ValueError) as exc:
        raise RecipeError(f"{name} cannot be read: {exc}") from exc
    if not isinstance(content, dict):
        raise RecipeError(f"{name} is not a JSON object")
    return content


def _tensors(folder: Path) -> dict[str, dict[str, Any]]:
    """Name -> dtype and shape, of every tensor of every file."""
    if (folder / INDEX).is_file():
        names = sorted(set(read_json(folder / INDEX).get("weight_map", {}).values()))
    else:
        found = (path.name for path in folder.glob("*.safetensors"))
        names = sorted(name for name in found if not name.startswith("consolidated"))  # Mistral's second copy
    if not names:
        raise RecipeError(
            f"{folder.name} holds no *.safetensors; older formats run code when they are read: convert them with "
            "transformers' save_pretrained"
        )
    tensors: dict[str, dict[str, Any]] = {}
    for name in names:
        tensors.update(read_header(folder / name))
    return tensors


def read_header(path: Path) -> dict[str, dict[str, Any]]:
    """Name -> dtype, shape and place of every tensor in a safetensors file, whose length is checked.

    Raises:
        RecipeError: missing, not such a file, or shorter or longer than its header says.
    """
    name = f"{path.parent.name}/{path.name}"
    try:
        header, num_bytes = _header(path)
        header.pop("__metadata__", None)
        expected = 8 + num_bytes + max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
    except FileNotFoundError as exc:
        raise RecipeError(f"{name} is missing; download it again") from exc
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise RecipeError(f"{name} is no intact safetensors file: {exc}") from exc
    found = path.stat().st_size
    if found != expected:
        raise RecipeError(
            f"{name} is truncated or damaged: it has {found:,} bytes, its header says {expected:,}; download it again"
        )
    return header


def _header(path: Path) -> tuple[dict[str, Any], int]:
    with path.open("rb") as file:
        num_bytes = int.from_bytes(file.read(8), "little")
        if num_bytes > _MAX_HEADER_BYTES:
            raise ValueError(f"a header of {num_bytes:,} bytes")
        return json.loads(file.read(num_bytes)), num_bytes


def _precision(tensors: Mapping[str, Mapping[str, Any]]) -> str:
    dtypes = [tensor["dtype"] for tensor in tensors.values()]
    most = max(set(dtypes), key=dtypes.count)
    return _PRECISIONS.get(most, str(most).lower())


def _kv_values(config: Mapping[str, Any]) -> int | None:
    heads = config.get("num_attention_heads")
    kv_heads = config.get("num_key_value_heads", heads)
    layers, hidden = config.get("num_hidden_layers"), config.get("hidden_size")
    if not (heads and kv_heads and layers and hidden):
        return None
    return int(2 * layers * kv_heads * (config.get("head_dim") or hidden // heads))


def _tokenizer(folder: Path) -> dict[str, Any]:
    if not (folder / "tokenizer.json").is_file():
        raise RecipeError(
            f"{folder.name} has no tokenizer.json; make one with transformers: "
            "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
        )
    return read_json(folder / "tokenizer.json")


def _tokens(folder: Path, config: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> Tokens:
    generation = read_json(folder / "generation_config.json") if (folder / "generation_config.json").is_file() else {}
    names = read_json(folder / "tokenizer_config.json")
    ids = {token["content"]: token["id"] for token in tokenizer.get("added_tokens", [])}
    ids.update({text: ids.get(text, number) for text, number in _vocabulary(tokenizer).items()})

    def named(key: str) -> int | None:
        token = names.get(f"{key}_token")
        return ids.get(token["content"] if isinstance(token, dict) else token) if token else None

    def said(key: str) -> Any:
        return generation.get(f"{key}_token_id", config.get(f"{key}_token_id"))

    eos = said("eos")
    found = [*(eos if isinstance(eos, list) else [eos]), named("eos")]
    eos_ids = tuple(dict.fromkeys(token_id for token_id in found if token_id is not None))
    if not eos_ids:
        raise RecipeError(f"{folder.name} names no token that ends a text (eos_token_id in generation_config.json)")
    bos, pad = said("bos"), said("pad")
    return Tokens(
        vocab_size=config["vocab_size"],
        eos_ids=eos_ids,
        bos_id=named("bos") if bos is None else bos,
        pad_id=next(one for one in (pad, named("pad"), eos_ids[0]) if one is not None),
    )


def _vocabulary(tokenizer: Mapping[str, Any]) -> dict[str, int]:
    vocabulary = tokenizer.get("model", {}).get("vocab", {})
    if isinstance(vocabulary, list):  # Unigram: pairs of text and score
        return {text: number for number, (text, _) in enumerate(vocabulary)}
    return dict(vocabulary)


def write_tokenizer_files(source: Path, engine: Path, tokens: Tokens) -> None:
    """Carry the tokenizer, the chat template and the generation config of `source` over into the folder `engine`.

    The template becomes a file of its own when it lies in tokenizer_config.json; the ids that end a text are all named.
    """
    folder = engine / "tokenizer"
    folder.mkdir()
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            (folder / name).write_bytes((source / name).read_bytes())
    template = _template(read_json(source / "tokenizer_config.json"))
    if template is not None and not (folder / "chat_template.jinja").exists():
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    path = source / "generation_config.json"
    generation = read_json(path) if path.is_file() else {}
    generation |= {"eos_token_id": list(tokens.eos_ids), "pad_token_id": tokens.pad_id}
    text = json.dumps(generation, indent=2, ensure_ascii=False) + "\n"
    (engine / "generation_config.json").write_text(text, encoding="utf-8")


def _template(config: Mapping[str, Any]) -> str | None:
    template = config.get("chat_template")
    if isinstance(template, list):  # several, by name
        template = next((one["template"] for one in template if one["name"] == "default"), None)
    return template
