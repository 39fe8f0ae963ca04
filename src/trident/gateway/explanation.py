"""A routing decision as an operator reads it: for `trident route explain` and `/admin/route/explain` alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field

from trident.gateway.asked import Asked, Decision, Operation
from trident.gateway.identity import ANONYMOUS, DEFAULT_TENANT, Identity
from trident.gateway.router import Router
from trident_client.sampling import Sampling


class Question(BaseModel):
    """A request that is not sent, only routed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    prompt: str = Field("", description="as the user's only message; or messages")
    messages: tuple[dict[str, Any], ...] = ()
    operation: Operation = "chat"
    tools: bool = Field(False, description="whether the request offers tools")
    tenant: str = DEFAULT_TENANT
    groups: frozenset[str] = frozenset()
    key: str = Field(ANONYMOUS.key_id, description="id of the key, for sticky assignment")
    user: str = ""
    conversation: str = ""

    def asked(self) -> Asked:
        """As an API would ask it."""
        sampling = Sampling(tools=[{"type": "function"}] if self.tools else None)
        identity = Identity(self.tenant, self.key, groups=self.groups)
        messages: Sequence[dict[str, Any]] = self.messages or [{"role": "user", "content": self.prompt}]
        prompt = self.prompt if self.operation == "text_completion" else messages
        return Asked(
            str(uuid4()), identity, self.operation, "explain", self.model, prompt, sampling,
            user=self.user, conversation=self.conversation,
        )  # fmt: skip


async def explained(router: Router, question: Question) -> dict[str, Any]:
    """The decision, why, and how each deployment stands, as JSON; nothing of the prompt.

    Raises:
        NotFoundError: there is no such model.
    """
    asked = question.asked()
    labels = await router.labels_of(asked)
    return {"asked": question.model, "labels": dict(labels), **_told(router, router.decide(asked, labels))}


def _told(router: Router, decision: Decision) -> dict[str, Any]:
    _, route = router.route_of(decision.model)
    total = sum(route.deployments.values())
    return {
        "model": decision.model,
        "policy": route.policy,
        "sticky": route.sticky,
        "reasons": list(decision.reasons),
        "candidates": [
            {"share": round(route.deployments.get(name, 0.0) / total, 6), **_state(router, name)}
            for name in decision.candidates
        ],
        "shadow": decision.shadow,
        "escalation": None if decision.escalation is None else _told(router, decision.escalation),
    }


def _state(router: Router, name: str) -> dict[str, Any]:
    state = router.states[name]
    load = state.load()
    return {
        "deployment": name,
        "version": state.deployment.version,
        "breaker": state.breaker.state,
        "running": state.num_running,
        "max_concurrent": state.deployment.max_concurrent,
        "engine_load": None if load is None else round(load, 4),
        "obstacle": state.obstacle() or None,
    }
