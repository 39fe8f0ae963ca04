"""The flags of `trtllm-build` as data, and the check of one value against them. Knows no recipe and no combination."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from trident.errors import RecipeError, did_you_mean

DATA = "trtllm_build_flags.json"
FlagValue = str | int | bool
# What the builder or a recipe's own key says; a second place for it could contradict.
_ELSEWHERE = {
    "checkpoint_dir": "the builder sets it",
    "output_dir": "the builder sets it",
    "model_config": "the checkpoint has one",
    "build_config": "it would override the recipe's limits",
    "dry_run": "it writes no engine; use trident build --dry-run",
    "max_batch_size": "say limits.max_num_seqs",
    "max_input_len": "say limits.max_input_tokens",
    "max_seq_len": "say limits.max_seq_tokens",
    "max_decoder_seq_len": "say limits.max_seq_tokens",
    "max_num_tokens": "say limits.max_num_batched_tokens",
    "max_lora_rank": "say lora.max_rank",
    "lora_dir": "say lora.adapters",
    "speculative_decoding_mode": "say [speculation]",
    "max_draft_len": "say speculation.num_draft_tokens",
    "paged_kv_cache": "it is deprecated; use kv_cache_type",
    "tp_size": "parallelism is the checkpoint's: say parallelism.tp",
    "pp_size": "parallelism is the checkpoint's: say parallelism.pp",
}


@dataclass(frozen=True)
class Flag:
    """One flag."""

    type: str  # "str", "int", "flag" (without a value)
    default: FlagValue | None
    choices: tuple[str, ...] = ()
    many: bool = False  # takes several values
    until: str | None = None  # the last version that has it


@cache
def known_flags() -> Mapping[str, Flag]:
    """All flags of TensorRT-LLM 1.2 by name without dashes; an alias is a flag of its own."""
    text = importlib.resources.files(__package__).joinpath(DATA).read_text(encoding="utf-8")
    flags: dict[str, Flag] = {}
    for name, fact in json.loads(text)["flags"].items():
        flag = Flag(
            fact["type"], fact["default"], tuple(fact.get("choices", ())), fact.get("many", False), fact.get("until")
        )
        flags |= dict.fromkeys((name, *fact.get("aliases", ())), flag)
    return flags


def check_own_flags(given: Mapping[str, Any]) -> dict[str, FlagValue]:
    """The flags of a recipe's [trtllm_build], each one known and of a value that trtllm-build takes.

    Raises:
        RecipeError: an unknown flag, one that is said elsewhere, a wrong type, or not one of the choices.
    """
    checked: dict[str, FlagValue] = {}
    for given_name, value in given.items():
        name = given_name.lstrip("-")
        if name in _ELSEWHERE:
            raise RecipeError(f"trtllm_build.{name} cannot be set: {_ELSEWHERE[name]}")
        checked[name] = check_flag(name, value)
    return checked


def check_flag(name: str, value: Any) -> FlagValue:
    """`value` as trtllm-build takes it; true and false stand for "enable" and "disable" where those are the choices.

    Raises:
        RecipeError: see `check_own_flags`.
    """
    flags = known_flags()
    if name not in flags:
        raise RecipeError(
            f"trtllm-build has no flag --{name}{did_you_mean(name, flags) or '; see trtllm-build --help'}"
        )
    flag = flags[name]
    if flag.until is not None:
        raise RecipeError(f"trtllm-build has --{name} up to version {flag.until} only; leave it out")
    if isinstance(value, bool) and flag.choices == ("enable", "disable"):
        value = "enable" if value else "disable"
    expected: type[Any] = {"int": int, "flag": bool}.get(flag.type, str)
    if not isinstance(value, expected) or (isinstance(value, bool) and expected is int):
        kind = {"int": "a whole number", "flag": "true or false"}.get(flag.type, "a text")
        raise RecipeError(f"trtllm_build.{name} must be {kind}, got {value!r}")
    if flag.choices and value not in flag.choices:
        hint = did_you_mean(str(value), flag.choices)
        raise RecipeError(f"trtllm_build.{name} must be one of {', '.join(flag.choices)}, got '{value}'{hint}")
    checked: FlagValue = value
    return checked


def command_line(flags: Mapping[str, FlagValue]) -> list[str]:
    """As arguments, in the order given; a flag without a value appears when it is true."""
    arguments: list[str] = []
    for name, value in flags.items():
        flag = known_flags()[name]
        if flag.type == "flag":
            arguments += [f"--{name}"] if value else []
        else:
            arguments += [f"--{name}", *(str(value).split() if flag.many else [str(value)])]
    return arguments
