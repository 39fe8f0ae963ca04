"""A recipe with everything decided that its build depends on: tools, identities of all inputs, places.

It names things, asks tools for their versions, and runs nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from trident import __version__
from trident.engines.preflight import find_gpus
from trident.errors import HostError, RecipeError
from trident.manifest import EngineKind, find_engine, read_manifest
from trident_build.calibration import read_text
from trident_build.fetch import cache_folder
from trident_build.modelopt_process import CALIBRATED
from trident_build.origin import identify, local_sums
from trident_build.precisions import OPENVINO, UNQUANTIZED
from trident_build.recipe import DraftEngine, Recipe
from trident_build.replay_options import preset_version, read_options
from trident_build.stages import REVISION, Stages
from trident_build.trtllm_versions import compiler_version

VERSION_DIGITS = 12
NOT_INSTALLED = "not installed"
_GGUF = ("gguf", "tokenizers")
_OPENVINO = ("openvino", "openvino-genai", "openvino-tokenizers")
_EMBEDDING = ("openvino",)
_TORCH = ("torch", "transformers")
CHECKPOINT_TOOLS = (*_GGUF, *_TORCH)
OPTIMUM_TOOLS = (*_TORCH, "optimum-intel", "nncf", "openvino")
TOKENIZER_TOOLS = ("openvino-tokenizers", "transformers", "optimum-intel")
MODELOPT_TOOLS = (*_TORCH, "nvidia-modelopt")


@dataclass(frozen=True)
class Plan:
    """One build, decided."""

    recipe: Recipe
    engines: Path
    cache: Path
    tools: Mapping[str, str]  # package -> version
    inputs: Mapping[str, Any]  # sums of what the recipe points at beside the source
    identity: str | None  # of the source; None until it is fetched

    @property
    def version(self) -> str:
        """Equal for equal recipes, equal bytes of all they point at, and equal tools."""
        inputs = json.dumps([self.recipe.sha256, self.identity, self.inputs, self.tools, REVISION], sort_keys=True)
        return hashlib.sha256(inputs.encode()).hexdigest()[:VERSION_DIGITS]

    @property
    def directory(self) -> Path:
        """Where the engine will lie."""
        return self.engines / self.recipe.name / self.version

    @property
    def log(self) -> Path:
        """What every build of this recipe did and its tools printed."""
        return self.cache / "logs" / f"{self.recipe.name}.log"

    @cached_property
    def stages(self) -> Stages:
        """The outputs of costly stages."""
        return Stages(self.cache / "stages")

    @property
    def is_direct(self) -> bool:
        """Whether OpenVINO takes the GGUF file with the weights as they are in it."""
        return self.recipe.kind is EngineKind.OPENVINO and self.recipe.precision not in OPENVINO

    @property
    def needs_checkpoint(self) -> bool:
        """Whether a GGUF file has to become a Hugging Face checkpoint first."""
        return self.recipe.has_gguf_source and self.recipe.kind is not EngineKind.REPLAY and not self.is_direct

    @property
    def needs_modelopt(self) -> bool:
        """Whether NVIDIA ModelOpt writes the checkpoint that the engine is made of, or is."""
        recipe = self.recipe
        if recipe.kind is EngineKind.TENSORRT_LLM_PYTORCH:
            return recipe.precision not in UNQUANTIZED or recipe.quantization.kv_cache is not None
        return recipe.kind is EngineKind.TENSORRT_LLM

    def checkpoint_inputs(self) -> dict[str, Any]:
        """What the Hugging Face form of a GGUF file depends on."""
        return {"source": self.identity, "tools": self._versions(CHECKPOINT_TOOLS)}

    def quantize_inputs(self) -> dict[str, Any]:
        """What the quantized weights depend on."""
        recipe = self.recipe
        parts = recipe.model_dump(mode="json", include={"kind", "precision", "quantization", "parallelism"})
        if self.uses_calibration:
            samples = recipe.calibration.model_dump(mode="json", exclude={"text"})
            parts["calibration"] = {**samples, "text": self.inputs["calibration"]}
        tools = OPTIMUM_TOOLS if recipe.kind is EngineKind.OPENVINO else MODELOPT_TOOLS
        return {**parts, "source": self.identity, "tools": self._versions((*tools, *self._checkpoint_tools))}

    def compile_inputs(self) -> dict[str, Any]:
        """What the engine's own files depend on."""
        if self.recipe.kind is not EngineKind.OPENVINO:  # TensorRT engines: all that trtllm-build is told, and it
            compiler = {"tensorrt_llm": self.tools.get("tensorrt_llm"), "gpus": self.inputs.get("gpus")}
            return {"recipe": self.recipe.sha256, "quantized": self.quantize_inputs(), **compiler}
        tools = (*_OPENVINO, *_GGUF) if self.is_direct else (*TOKENIZER_TOOLS, *self._checkpoint_tools)
        return {"source": self.identity, "is_direct": self.is_direct, "tools": self._versions(tools)}

    def stage_path(self, name: str, inputs: Callable[[], dict[str, Any]]) -> Path:
        """Where the output of a stage will lie, as far as that can be told before the source is there."""
        path = self.stages.path(name, inputs())
        return path.with_name(f"{name}-<key>") if self.identity is None else path

    @property
    def uses_calibration(self) -> bool:
        """Whether a quantizer is shown text."""
        asked = self.recipe.quantization
        if self.recipe.kind is EngineKind.OPENVINO:
            return asked.awq or asked.scale_estimation
        return self.needs_modelopt and (self.recipe.precision in CALIBRATED or asked.kv_cache is not None)

    @property
    def _checkpoint_tools(self) -> tuple[str, ...]:
        return CHECKPOINT_TOOLS if self.needs_checkpoint else ()

    def _versions(self, tools: tuple[str, ...]) -> dict[str, str]:
        return {tool: self.tools[tool] for tool in tools}


