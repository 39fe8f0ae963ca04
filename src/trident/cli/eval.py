"""`trident eval`: how good an engine is, in figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Measure quality: perplexity, divergence, agreement.", no_args_is_help=True)

Engines = Annotated[Path | None, typer.Option(help="folder of engines", show_default="engines")]
Against = Annotated[
    str | None, typer.Option(metavar="ENGINE|CHECKPOINT", help="compare with an engine or a Hugging Face folder")
]
MaxTokens = Annotated[int | None, typer.Option(min=1, help="of the text, from its start", show_default="all")]
Json = Annotated[bool, typer.Option("--json", help="print JSON")]
TextFile = Annotated[Path | None, typer.Option(help="UTF-8 text", show_default="the public-domain text of Trident")]


@app.callback()
def _eval() -> None:
    """Measure quality: perplexity, divergence, agreement."""


@app.command()
def perplexity(
    engine: Annotated[str, typer.Argument(metavar="ENGINE", help="a name, name@version or a path")],
    *,
    against: Against = None,
    text: TextFile = None,
    max_tokens: MaxTokens = None,
    engines: Engines = None,
    json_output: Json = False,
) -> None:
    """Perplexity of an engine over a text; against another, also divergence (KL) and greedy agreement."""
    import json

    from trident.evaluate.quality import measure_quality

    folder = _folder(engines)
    directory, other = _place(folder, engine), _place(folder, against) if against else None
    with _progress(engine) as report:
        figures = measure_quality(directory, other, text=_read(text), max_tokens=max_tokens, report=report)
    if json_output:
        typer.echo(json.dumps(figures, indent=2))
        return
    for name, value in figures.items():
        typer.echo(f"{name:<20} {value:g}")


@app.command()
def compare(
    engine: Annotated[list[str], typer.Argument(metavar="ENGINE...", help="names, name@version or paths")],
    *,
    against: Against = None,
    text: TextFile = None,
    max_tokens: MaxTokens = None,
    streams: Annotated[int, typer.Option(min=1, help="completions at once, for tokens/s")] = 8,
    into: Annotated[
        Path | None, typer.Option(help="folder for quality.json and quality.png", show_default="the first engine's")
    ] = None,
    engines: Engines = None,
    json_output: Json = False,
) -> None:
    """Size, perplexity and tokens/s of several engines: a table, quality.json and a plot."""
    from trident.evaluate.quality import measure_quality
    from trident.evaluate.report import as_json, candidate, table, write_report
    from trident.evaluate.speed import measure_speed

    folder = _folder(engines)
    directories = [_engine(folder, one) for one in engine]
    other, content, found = _place(folder, against) if against else None, _read(text), []
    for name, directory in zip(engine, directories, strict=True):
        with _progress(name) as report:
            figures = measure_quality(directory, other, text=content, max_tokens=max_tokens, report=report)
        found.append(
            candidate(directory, figures, round(measure_speed(directory, 64, 64, streams).decode_tokens_per_s, 1))
        )
    place = into or directories[0]
    write_report(found, place)
    typer.echo(as_json(found) if json_output else table(found))
    typer.echo(f"written: {', '.join(str(path) for path in sorted(place.glob('quality.*')))}", err=True)


def _folder(engines: Path | None) -> Path:
    from trident.settings import read_settings

    return read_settings(engines=engines).engines


def _engine(folder: Path, name: str) -> Path:
    from trident.manifest import find_engine

    return find_engine(folder, name)


def _place(folder: Path, name: str) -> Path:
    """An engine, or the folder of a checkpoint."""
    directory = Path(name)
    return directory if (directory / "config.json").is_file() else _engine(folder, name)


def _read(text: Path | None) -> str | None:
    from trident.errors import SettingsError

    if text is None:
        return None
    try:
        return text.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(f"--text {text} cannot be read: {exc}") from exc


@contextmanager
def _progress(name: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(f"{name}: loading", total=None)
        yield lambda done, total: progress.update(task, description=name, completed=done, total=total)
