"""Requests and outcomes as observers get them."""

from __future__ import annotations

from trident.gateway.asked import Asked, Decision, Outcome
from trident.gateway.identity import Identity
from trident_client.sampling import Sampling

PROMPT = "a prompt that nobody else may read"


def asked(tenant: str = "acme", model: str = "small", request_id: str = "11111111-2222") -> Asked:
    identity = Identity(tenant, "key-1")
    return Asked(request_id, identity, "chat", "chat", model, PROMPT, Sampling(max_tokens=16))


def outcome(of: Asked | None = None, **changes: object) -> Outcome:
    """Half a second, 0.1 s to the first of 11 tokens."""
    of = of or asked()
    values = {
        "decision": Decision(of.model, ("main",), ("model small",)),
        "deployment": "main",
        "started_at": 1.0,
        "ttft_s": 0.1,
        "duration_s": 0.5,
        "num_input_tokens": 5,
        "num_output_tokens": 11,
        "cost": 0.25,
        **changes,
    }
    return Outcome(of, **values)
