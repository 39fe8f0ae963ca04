"""What an engine needs against what this machine has: one fact a line, each with its fix. Nothing is started.

`trident check` prints all of them; `trident serve` starts nothing when one fails.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import tokenizers

from trident.engines.load import check_runnable
from trident.engines.openvino_limits import check_speculation
from trident.errors import ManifestError
from trident.manifest import EngineKind, Manifest, verify_files

IMAGE_VARIABLE = "NVIDIA_TENSORRTLLM_IMAGE_DIGEST"  # set by our GPU image, see docker/
# What must be the same as at the build, and how much of the version: engines are files of these libraries.
_RUNNING = {
    EngineKind.OPENVINO: {"openvino": 2, "openvino-genai": 2},
    EngineKind.OPENVINO_EMBEDDING: {"openvino": 2},
    EngineKind.TENSORRT_LLM: {"tensorrt_llm": 3},
    EngineKind.TENSORRT_LLM_PYTORCH: {},
    EngineKind.REPLAY: {},
}
GPU_KINDS = (EngineKind.TENSORRT_LLM, EngineKind.TENSORRT_LLM_PYTORCH)
# The first GPUs that multiply in it: https://nvidia.github.io/TensorRT-LLM/reference/support-matrix.html
_LEAST_CAPABILITY = {"fp8": 8.9, "w4a8_awq": 8.9, "nvfp4": 10.0}
_SMI_LIMIT_S = 30


@dataclass(frozen=True)
class Fact:
    """One thing that was looked at."""

    name: str
    is_ok: bool
    found: str
    fix: str = ""  # what to do when it is not ok


@dataclass(frozen=True)
class Gpu:
    """One of this machine's."""

    name: str
    compute_capability: str  # "9.0"
    memory_bytes: int

    @property
    def architecture(self) -> str:
        """As manifests say it: "sm90"."""
        return "sm" + self.compute_capability.replace(".", "")


def preflight(directory: Path, manifest: Manifest, gpus: Callable[[], list[Gpu]] | None = None) -> list[Fact]:
    """Every fact about the engine in `directory`; `gpus` looks for this machine's [default: by nvidia-smi]."""
    facts = [*_files(directory, manifest), *_kind(manifest), *_versions(manifest)]
    if manifest.kind in GPU_KINDS:
        facts += [*_gpu(directory, manifest, (gpus or find_gpus)()), *_image(manifest)]
    return [*facts, *_tokenizer(directory, manifest), *_limits(manifest)]


def check_preflight(directory: Path, manifest: Manifest) -> None:
    """Refuse an engine that cannot be served here.

    Raises:
        ManifestError: the first fact that is wrong, and its fix.
    """
    for fact in preflight(directory, manifest):
        if not fact.is_ok:
            fix = f"; {fact.fix}" if fact.fix else ""
            raise ManifestError(f"engine {manifest.name}: {fact.name}: {fact.found}{fix}")


def find_gpus() -> list[Gpu]:
    """This machine's NVIDIA GPUs; none where there is no driver, or one that does not say what they are."""
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=name,compute_cap,memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=_SMI_LIMIT_S, check=True)
        rows = [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines()]
        return [Gpu(name, f"{float(capability)}", int(mib) << 20) for name, capability, mib in rows]
    except (OSError, ValueError, subprocess.SubprocessError):  # a driver that does not answer serves nothing
        return []


def _kind(manifest: Manifest) -> Iterator[Fact]:
    try:
        check_runnable(manifest)
    except ManifestError as exc:
        what, _, fix = exc.message.rpartition("; ")
        yield Fact("kind", False, what or exc.message, fix if what else "")
    else:
        yield Fact("kind", True, manifest.kind.value)


def _versions(manifest: Manifest) -> Iterator[Fact]:
    for package, num_parts in _RUNNING[manifest.kind].items():
        built = manifest.tools.get(package) or manifest.tools.get(package.replace("_", "-"))
        if built is None:
            continue
        try:
            here = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            yield Fact(package, False, f"not installed, built with {built}", f"pip install '{package}=={built}'")
            continue
        is_same = here.split(".")[:num_parts] == built.split(".")[:num_parts]
        found = here if here == built else f"{here}, built with {built}"
        yield Fact(package, is_same, found, f"pip install '{package}=={built}', or build the engine again")


