"""`trident check`: is what would be served what it says it is?"""

from __future__ import annotations

import dataclasses
import json
import shlex
from pathlib import Path

import typer


def check(
    engine: str | None = typer.Argument(None, help="Engine: a name, name@version or a path [default: the setting]."),
    repository: Path | None = typer.Option(None, help="Model repository [default: the one that came with Trident]."),
    engines: Path | None = typer.Option(None, help="Folder of engines."),
    json_output: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Compare a model repository with the contract, and an engine with this machine, fact by fact. Starts nothing."""
    from trident.engines.preflight import Fact, preflight
    from trident.manifest import EngineKind, find_engine, read_manifest
    from trident.repository import check_repository
    from trident.server.repository import find_repository
    from trident.settings import read_settings

    settings = read_settings(repository=repository, engines=engines, engine=engine)
    path = find_repository(settings.repository)
    lines = check_repository(path)
    found = "; ".join(lines) or f"{path}: keeps the contract"
    facts = [Fact("repository", not lines, found, "compare it with Trident's own")]
    directory = find_engine(settings.engines, settings.engine)
    manifest = read_manifest(directory)
    facts.append(
        Fact("engine", True, f"{manifest.name}@{manifest.version} ({manifest.kind.value}, {manifest.precision})")
    )
    facts += preflight(directory, manifest)
    num_wrong = sum(not fact.is_ok for fact in facts)
    if json_output:
        typer.echo(json.dumps([dataclasses.asdict(fact) for fact in facts], indent=2))
        raise typer.Exit(2 if num_wrong else 0)
    for fact in facts:
        fix = "" if fact.is_ok or not fact.fix else f"; {fact.fix}"
        typer.echo(f"{'ok' if fact.is_ok else 'WRONG':<6} {fact.name:<17} {fact.found}{fix}")
    if num_wrong:
        raise typer.Exit(2)
    role = "--embedding" if manifest.kind is EngineKind.OPENVINO_EMBEDDING else "--engine"
    given = {role: engine, "--repository": repository, "--engines": engines}
    options = [text for name, value in given.items() if value is not None for text in (name, str(value))]
    typer.echo(f"next   {shlex.join(['trident', 'serve', *options])}")
