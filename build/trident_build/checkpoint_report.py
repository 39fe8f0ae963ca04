"""What a comparison of a checkpoint with its source found: as JSON, as a table of layers, as one line."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trident.errors import EngineError
from trident.manifest import Parallelism
from trident_build.checkpoint_formats import Layout

FILE_NAME, TABLE_NAME = "checkpoint_report.json", "checkpoint_report.md"
_LAYER = "model.layers."
_COLUMNS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class TensorError:
    """One tensor."""

    name: str  # as the source calls it
    relative_error: float  # |W' - W| / |W|
    bound: float
    note: str = ""
    rounding_error: float | None = None  # the same after smoothing, where that was done

    @property
    def bounded_error(self) -> float:
        """The error that the bound is for."""
        return self.relative_error if self.rounding_error is None else self.rounding_error

    @property
    def is_sound(self) -> bool:
        """Whether the error is within its bound."""
        return self.bounded_error <= self.bound


@dataclass(frozen=True)
class CheckpointReport:
    """All tensors, and what else is wrong."""

    precision: str
    layout: Layout
    parallelism: Parallelism
    tensors: tuple[TensorError, ...]
    problems: tuple[str, ...] = ()  # of config.json and of scales

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.failures()

    def failures(self) -> list[str]:
        """What is wrong, a line each."""
        beyond = (one for one in self.tensors if not one.is_sound)
        lines = (f"{one.name} is {one.bounded_error:.4f} away from its source, bound {one.bound}" for one in beyond)
        return [*self.problems, *lines]

    def require(self) -> None:
        """Raise what is wrong.

        Raises:
            EngineError: the first failure, and how many more there are.
        """
        failures = self.failures()
        if failures:
            more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
            raise EngineError(f"the {self.precision} checkpoint is wrong: {failures[0]}{more}")

    def summary(self) -> str:
        """One line: the mean and the largest bounded error of the linear layers."""
        errors = [one.bounded_error for one in self.tensors if one.name.split(".")[-2] in _COLUMNS] or [0.0]
        cut = f", tp={self.parallelism.tp} pp={self.parallelism.pp}" if self.parallelism.world_size > 1 else ""
        return (
            f"{self.precision}{cut}: {len(self.tensors)} tensors, linear layers {sum(errors) / len(errors):.4f} away "
            f"from the source, at most {max(errors):.4f}"
        )

    def table(self) -> str:
        """Bounded errors, a line for each layer and a column for each linear layer, in Markdown."""
        rows: dict[int, dict[str, float]] = defaultdict(dict)
        for one in self.tensors:
            parts = one.name.split(".")
            if one.name.startswith(_LAYER) and parts[-2] in _COLUMNS and parts[-1] == "weight":
                rows[int(parts[2])][parts[-2]] = one.bounded_error
        lines = [f"| layer | {' | '.join(_COLUMNS)} |", "|---" * (len(_COLUMNS) + 1) + "|"]
        for layer, errors in sorted(rows.items()):
            cells = (f"{errors[column]:.4f}" if column in errors else "" for column in _COLUMNS)
            lines.append(f"| {layer} | {' | '.join(cells)} |")
        return "\n".join(lines) + "\n"

    def write(self, folder: Path) -> None:
        """Write everything as JSON, and the summary with the table for people."""
        (folder / FILE_NAME).write_text(self.to_json(), encoding="utf-8")
        (folder / TABLE_NAME).write_text(f"{self.summary()}\n\n{self.table()}", encoding="utf-8")

    def to_json(self) -> str:
        """Everything; an error that is not finite is null."""
        content: dict[str, Any] = {
            "precision": self.precision,
            "layout": self.layout,
            "tp": self.parallelism.tp,
            "pp": self.parallelism.pp,
            "is_sound": self.is_sound,
            "problems": list(self.problems),
            "tensors": {
                one.name: {
                    "relative_error": _finite(one.relative_error),
                    "rounding_error": _finite(one.bounded_error),
                    "bound": _finite(one.bound),
                    "note": one.note,
                }
                for one in self.tensors
            },
        }
        return json.dumps(content, indent=2) + "\n"


def _finite(value: float) -> float | None:
    return round(value, 6) if value < float("inf") else None
