"""`trident migrate`: from a repository of NVIDIA's to a recipe, settings and a report."""

from __future__ import annotations

from pathlib import Path

import typer


def migrate(
    path: Path | None = typer.Argument(None, help="Repository of NVIDIA's: inflight_batcher_llm, filled, or llmapi."),
    output: Path = typer.Option(Path("migrated"), help="Folder for recipe.toml, trident.env and report.md."),
    tables: bool = typer.Option(False, "--tables", help="Print the tables of docs/migrating.md instead."),
) -> None:
    """Read a repository of NVIDIA's; write the recipe, the settings, and what has no equivalent."""
    from trident.errors import RepositoryError
    from trident.migrate import migrate as migrated
    from trident.migrate_report import recipe_toml, report
    from trident.migrate_report import tables as all_tables
    from trident.migrate_source import read_repository
    from trident_build.recipe import read_recipe

    if tables:
        typer.echo(all_tables(), nl=False)
        return
    if path is None:
        raise RepositoryError(
            "no repository named: trident migrate PATH, the folder that has tensorrt_llm/config.pbtxt"
        )
    found = read_repository(path)
    migration = migrated(found)
    texts = {
        "recipe.toml": f"# Written by `trident migrate` from {path}; see report.md for what to check.\n"
        + recipe_toml(migration.recipe),
        "trident.env": "".join(f"{name}={value}\n" for name, value in migration.settings.items()),
        "report.md": report(found, migration),
    }
    try:
        output.mkdir(parents=True, exist_ok=True)
        for name in texts:
            if (output / name).exists():
                raise RepositoryError(f"{output / name} is there already; remove it, or name another --output")
        for name, text in texts.items():
            (output / name).write_text(text, encoding="utf-8")
    except OSError as exc:
        raise RepositoryError(f"{output} cannot be written: {exc.strerror}") from exc
    read_recipe(output / "recipe.toml")
    for name in texts:
        typer.echo(f"written  {output / name}")
    typer.echo(f"{len(migration.assumed)} thing(s) to check in {output / 'report.md'}")
    typer.echo(f"next     trident build {output / 'recipe.toml'} --dry-run")
