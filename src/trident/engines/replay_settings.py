"""What one replay engine does: `replay.toml` of its directory, typed, unknown keys refused.

Written by the build from the options of a recipe. Knows nothing of how a step is simulated.
"""

from __future__ import annotations

import json
import math
import random
import sys
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trident.engines.replay_timing import Timing
from trident.errors import ManifestError
from trident.faults import explain_invalid

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore] # only there below Python 3.11

FILE_NAME = "replay.toml"
_HEAD = "# A simulated engine: no model, only times. Made by 'trident build'; change the recipe instead.\n"


class ReplayOptions(BaseModel):
    """What a recipe of kind `replay` may say in [options]."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: str  # where the step times come from
    seed: int = 0  # of the jitter and of the lengths of answers
    jitter: float = Field(default=0.0, ge=0, lt=1)  # 0.1: every step takes 0.9 to 1.1 of its time, all equally likely
    # An answer ends by itself, where an EOS id may end it, after a number of tokens drawn from a log-normal
    # distribution: `stop_sigma` is the deviation of its logarithm, 0 makes all alike. inf: only max_tokens ends it.
    stop_median_tokens: float = Field(default=math.inf, ge=1)
    stop_sigma: float = Field(default=0.0, ge=0, le=4)

    def stop_after(self, rng: random.Random) -> float:
        """Tokens of the next answer, its EOS id included; at least 1, inf when it does not end by itself."""
        return max(1.0, self.stop_median_tokens * math.exp(rng.gauss(0.0, self.stop_sigma)))


class ReplaySettings(ReplayOptions):
    """All of `replay.toml`."""

    answer_ids: tuple[int, ...] = Field(min_length=1)  # said over and over until an answer ends
    timing: Timing

    def to_toml(self) -> str:
        """The text of the file."""
        lines = [
            f"preset = {json.dumps(self.preset)}",
            f"seed = {self.seed}",
            f"jitter = {self.jitter!r}",
            f"stop_median_tokens = {self.stop_median_tokens!r}",
            f"stop_sigma = {self.stop_sigma!r}",
            f"answer_ids = {list(self.answer_ids)}",
            "\n[timing]",
            *(f"{name} = {value!r}" for name, value in self.timing),
        ]
        return _HEAD + "\n".join(lines) + "\n"


def read_replay_settings(directory: Path) -> ReplaySettings:
    """The settings in `replay.toml` of an engine directory.

    Raises:
        ManifestError: no such file, not TOML, an unknown key with the nearest name, a value out of range.
    """
    path = directory / FILE_NAME
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        return ReplaySettings.model_validate_json(json.dumps(values, default=str), strict=True)
    except OSError as exc:
        raise ManifestError(f"{path} cannot be read: {exc.strerror}; build the engine again") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ManifestError(f"{path} is not TOML: {exc}") from exc
    except ValidationError as exc:
        raise ManifestError(f"{path}: {explain_invalid(exc, ReplaySettings)}") from exc
