"""The command `trident`: verbs in the order of an engine's life.

Each verb lives in the module of its name and imports what is heavy inside the function, so that
`trident --help` is instant. Errors are one line on stderr; the exit status is 2 for the user's
mistake and 1 for ours.
"""

from __future__ import annotations

import sys

import typer

from trident import __version__
from trident.cli import (
    batch,
    bench,
    build,
    capabilities,
    chat,
    check,
    demo,
    doctor,
    engines,
    gateway,
    generate,
    keys,
    metrics,
    migrate,
    models,
    plan,
    prompts,
    rag,
    repository,
    route,
    serve,
    usage,
)
from trident.cli import (
    eval as eval_,
)
from trident.errors import TridentError, codes_of

app = typer.Typer(
    name="trident",
    help="One Triton LLM ensemble, from a laptop to TensorRT-LLM.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show_version(value: bool) -> None:
    if value:
        print(f"trident {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    pass


app.command("doctor")(doctor.doctor)
app.command("plan")(plan.plan)
app.command("build")(build.build)
app.command("check")(check.check)
app.add_typer(engines.app, name="engines")
app.add_typer(eval_.app, name="eval")
app.add_typer(repository.app, name="repository")
app.command("migrate")(migrate.migrate)
app.command("serve")(serve.serve)
app.command("gateway")(gateway.gateway)
app.add_typer(route.app, name="route")
app.add_typer(keys.app, name="keys")
app.command("usage")(usage.usage)
app.add_typer(rag.app, name="rag")
app.command("generate")(generate.generate)
app.command("chat")(chat.chat)
app.command("batch")(batch.batch)
app.command("models")(models.models)
app.command("metrics")(metrics.metrics)
app.command("capabilities")(capabilities.capabilities)
app.add_typer(prompts.app, name="prompts")
app.add_typer(bench.app, name="bench")
app.command("demo")(demo.demo)


def main() -> None:
    """Entry point of the `trident` command."""
    try:
        app()
    except TridentError as exc:
        print(f"trident: {exc.message}", file=sys.stderr)
        sys.exit(codes_of(exc).exit_status)
