"""`trident engines`: the versions of the engines that are built, and which of them is served."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from trident.versions import Version

app = typer.Typer(help="List, promote, compare and clear away engine versions.", no_args_is_help=True)

Engines = Annotated[Path | None, typer.Option(help="folder of engines", show_default="engines")]
Json = Annotated[bool, typer.Option("--json", help="print JSON")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="engine")]
VersionOf = Annotated[str, typer.Argument(metavar="NAME@VERSION", help="the start of a version is enough")]


@app.command("list")
def list_(
    name: Annotated[str | None, typer.Argument(help="engine [default: all]")] = None,
    *,
    engines: Engines = None,
    json_output: Json = False,
) -> None:
    """Every version, the newest first; an asterisk marks the current one."""
    from trident.versions import engine_names, list_versions

    folder = _folder(engines)
    found = [version for one in ([name] if name else engine_names(folder)) for version in list_versions(folder, one)]
    if json_output:
        typer.echo(json.dumps([_facts(version) for version in found], indent=2))
        return
    for version in found:
        facts, mark = _facts(version), "*" if version.is_current else " "
        perplexity = version.manifest.quality.get("perplexity")
        quality = f"  perplexity {perplexity:.2f}" if perplexity else ""
        typer.echo(
            f"{mark} {facts['engine']:<34} {facts['kind']:<20} {facts['precision']:<8} "
            f"{version.size_bytes / 1e6:>8.1f} MB  {facts['built_at']}{quality}"
        )
    if not found:
        typer.echo(f"no engines in {folder.absolute()}; next: trident build smollm2-135m")


@app.command()
def show(engine: VersionOf, *, engines: Engines = None, json_output: Json = False) -> None:
    """What the manifest of a version says."""
    from trident.versions import find_version

    version = find_version(_folder(engines), engine)
    if json_output:
        typer.echo(version.manifest.model_dump_json(indent=2))
        return
    manifest = version.manifest
    rows = {
        **{key: str(value) for key, value in _facts(version).items()},
        "directory": str(version.directory),
        "model": f"{manifest.source.model} ({manifest.source.licence}), {manifest.source.locator}",
        "recipe": f"{manifest.recipe} ({manifest.recipe_sha256[:12]})",
        "limits": ", ".join(f"{key} {value}" for key, value in manifest.limits),
        "tools": ", ".join(f"{tool} {number}" for tool, number in manifest.tools.items()),
        "loras": ", ".join(manifest.loras) or "none",
        "quality": ", ".join(f"{key} {value:g}" for key, value in manifest.quality.items()) or "not measured",
    }
    for key, text in rows.items():
        typer.echo(f"{key:<12} {text}")


@app.command()
def promote(engine: VersionOf, *, engines: Engines = None) -> None:
    """Make a version current. A running server takes it in by itself and loses no request."""
    from trident.manifest import verify_files
    from trident.versions import find_version
    from trident.versions import promote as make_current

    version = find_version(_folder(engines), engine)
    verify_files(version.directory, version.manifest)
    make_current(version.directory)
    typer.echo(f"{version.manifest.name}@{version.directory.name} is current; back with: ", nl=False)
    typer.echo(f"trident engines rollback {version.manifest.name}")


@app.command()
def rollback(name: Name, *, engines: Engines = None) -> None:
    """Make the version current that was so before."""
    from trident.versions import rollback as go_back

    version = go_back(_folder(engines), name)
    typer.echo(f"{name}@{version.directory.name} is current again")


@app.command()
def diff(old: VersionOf, new: VersionOf, *, engines: Engines = None, json_output: Json = False) -> None:
    """What two manifests say differently."""
    from trident.versions import differences, find_version

    folder = _folder(engines)
    found = differences(find_version(folder, old).manifest, find_version(folder, new).manifest)
    if json_output:
        typer.echo(json.dumps(found, indent=2))
        return
    width = max((len(key) for key in found), default=0)
    for key, (before, after) in found.items():
        typer.echo(f"{key:<{width}}  {before} -> {after}")
    if not found:
        typer.echo("they say the same")


@app.command()
def gc(
    name: Annotated[str | None, typer.Argument(help="engine [default: all]")] = None,
    *,
    keep: Annotated[int, typer.Option(min=0, help="versions that stay beside the current one, the newest")] = 2,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would go")] = False,
    engines: Engines = None,
) -> None:
    """Remove old versions. The current one and those that a server on this machine holds stay."""
    from trident.versions import collect_garbage, engine_names

    folder = _folder(engines)
    for one in [name] if name else engine_names(folder):
        for version in collect_garbage(folder, one, keep, is_dry_run=dry_run):
            typer.echo(f"{'would remove' if dry_run else 'removed'} {one}@{version.directory.name}")


@app.command()
def register(
    engine: VersionOf,
    *,
    alias: Annotated[list[str] | None, typer.Option(help="champion, canary, ...; repeat for several")] = None,
    uri: Annotated[
        str | None, typer.Option(help="MLflow tracking server", show_default="engines/registry.db, sqlite")
    ] = None,
    engines: Engines = None,
) -> None:
    """Log a version with its recipe, figures and plots in MLflow's model registry."""
    from trident.registry import default_uri
    from trident.registry import register as log_version
    from trident.versions import find_version

    folder = _folder(engines)
    version = find_version(folder, engine)
    where = uri or default_uri(folder)
    number = log_version(version.directory, where, *(alias or []))
    aliases = f" ({', '.join(alias)})" if alias else ""
    typer.echo(f"{version.manifest.name}@{version.directory.name} is version {number}{aliases} in {where}")


def _folder(engines: Path | None) -> Path:
    from trident.settings import read_settings

    return read_settings(engines=engines).engines


def _facts(version: Version) -> dict[str, str | int | bool]:
    manifest = version.manifest
    return {
        "engine": f"{manifest.name}@{version.directory.name}",
        "kind": manifest.kind.value,
        "precision": manifest.precision,
        "current": version.is_current,
        "size_bytes": version.size_bytes,
        "built_at": manifest.built_at,
    }
