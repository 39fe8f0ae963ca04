"""The verbs of `trident bench` that put a load on a server: `serve`, `compare`, `perf-analyzer`."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from trident.cli.connection import ApiKey, CaFile, CertFile, KeyFile, connection_of
from trident.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trident.bench.load_report import Report
    from trident.bench.load_serve import Target
    from trident_client import Connection

Url = Annotated[str | None, typer.Option(help="host:port of a running server [default: one of its own]")]
Protocol = Annotated[Literal["grpc", "http"], typer.Option(help="How to talk to it.")]
Model = Annotated[str, typer.Option(help="What is asked.")]
Engine = Annotated[str | None, typer.Option(help="Of the server of its own: a name, name@version or a path.")]
PromptTokens = Annotated[str, typer.Option(help="N, lognormal:MEAN:SIGMA:MAX, or sharegpt.")]
MaxTokens = Annotated[str, typer.Option(help="Of each answer; likewise.")]
Warmup = Annotated[float, typer.Option(min=0, help="Seconds of load before anything counts.")]
Duration = Annotated[float, typer.Option(min=0.1, help="Seconds that are measured, of each load and round.")]
Repeats = Annotated[int, typer.Option(min=1, help="Rounds; the figures are medians.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def serve(
    *,
    url: Url = None,
    protocol: Protocol = "grpc",
    model: Model = "ensemble",
    engine: Engine = None,
    api_key: ApiKey = None,
    ca_file: CaFile = None,
    cert_file: CertFile = None,
    key_file: KeyFile = None,
    concurrency: Annotated[
        list[int] | None, typer.Option(min=1, help="Closed loop: streams at once; repeat for several.")
    ] = None,
    rate: Annotated[list[float] | None, typer.Option(help="Open loop: requests a second; repeat for several.")] = None,
    burstiness: Annotated[float, typer.Option(help="Of an open loop: 1 Poisson, less bursts, inf even.")] = 1.0,
    prompt_tokens: PromptTokens = "64",
    max_tokens: MaxTokens = "64",
    shared_prefix_tokens: Annotated[int, typer.Option(min=0, help="Tokens that prompts have in common.")] = 0,
    num_prefixes: Annotated[int, typer.Option(min=1, help="How many such beginnings there are.")] = 1,
    eos: Annotated[bool, typer.Option("--eos", help="Let answers end by themselves before max tokens.")] = False,
    ttft_limit_ms: Annotated[float | None, typer.Option(help="A good request's time to first token.")] = None,
    itl_limit_ms: Annotated[float | None, typer.Option(help="A good request's time per output token.")] = None,
    warmup_s: Warmup = 3.0,
    duration_s: Duration = 20.0,
    repeats: Repeats = 3,
    json_output: AsJson = False,
    output: Annotated[
        list[Path] | None, typer.Option(help="Write .json, .csv or .html too; repeat for several.")
    ] = None,
) -> None:
    """Latency, throughput and goodput of any server under an open or a closed load."""
    import json

    from trident.bench.lengths import SHAREGPT_ANSWERS, SHAREGPT_PROMPTS, parse_lengths
    from trident.bench.load import Pressure, Requests, Window
    from trident.bench.load_figures import Limits
    from trident.bench.load_report import load_table
    from trident.bench.load_serve import measure_target

    check_outputs(output or [])
    if rate and concurrency:
        raise InvalidRequestError("give --concurrency (closed loop) or --rate (open loop), not both")
    requests = Requests(
        parse_lengths(prompt_tokens, SHAREGPT_PROMPTS),
        parse_lengths(max_tokens, SHAREGPT_ANSWERS),
        shared_prefix_tokens,
        num_prefixes,
        ignores_eos=not eos,
    )
    pressures = [Pressure(rate_per_s=each, burstiness=burstiness) for each in rate or ()]
    pressures = pressures or [Pressure(each) for each in concurrency or (1, 8, 32)]
    window = Window(warmup_s, duration_s)
    connection = connection_of(api_key, ca_file, cert_file, key_file)
    with target_of(url, protocol, model, engine, connection) as target:
        report = measure_target(
            target, requests, pressures, window, Limits(ttft_limit_ms, itl_limit_ms), repeats, _progress
        )
    for path in output or []:
        write_output(report, path)
        _progress(f"wrote {path}")
    typer.echo(json.dumps(report, indent=2) if json_output else load_table(report))


def compare(
    first: Annotated[Path, typer.Argument(metavar="A.json", help="A report of `trident bench serve`.")],
    second: Annotated[Path, typer.Argument(metavar="B.json", help="Another.")],
    *,
    json_output: AsJson = False,
) -> None:
    """Two reports of `trident bench serve` side by side, with ratios."""
    from trident.bench import load_compare as bench
    from trident.bench.load_report import read_report
    from trident.bench.report import as_json

    reports = read_report(first), read_report(second)
    typer.echo(as_json(bench.compare(*reports)) if json_output else bench.compare_table(*reports))


def perf_analyzer(
    *,
    url: Url = None,
    model: Model = "ensemble",
    engine: Engine = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Closed loop: streams at once [default: 8]")] = None,
    rate: Annotated[float | None, typer.Option(help="Open loop: requests a second, Poisson.")] = None,
    prompt_tokens: PromptTokens = "64",
    max_tokens: MaxTokens = "64",
    warmup_s: Warmup = 3.0,
    duration_s: Duration = 20.0,
    repeats: Repeats = 3,
    json_output: AsJson = False,
) -> None:
    """NVIDIA's perf_analyzer and `trident bench serve` on the same load in turn: do they agree?"""
    from trident.bench.cross_check import as_table, measure
    from trident.bench.lengths import SHAREGPT_ANSWERS, SHAREGPT_PROMPTS, parse_lengths
    from trident.bench.load import Pressure, Requests, Window
    from trident.bench.perf_analyzer import find_perf_analyzer
    from trident.bench.report import as_json
    from trident_build import ConsoleProgress

    requests = Requests(parse_lengths(prompt_tokens, SHAREGPT_PROMPTS), parse_lengths(max_tokens, SHAREGPT_ANSWERS))
    pressure = Pressure(concurrency or (None if rate else 8), rate)
    command = find_perf_analyzer(ConsoleProgress())
    with target_of(url, "grpc", model, engine) as target:
        found = measure(command, target, requests, pressure, Window(warmup_s, duration_s), repeats, _progress)
    typer.echo(as_json(found) if json_output else as_table(found))