def plan_engine(recipe: Recipe, engines: Path, cache: Path | None = None, *, is_dry: bool = False) -> Plan:
    """Decide what a build of `recipe` into the folder `engines` will be.

    Args:
        recipe: what to build.
        engines: the folder of engines.
        cache: [default: `cache_folder()`].
        is_dry: nothing will be built, so a tool that is not installed is only called so.

    Raises:
        RecipeError: what the recipe points at is not there, or its options are wrong.
        HostError: a tool is not installed, or is of a version that cannot do it.
    """
    cache = cache or cache_folder()
    bare = Plan(recipe, engines, cache, {}, {}, None)
    tools = {"trident": __version__, **_versions_of(_tools(bare), is_dry)}
    inputs: dict[str, Any] = {}
    if recipe.kind is EngineKind.REPLAY:
        options = read_options(recipe)
        tools[f"preset {options.preset}"] = preset_version(options)
    compiler = compiler_version() if recipe.kind is EngineKind.TENSORRT_LLM else None
    if compiler is not None:  # an engine is for one version of it and one architecture
        tools["tensorrt_llm"] = compiler
        inputs["gpus"] = sorted({gpu.architecture for gpu in find_gpus()})
    if bare.uses_calibration:
        inputs["calibration"] = hashlib.sha256(read_text(recipe.calibration).encode()).hexdigest()
    if recipe.lora is not None:
        inputs["lora"] = {name: local_sums(folder, cache) for name, folder in recipe.lora.adapters.items()}
    if isinstance(recipe.speculation, DraftEngine):
        if recipe.kind is not EngineKind.OPENVINO:
            raise RecipeError(f"recipe {recipe.name}: a draft engine is for kind 'openvino' only")
        inputs["draft"] = dict(read_manifest(find_engine(engines, recipe.speculation.engine)).files)
    return Plan(recipe, engines, cache, tools, inputs, identify(recipe, cache))


def _tools(plan: Plan) -> tuple[str, ...]:
    tools: tuple[str, ...] = _GGUF if plan.recipe.has_gguf_source else ("tokenizers",)
    if plan.needs_checkpoint:
        tools += CHECKPOINT_TOOLS
    if plan.recipe.kind is EngineKind.OPENVINO:
        tools += _OPENVINO if plan.is_direct else (*_OPENVINO, *OPTIMUM_TOOLS, *TOKENIZER_TOOLS)
    if plan.recipe.kind is EngineKind.OPENVINO_EMBEDDING:
        tools += _EMBEDDING
    if plan.needs_modelopt:
        tools += MODELOPT_TOOLS
    return tuple(dict.fromkeys(tools))


def _versions_of(tools: tuple[str, ...], is_dry: bool) -> dict[str, str]:
    found = {}
    for tool in tools:
        try:
            found[tool] = version(tool)
        except PackageNotFoundError as exc:
            if is_dry:
                found[tool] = NOT_INSTALLED
                continue
            extra = "cpu" if tool in {*_GGUF, *_OPENVINO} else "cpu,build"
            raise HostError(f"{tool} is not installed; pip install 'trident-llm[{extra}]'") from exc
    return found
