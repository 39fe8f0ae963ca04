"""`trident route`: where a request would go and why; what came of those that went."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from trident.cli.connection import GATEWAY_FILE, ApiKey, GatewayFile
from trident.cli.gateway_request import GATEWAY_URL, GatewayUrl, ask_gateway
from trident.cli.table import print_table

app = typer.Typer(
    help="Where the gateway sends requests and why, and how its deployments compare.", no_args_is_help=True
)

_CONTRAST = ("error_rate", "ttft_ms", "latency_ms", "price_per_request", "cost_per_request", "win_rate")
_SHADOW = ("equal_rate", "win_rate", "added_latency_ms", "added_chars")


@app.command()
def explain(
    model: str = typer.Option(..., "--model", help="The model as a client calls it."),
    config: GatewayFile = GATEWAY_FILE,
    url: str | None = typer.Option(None, "--url", help="A running gateway, for its live state, in place of the file."),
    api_key: ApiKey = None,
    prompt: str = typer.Option("", "--prompt", help="The user's message."),
    operation: str = typer.Option("chat", "--operation", help="chat, text_completion or embeddings."),
    tools: bool = typer.Option(False, "--tools", help="The request offers tools."),
    tenant: str = typer.Option("default", "--tenant", help="Who asks."),
    group: list[str] = typer.Option([], "--group", help="Of the tenant; by default those that the file says."),
    key: str = typer.Option("anonymous", "--key", help="Id of the key, for sticky assignment."),
    user: str = typer.Option("", "--user", help="The client's end user."),
    conversation: str = typer.Option("", "--conversation", help="The client's conversation."),
    as_json: bool = typer.Option(False, "--json", help="As JSON."),
) -> None:
    """Say where a request would go and why; nothing is sent to a deployment."""
    question = {
        "model": model, "prompt": prompt, "operation": operation, "tools": tools, "tenant": tenant, "groups": group,
        "key": key, "user": user, "conversation": conversation,
    }  # fmt: skip
    found = ask_gateway(url, api_key, "/admin/route/explain", question) if url else _explain_offline(config, question)
    print(json.dumps(found, indent=2) if as_json else _as_text(found))


@app.command()
def report(
    model: str = typer.Argument(..., help="The model."),
    url: GatewayUrl = GATEWAY_URL,
    api_key: ApiKey = None,
    since: str | None = typer.Option(None, "--since", help="First day, as 2026-11-01 (UTC).", show_default="all"),
    as_json: bool = typer.Option(False, "--json", help="As JSON, with everything."),
) -> None:
    """Compare a model's deployments, each with what runs there now, by the ledger; 95 % confidence intervals."""
    from urllib.parse import quote

    from trident.gateway.ledger.usage import read_day

    begin = 0.0 if since is None else read_day(since)
    found = ask_gateway(url, api_key, f"/admin/routes/{quote(model)}/report?since={begin:.0f}")
    if as_json:
        print(json.dumps(found, indent=2))
        return
    print_table(
        ["deployment", "requests", "errors", "TTFT ms", "p95", "latency ms", "p95", "price", "cost", "feedback"],
        [_arm_row(arm) for arm in found["arms"]],
    )
    for contrast in found["contrasts"]:
        print(f"\n{contrast['deployment']} against {contrast['baseline']}")
        print_table(["figure", "difference"], [(name, _figure(contrast[name])) for name in _CONTRAST])
    for shadow in found["shadows"]:
        told = f"{shadow['num_compared']} compared, {shadow['num_failed']} failed, {shadow['num_left_out']} left out"
        print(f"\n{shadow['deployment']} as the shadow of {shadow['of']}: {told}")
        print_table(["figure", "value"], [(name, _figure(shadow[name])) for name in _SHADOW])


def _explain_offline(config: Path, question: Mapping[str, Any]) -> dict[str, Any]:
    import asyncio

    from pydantic import ValidationError

    from trident.errors import SettingsError
    from trident.gateway.config_file import read_config
    from trident.gateway.explanation import Question, explained
    from trident.gateway.router import Router

    settings = read_config(config)
    known = settings.tenants.get(str(question["tenant"]))
    groups = question["groups"] or ([] if known is None else sorted(known.groups))
    try:
        asked = Question.model_validate({**question, "groups": groups})
    except ValidationError as exc:
        first = exc.errors()[0]
        raise SettingsError(f"--{first['loc'][0]}: {first['msg']}") from exc
    router = Router(settings)
    try:
        return asyncio.run(explained(router, asked))
    finally:
        router.close()


def _as_text(found: Mapping[str, Any]) -> str:
    lines = []
    decision: Mapping[str, Any] | None = found
    while decision is not None:
        lines.append(f"model {decision['model']}, {decision['policy']}")
        for number, each in enumerate(decision["candidates"], start=1):
            told = f"asked {'first' if number == 1 else 'then'}, {100 * each['share']:.4g}% of the weight"
            obstacle = f"; passed over: {each['obstacle']}" if each["obstacle"] else ""
            lines.append(f"  {number}. {each['deployment']}: {told}{obstacle}")
        if decision["shadow"]:
            lines.append(f"  a copy to {decision['shadow']}")
        lines += ["because", *(f"  {reason}" for reason in decision["reasons"])]
        decision = decision["escalation"]
        lines += [] if decision is None else ["when none of them can begin"]
    return "\n".join(lines)


def _arm_row(arm: Mapping[str, Any]) -> Sequence[str]:
    return (
        arm["deployment"],
        str(arm["num_requests"]),
        _figure(arm["error_rate"]),
        _figure(arm["ttft_ms"]["mean"]),
        _figure(arm["ttft_ms"]["p95"]),
        _figure(arm["latency_ms"]["mean"]),
        _figure(arm["latency_ms"]["p95"]),
        _figure(arm["price_per_request"]),
        _figure(arm["cost_per_request"]),
        _figure(arm["feedback"]),
    )


def _figure(estimate: Mapping[str, float | None] | None) -> str:
    """As "value (low to high)"."""
    if estimate is None:
        return "-"
    value, low, high = estimate["value"], estimate["low"], estimate["high"]
    return f"{value:.4g}" if low is None or high is None else f"{value:.4g} ({low:.4g} to {high:.4g})"