def check_outputs(paths: list[Path]) -> None:
    """Before anything is measured.

    Raises:
        InvalidRequestError: an ending that is none of ours, or a folder that is not there.
        HostError: what a page needs is not installed.
    """
    from trident.bench.load_plots import check_plots

    for path in paths:
        if path.suffix not in {".json", ".csv", ".html"}:
            raise InvalidRequestError(f"'{path}' must end in .json, .csv or .html")
        if not path.parent.is_dir():
            raise InvalidRequestError(f"no folder '{path.parent}' for '{path.name}'")
        if path.suffix == ".html":
            check_plots()


def write_output(report: Report, path: Path) -> None:
    """As the path's ending says."""
    import json

    from trident.bench.load_page import load_page
    from trident.bench.load_report import load_csv

    if path.suffix == ".json":
        text = json.dumps(report, indent=2) + "\n"
    else:
        text = load_csv(report) if path.suffix == ".csv" else load_page(report)
    path.write_text(text, encoding="utf-8")


@contextmanager
def target_of(
    url: str | None,
    protocol: Literal["grpc", "http"],
    model: str,
    engine: str | None,
    connection: Connection | None = None,
) -> Iterator[Target]:
    """The server at `url`, or one of its own for the time of the `with` block.

    Raises:
        InvalidRequestError: an engine for a server that runs already, or credentials for one of its own.
    """
    from trident.bench.load_serve import Target
    from trident.cli.bench import own_server
    from trident_client import Connection

    plain = Connection()
    if url is not None:
        if engine is not None:
            raise InvalidRequestError(f"--engine {engine} is for a server of its own; leave out --url or --engine")
        yield Target(url, protocol, model, connection or plain)
        return
    if connection not in (None, plain):
        raise InvalidRequestError("--api-key and the certificates are for a running server; say which with --url")
    with own_server(engine) as (_, server):
        yield Target(server.grpc_url if protocol == "grpc" else server.http_url, protocol, model)


def _progress(line: str) -> None:
    typer.echo(line, err=True)
