"""`trident doctor`: what this machine brings, and what it lacks."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import typer


def doctor(
    engines: Path | None = typer.Option(None, help="Folder of engines."),
    host: str | None = typer.Option(None, help="Address that would be served on."),
    json_output: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Look at this machine, one fact a line, each wrong one with what to do. Starts no server."""
    from trident.doctor import examine, read_machine
    from trident.settings import read_settings

    settings = read_settings(engines=engines, host=host)
    facts = examine(read_machine(settings), settings)
    num_wrong = sum(not fact.is_ok for fact in facts)
    if json_output:
        typer.echo(json.dumps([dataclasses.asdict(fact) for fact in facts], indent=2))
        raise typer.Exit(1 if num_wrong else 0)
    for fact in facts:
        fix = "" if fact.is_ok or not fact.fix else f"; {fact.fix}"
        typer.echo(f"{'ok' if fact.is_ok else 'WRONG':<6} {fact.name:<17} {fact.found}{fix}")
    if num_wrong:
        raise typer.Exit(1)
    typer.echo("next   trident build, trident serve")
