"""The classes of arguments, made from the facts: as the real pydantic ones, they refuse every name they do not know."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pydantic

FACTS = json.loads((Path(__file__).parent / "llm_args.json").read_text())
MORE = json.loads((Path(__file__).parent / "llm_api.json").read_text())
_FREE = {"REQUIRED", "dict", "..."}


def _field(fact: Any) -> tuple[Any, Any]:
    """Type and default of one fact: a bare default, or an object with `default` and `choices`."""
    if isinstance(fact, dict) and "choices" in fact:
        choice = Literal[tuple(fact["choices"])]
        return (choice | None, None) if fact["default"] is None else (choice, fact["default"])
    if isinstance(fact, bool):
        return pydantic.StrictBool, fact
    if isinstance(fact, int):
        return pydantic.StrictInt | None, fact
    if isinstance(fact, float):
        return float | None, fact
    return Any, fact


def model_of(name: str, facts: dict[str, Any]) -> type[pydantic.BaseModel]:
    """A class that takes the facts' names, with their types and defaults, and no other."""
    fields = {key: _field(fact) for key, fact in facts.items() if key.isidentifier() and not key.startswith("_")}
    config = pydantic.ConfigDict(extra="forbid", protected_namespaces=())
    made: type[pydantic.BaseModel] = pydantic.create_model(name, __config__=config, **fields)
    return made


_BASE = {**FACTS["BaseLlmArgs"], "model": ""}
TrtLlmArgs = model_of("TrtLlmArgs", {**_BASE, **FACTS["TrtLlmArgs_adds"]})
TorchLlmArgs = model_of("TorchLlmArgs", {**_BASE, **FACTS["TorchLlmArgs_adds"]})
KvCacheConfig = model_of("KvCacheConfig", FACTS["KvCacheConfig"])
SchedulerConfig = model_of("SchedulerConfig", FACTS["SchedulerConfig"])
PeftCacheConfig = model_of("PeftCacheConfig", FACTS["PeftCacheConfig"])
CudaGraphConfig = model_of("CudaGraphConfig", MORE["CudaGraphConfig"])
NGramDecodingConfig = model_of("NGramDecodingConfig", MORE["NGramDecodingConfig"])
DraftTargetDecodingConfig = model_of("DraftTargetDecodingConfig", MORE["DraftTargetDecodingConfig"])
LoraConfig = model_of("LoraConfig", MORE["LoraConfig"])
