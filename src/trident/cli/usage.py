"""`trident usage`: who asked how much, what it took and what it cost, from the gateway's ledger."""

from __future__ import annotations

import json
from typing import Any

import typer

from trident.cli.connection import GATEWAY_FILE, GatewayFile


def usage(
    config: GatewayFile = GATEWAY_FILE,
    by: list[str] = typer.Option(
        ["tenant", "model"], "--by", help="What a row is of: tenant, key, model, deployment, version, api, day."
    ),
    since: str | None = typer.Option(None, "--since", help="First day, as 2026-11-01 (UTC).", show_default="all"),
    until: str | None = typer.Option(None, "--until", help="Last day (UTC).", show_default="today"),
    tenant: str | None = typer.Option(None, "--tenant", help="Of this tenant only."),
    as_json: bool = typer.Option(False, "--json", help="As JSON, with everything."),
) -> None:
    """Sum up the ledger: requests, tokens, engine time, price and cost."""
    import asyncio
    import time

    from trident.cli.table import print_table
    from trident.gateway.config_file import read_config
    from trident.gateway.database import LONG_S, Database, database_url
    from trident.gateway.ledger import usage as sums

    dimensions = [sums.read_dimension(name) for name in by]
    begin = 0.0 if since is None else sums.read_day(since)
    end = time.time() if until is None else sums.read_day(until) + sums.DAY_S

    async def read() -> list[dict[str, Any]]:
        database = Database(database_url(read_config(config).server))
        await database.start()
        try:
            return await database.run(lambda connection: sums.usage(connection, dimensions, begin, end, tenant), LONG_S)
        finally:
            await database.close()

    rows = asyncio.run(read())
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    names = [*dimensions, "requests", "errors", "cancelled", "cache hits", "tokens in", "cached", "out", "engine s"]
    names += ["price", "cost", "TTFT ms", "score"]
    print_table(names, [[*(_text(name, row[name]) for name in dimensions), *_figures(row)] for row in rows])


def _text(name: str, value: object) -> str:
    from datetime import datetime, timezone

    if name == "day" and isinstance(value, int):
        return datetime.fromtimestamp(value, timezone.utc).date().isoformat()
    return str(value)


def _figures(row: dict[str, Any]) -> list[str]:
    counts = ("requests", "errors", "cancelled", "cache_hits", "input_tokens", "cached_tokens", "output_tokens")
    ttft_s, score = row["ttft_s"], row["score"]
    return [
        *(str(row[name]) for name in counts),
        f"{row['engine_s']:.1f}",
        f"{row['price']:.4f}",
        f"{row['cost']:.4f}",
        f"{1000 * ttft_s:.0f}" if isinstance(ttft_s, float) else "-",
        f"{score:.2f}" if isinstance(score, float) else "-",
    ]
