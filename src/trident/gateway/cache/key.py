"""What has to be the same for an answer to be given again, as one hash; and which requests may be answered so."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, is_dataclass

import numpy as np

from trident.gateway.asked import Asked

# They change when an answer comes, never what it says.
_WITHOUT_EFFECT = ("timeout_ms", "priority")


def cache_key(asked: Asked, model: str, deployment: str, engine: str) -> str:
    """64 hexadecimal digits; equal for requests that must have the same answer.

    Args:
        asked: its tenant, prompt, passages and every parameter count; its id, key, user and conversation do not.
        model: the route that was taken.
        deployment: that would answer.
        engine: identity of what runs there: version, sums of manifest, prompt templates and policy, and which life of
            the server it is, for whatever else a new start may change.
    """
    made_by = [asked.identity.tenant, asked.operation, model, deployment, engine, asked.retrieval]
    parts = [*made_by, asked.prompt, _parameters(asked)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=_plain).encode()).hexdigest()


def is_deterministic(asked: Asked) -> bool:
    """Whether asking again would bring the same answer: greedy, and no beam search, which comes as one response."""
    sampling = asked.sampling
    is_greedy = not sampling.temperature or sampling.top_k == 1
    return is_greedy and sampling.beam_width in {None, 1}


def _parameters(asked: Asked) -> dict[str, object]:
    return {name: value for name, value in asdict(asked.sampling).items() if name not in _WITHOUT_EFFECT}


def _plain(value: object) -> object:
    """Of prompts of templates, of matrices and of what else JSON does not know."""
    if is_dataclass(value) and not isinstance(value, type):
        return [type(value).__name__, asdict(value)]
    return value.tolist() if isinstance(value, np.ndarray) else repr(value)
