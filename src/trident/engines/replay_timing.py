"""How long a step of a simulated engine takes: a linear model of what is in the step, from a preset.

    step = base_ms + per_sequence_ms * sequences + per_context_token_us * context + prefill / prefill_tokens_per_s

A preset holds these numbers themselves (`[step]`, measured) or a GPU's and a model's public figures that they are
derived from (`[roofline]`). Knows nothing of batches, blocks or clocks.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trident.errors import RecipeError, did_you_mean
from trident.faults import explain_invalid

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore] # only there below Python 3.11

PRESETS = Path(__file__).with_name("presets")
SUFFIX = ".toml"


class Timing(BaseModel):
    """The step time, as numbers. The terms add up, so a step that could overlap two of them is taken as slower."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_ms: float = Field(gt=0, allow_inf_nan=False)  # of every step, whatever is in it: reading the weights once
    per_sequence_ms: float = Field(ge=0, allow_inf_nan=False)  # of each sequence in the step
    per_context_token_us: float = Field(ge=0, allow_inf_nan=False)  # of each token of the KV cache that the step reads
    prefill_tokens_per_s: float = Field(gt=0)  # of prompts, on top of the terms above; inf: they cost nothing

    def step_s(self, num_seqs: int, context_tokens: int, prefill_tokens: int) -> float:
        """Seconds of one step.

        Args:
            num_seqs: sequences in it, whether they are prefilled or get a token.
            context_tokens: of all of them together, the new ones included.
            prefill_tokens: prompt tokens computed in it.
        """
        decode_ms = self.base_ms + self.per_sequence_ms * num_seqs + self.per_context_token_us * context_tokens / 1000
        return decode_ms / 1000 + prefill_tokens / self.prefill_tokens_per_s


class Roofline(BaseModel):
    """A dense decoder on one GPU, bound by memory and by arithmetic (Williams et al., "Roofline", CACM 52/4, 2009).

    A step reads every weight and every token of the KV cache once; a token costs two operations a parameter (Kaplan
    et al., arXiv:2001.08361, section 2.1). Attention's own arithmetic and the host are left out, and memory and
    arithmetic are added up as if they never overlapped.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    memory_bytes_per_s: float = Field(gt=0, allow_inf_nan=False)
    operations_per_s: float = Field(gt=0, allow_inf_nan=False)  # dense, at the weights' precision
    parameters: float = Field(gt=0, allow_inf_nan=False)
    bytes_per_parameter: float = Field(gt=0, allow_inf_nan=False)
    kv_bytes_per_token: float = Field(gt=0, allow_inf_nan=False)
    memory_efficiency: float = Field(gt=0, le=1)  # share of memory_bytes_per_s that is reached
    compute_efficiency: float = Field(gt=0, le=1)  # share of operations_per_s that is reached

    def timing(self) -> Timing:
        """The linear model that follows."""
        bytes_per_s = self.memory_bytes_per_s * self.memory_efficiency
        token_s = 2 * self.parameters / (self.operations_per_s * self.compute_efficiency)
        return Timing(
            base_ms=1000 * self.parameters * self.bytes_per_parameter / bytes_per_s,
            per_sequence_ms=1000 * token_s,
            per_context_token_us=1e6 * self.kv_bytes_per_token / bytes_per_s,
            prefill_tokens_per_s=1 / token_s,
        )


_SHAPES: dict[str, type[Timing] | type[Roofline]] = {"step": Timing, "roofline": Roofline}


def read_preset(preset: str) -> Timing:
    """The timing of a preset given as the name of a shipped one or as a path ending in .toml.

    Raises:
        RecipeError: there is none; not TOML; an unknown key, with the nearest name; a number out of range.
    """
    path = Path(preset) if preset.endswith(SUFFIX) else PRESETS / f"{preset}{SUFFIX}"
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        known = sorted(path.stem for path in PRESETS.glob(f"*{SUFFIX}"))
        hint = did_you_mean(preset, known) or ";"
        raise RecipeError(
            f"unknown preset '{preset}'{hint} known: {', '.join(known)}; or give a {SUFFIX} file"
        ) from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise RecipeError(f"preset {preset} is not TOML: {exc}") from exc
    for key in tables:
        if key not in _SHAPES:
            raise RecipeError(f"preset {preset}: unknown key '{key}'{did_you_mean(key, _SHAPES)}")
    if len(tables) != 1:
        raise RecipeError(f"preset {preset} must hold one table, [step] or [roofline]; it holds {len(tables)}")
    ((key, values),) = tables.items()
    try:
        found = _SHAPES[key].model_validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as exc:
        raise RecipeError(f"preset {preset}: [{key}] {explain_invalid(exc, _SHAPES[key])}") from exc
    return found.timing() if isinstance(found, Roofline) else found