def _gpu(directory: Path, manifest: Manifest, gpus: list[Gpu]) -> Iterator[Fact]:
    needed = manifest.parallelism.world_size
    names = ", ".join(gpu.name for gpu in gpus) or "none"
    yield Fact("GPUs", len(gpus) >= needed, f"{names}; {needed} needed", f"run it where {needed} are")
    if len(gpus) < needed:
        return
    used = gpus[:needed]
    if manifest.gpu_architecture is not None:
        odd = next((gpu for gpu in used if gpu.architecture != manifest.gpu_architecture), None)
        found = (
            f"{odd.architecture} ({odd.name}), built for {manifest.gpu_architecture}" if odd else used[0].architecture
        )
        fix = f"build it again on this GPU: trident build {manifest.recipe}"
        yield Fact("GPU architecture", odd is None, found, fix)
    least_capability = _LEAST_CAPABILITY.get(manifest.precision, 0.0)
    old = next((gpu for gpu in used if float(gpu.compute_capability) < least_capability), None)
    found = f"{manifest.precision}, {used[0].name} has it" if old is None else f"{old.name} has no {manifest.precision}"
    yield Fact("GPU precision", old is None, found, f"use a GPU of compute capability {least_capability} or above")
    weights = sum((directory / name).stat().st_size for name in manifest.files if (directory / name).is_file()) / needed
    least = min(gpu.memory_bytes for gpu in used)
    found = f"{least / 1e9:.0f} GB, the engine's files take {weights / 1e9:.1f} GB of each"
    yield Fact("GPU memory", weights < least, found, "use a larger tp or fewer bits; see trident plan")


def _image(manifest: Manifest) -> Iterator[Fact]:
    if manifest.image_digest is None:
        return
    here = os.environ.get(IMAGE_VARIABLE)
    found = here if here in {None, manifest.image_digest} else f"{here}, built in {manifest.image_digest}"
    fix = f"run the image {manifest.image_digest}"
    yield Fact("image", here in {None, manifest.image_digest}, found or "not known here, not compared", fix)


def _tokenizer(directory: Path, manifest: Manifest) -> Iterator[Fact]:
    path = directory / "tokenizer" / "tokenizer.json"
    fix = f"build it again: trident build {manifest.recipe} --force"
    try:
        num_tokens = tokenizers.Tokenizer.from_file(str(path)).get_vocab_size()
    except Exception as exc:  # noqa: BLE001 - the library raises Exception itself
        yield Fact("tokenizer", False, f"tokenizer.json cannot be used ({exc})", fix)
        return
    size = manifest.tokens.vocab_size
    found = f"{num_tokens} tokens" if num_tokens <= size else f"{num_tokens} tokens, the engine has {size}"
    yield Fact("tokenizer", num_tokens <= size, found, fix)
    if (directory / "tokenizer" / "tokenizer_config.json").is_file():
        try:
            json.loads((directory / "tokenizer" / "tokenizer_config.json").read_text(encoding="utf-8"))
        except ValueError as exc:
            yield Fact("tokenizer", False, f"tokenizer_config.json is not JSON ({exc})", fix)


def _limits(manifest: Manifest) -> Iterator[Fact]:
    limits = manifest.limits
    if manifest.kind is EngineKind.OPENVINO_EMBEDDING:
        found = f"texts of {limits.max_input_tokens} tokens, {limits.max_num_seqs} in one inference"
        yield Fact("limits", True, found)
        return
    room = min(limits.max_seq_tokens, limits.kv_cache_tokens)
    found = (
        f"prompt {limits.max_input_tokens}, completion {limits.max_output_tokens}, {limits.max_num_seqs} sequences at "
        f"once, {limits.kv_cache_tokens} tokens of KV cache"
    )
    if limits.max_input_tokens + 1 > room:
        found = f"max_input_tokens ({limits.max_input_tokens}) leaves no room for a completion in one sequence"
    yield Fact("limits", limits.max_input_tokens < room, found, "lower it in the recipe and build again")
    if manifest.kind is EngineKind.OPENVINO and manifest.speculation is not None:
        try:
            check_speculation(manifest.name, limits, manifest.speculation.num_draft_tokens)
        except ManifestError as exc:
            what = exc.message.removeprefix(f"engine {manifest.name}: ")
            yield Fact("speculation", False, what, "raise it in the recipe and build again")
        else:
            yield Fact("speculation", True, f"{manifest.speculation.kind}, room for its proposals")


def _files(directory: Path, manifest: Manifest) -> Iterator[Fact]:
    try:
        verify_files(directory, manifest)
    except ManifestError as exc:
        what, _, fix = exc.message.rpartition("; ")
        yield Fact("files", False, what.removeprefix(f"engine {manifest.name}: "), fix)
    else:
        yield Fact("files", True, f"{len(manifest.files)}, each with the sha256 in the manifest")
