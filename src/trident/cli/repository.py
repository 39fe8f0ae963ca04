"""`trident repository`: a repository for another engine, or for several."""

from __future__ import annotations

import shlex
from pathlib import Path

import typer

app = typer.Typer(
    help="Write model repositories: for NVIDIA's C++ backend, or with several engines.", no_args_is_help=True
)
Engines = typer.Option(None, help="Folder of engines [default: the setting].")
Repository = typer.Option(None, help="Repository that is copied [default: the one that came with Trident].")


@app.command()
def render(
    engine: str = typer.Argument(help="TensorRT engine: a name, name@version or a path."),
    output: Path | None = typer.Option(None, help="Folder to write; without it the engine model's config is printed."),
    repository: Path | None = Repository,
    engines: Path | None = Engines,
) -> None:
    """Write the profile of NVIDIA's C++ backend (--model-config-name=cpp) with the values of an engine."""
    from trident.manifest import find_engine
    from trident.repository_render import read_engine, render_engine_model, render_repository
    from trident.server.repository import find_repository
    from trident.settings import read_settings

    settings = read_settings(repository=repository, engines=engines)
    found = read_engine(find_engine(settings.engines, engine))
    template = find_repository(settings.repository)
    if output is None:
        typer.echo(render_engine_model(found, template), nl=False)
        return
    for path in render_repository(found, template, output):
        typer.echo(f"written     {path}")
    typer.echo(f"repository  {output}: keeps the contract, {found.world_size} rank(s)")
    options = ["--backend", "cpp", "--engine", engine, "--repository", str(output)]
    typer.echo(f"next        {shlex.join(['trident', 'serve', *options, '--dry-run'])}")


@app.command()
def add(
    key: str = typer.Argument(help="What the names of the new models end with: ensemble_KEY."),
    repository: Path = typer.Option(help="Folder to add to; a copy of Trident's own where there is none."),
    engine: str | None = typer.Option(None, help="Engine: a name, name@version or a path [default: KEY]."),
    engines: Path | None = Engines,
) -> None:
    """Add the four models of one more engine, to be served beside the first."""
    from trident.manifest import find_engine
    from trident.repository_add import add_engine
    from trident.repository_render import copy_repository
    from trident.server.repository import default_repository, find_repository
    from trident.settings import read_settings

    directory = find_engine(read_settings(engines=engines).engines, engine or key)
    if not repository.exists():
        copy_repository(default_repository(), repository)
    for name in add_engine(find_repository(repository), key, directory):
        typer.echo(f"added       {name}")
    typer.echo(f"next        trident serve --repository {shlex.quote(str(repository))}")
