"""`trident bench`: figures that anyone can repeat. Long because each verb declares its options."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from trident.cli import bench_load

if TYPE_CHECKING:
    from trident.server.running import Server

app = typer.Typer(help="Measure, side by side and in turn.", no_args_is_help=True)

ENGINE = typer.Option(None, help="Engine: a name, name@version or a path [default: the setting].")
REPEATS = typer.Option(3, min=1, help="Rounds; the figures are medians.")
JSON = typer.Option(False, "--json", help="Print one JSON object.")


class Feature(str, Enum):
    """What `trident bench features` measures; typer takes no list of literals."""

    LORA = "lora"
    PROMPT_LOOKUP = "prompt-lookup"
    KV_PRECISION = "kv-precision"


@app.callback()
def _bench() -> None:
    """Measure, side by side and in turn."""


@app.command()
def overhead(
    engine: str | None = ENGINE,
    concurrency: list[int] = typer.Option([1, 8, 32], min=1, help="Streams at once; repeat for several."),
    prompt_words: int = typer.Option(64, min=1, help="Words (about as many tokens) of each prompt."),
    max_tokens: int = typer.Option(128, min=2, help="Tokens of each completion; EOS is ignored."),
    repeats: int = REPEATS,
    json_output: bool = JSON,
) -> None:
    """What serving costs: the ensemble over gRPC streaming against the raw engine on the same prompts."""
    import asyncio

    from trident.bench import overhead as bench
    from trident.bench.report import overhead_json, overhead_table

    with own_server(engine) as (directory, server):
        measured = bench.measure(
            directory, server.grpc_url, concurrency, prompt_words, max_tokens, repeats, report=_progress
        )
        raw, ensemble = asyncio.run(measured)
    typer.echo(overhead_json(raw, ensemble) if json_output else overhead_table(raw, ensemble))


@app.command()
def text(
    engine: str | None = ENGINE,
    repeats: int = typer.Option(20, min=1, help="Rounds; the figures are medians."),
    json_output: bool = JSON,
) -> None:
    """What the text path costs by itself: tokenizing, decoding, stop words, tool calls, checks; CPU time, no server."""
    from trident.bench import text as bench
    from trident.manifest import find_engine
    from trident.settings import read_settings

    settings = read_settings(engine=engine)
    found = bench.measure(find_engine(settings.engines, settings.engine), repeats)
    _show(dataclasses.asdict(found), json_output)


@app.command("engine")
def engine_(
    engine: str | None = ENGINE,
    concurrency: list[int] = typer.Option([1, 32, 64], min=1, help="Streams at once; repeat for several."),
    prompt_words: int = typer.Option(64, min=1, help="Words (about as many tokens) of each of their prompts."),
    max_tokens: int = typer.Option(64, min=2, help="Tokens of each completion; EOS is ignored."),
    long_prompt_tokens: int | None = typer.Option(
        None, min=1, help="Of the long prompt [default: the engine's limit]."
    ),
    repeats: int = REPEATS,
    json_output: bool = JSON,
) -> None:
    """The engine behind the ensemble: against the raw engine, with a reused prefix, beside a long prompt."""
    import asyncio

    from trident.bench import overhead, sharing
    from trident.bench.report import added_ttft, ratios

    async def measure(directory: Path, grpc_url: str) -> dict[str, Any]:
        shared = await sharing.measure(
            directory,
            grpc_url,
            max_tokens=2 * max_tokens,  # they have to outlast the long prompt
            long_prompt_tokens=long_prompt_tokens,
            repeats=repeats,
            report=_progress,
        )
        raw, served = await overhead.measure(
            directory, grpc_url, concurrency, prompt_words, max_tokens, repeats, report=_progress
        )
        return {**ratios(raw, served), **added_ttft(raw, served), **dataclasses.asdict(shared)}

    with own_server(engine) as (directory, server):
        found = asyncio.run(measure(directory, server.grpc_url))
    _show(found, json_output)


@app.command()
def features(
    engine: str | None = typer.Option(None, help="Engine of SmolLM2-135M: a name or a path [default: the setting]."),
    feature: list[Feature] = typer.Option(list(Feature), help="What to measure; repeat for several."),
    prompt_words: int = typer.Option(64, min=1, help="Words (about as many tokens) of each prompt with LoRA."),
    context_words: int = typer.Option(512, min=1, help="Of each prompt with both precisions of the KV cache."),
    max_tokens: int = typer.Option(128, min=2, help="Tokens of each completion, at most for prompt lookup."),
    repeats: int = REPEATS,
    json_output: bool = JSON,
) -> None:
    """What LoRA, prompt lookup and the KV cache's precision change: the OpenVINO engine with and without; no server."""
    from trident.bench import features as bench
    from trident.bench.engine_side import Workload
    from trident.manifest import find_engine
    from trident.settings import read_settings

    settings = read_settings(engine=engine)
    workload = Workload(prompt_words, context_words, max_tokens)
    directory = find_engine(settings.engines, settings.engine)
    _show(
        bench.measure(directory, [each.value for each in dict.fromkeys(feature)], workload, repeats, _progress),
        json_output,
    )


@app.command()
def pipeline(
    engine: str = typer.Option("replay-smollm2", help="Simulated engine: a name, name@version or a path."),
    streams: int = typer.Option(256, min=1, help="Streams at once."),
    max_tokens: int = typer.Option(2000, min=2, help="Tokens of each completion; EOS is ignored."),
    prompt_words: int = typer.Option(16, min=1, help="Words (about as many tokens) of each prompt."),
    repeats: int = REPEATS,
    json_output: bool = JSON,
) -> None:
    """What the pipeline around an engine can carry, by process: a simulated engine, everything else real."""
    from trident.bench import pipeline as bench
    from trident.bench.stream_client import Workload

    with own_server(engine) as (directory, server):
        workload = Workload(streams, max_tokens, prompt_words, seed=0)
        found = bench.measure(directory, server, workload, repeats, _progress)
        given = {"streams": streams, "response_delay_ms": server.settings.response_delay_ms}
    _show({**given, **dataclasses.asdict(found)}, json_output)


@app.command()
def client(
    engine: str = typer.Option("replay-smollm2", help="Engine, a simulated one as a rule: a name or a path."),
    streams: int = typer.Option(8, min=1, help="Streams at once."),
    max_tokens: int = typer.Option(1000, min=2, help="Tokens of each completion; EOS is ignored."),
    repeats: int = REPEATS,
    json_output: bool = JSON,
) -> None:
    """What the client costs for each streamed response, beside bare tritonclient; CPU time, each in its own process."""
    from trident.bench import client as bench

    with own_server(engine) as (_, server):
        workload = bench.ClientWorkload(streams, max_tokens)
        found = bench.measure(server.grpc_url, server.http_url, workload, repeats, _progress)
    _show({"streams": streams, **dataclasses.asdict(found)}, json_output)


@app.command()
def gateway(
    engine: str = typer.Option("replay-smollm2", help="Simulated engine: a name, name@version or a path."),
    streams: int = typer.Option(128, min=1, help="Streams at once."),
    max_tokens: int = typer.Option(1000, min=2, help="Tokens of each completion."),
    prompt_words: int = typer.Option(16, min=1, help="Words (about as many tokens) of each prompt."),
    latencies: int = typer.Option(50, min=1, help="Requests, one at a time, for the time to the first token."),
    litellm: str | None = typer.Option(None, help="LiteLLM's proxy, in an environment of its own: its command."),
    repeats: int = REPEATS,
    json_output: bool = JSON,
) -> None:
    """What the gateway costs: its streamed chats beside gRPC to the same server, a simulated engine behind both."""
    from trident.bench import gateway as bench
    from trident.bench.stream_client import Workload

    with own_server(engine) as (_, server):
        workload = Workload(streams, max_tokens, prompt_words, seed=0)
        found = bench.measure(server, workload, latencies, repeats, litellm, _progress)
    _show({"streams": streams, **found}, json_output)


_LEDGER_REQUESTS = 20_000


@app.command()
def cache(
    engine: str | None = ENGINE,
    embedding: str = typer.Option("all-minilm-l6-v2", help="Engine that makes embeddings: a name or a path."),
    requests: int = typer.Option(100, min=0, help="Hits of each kind that are timed; 0: the labelled set alone."),
    plot: Path | None = typer.Option(None, dir_okay=False, help="Recall and false hits as a picture: PNG or SVG."),
    json_output: bool = JSON,
) -> None:
    """Caches and ledger: wrong and right answers on the labelled pairs, beside a threshold alone; time of hits; CPU."""
    from trident.bench import cache as bench
    from trident.bench import cache_hits, ledger_cost
    from trident.bench.semantic_pairs import read_pairs
    from trident.manifest import find_engine
    from trident.settings import read_settings

    directory = find_engine(read_settings().engines, embedding)
    found = bench.report(bench.judge(read_pairs(), directory))
    if plot is not None:
        bench.plot(found["curve"], plot)
        _progress(f"written: {plot}")
    if requests:
        with own_server(engine, str(directory)) as (_, server):
            hits = cache_hits.measure(server, requests, _progress)
        _progress(f"{_LEDGER_REQUESTS} requests into the ledger")
        found = {**hits, **ledger_cost.measure(_LEDGER_REQUESTS), **found}
    if not json_output:
        del found["curve"]
    _show(found, json_output)


@app.command()
def peers(
    engine: str | None = ENGINE,
    llama_server: str = typer.Option("llama-server", help="llama.cpp's server: a name on the PATH, or a path."),
    gguf: list[Path] = typer.Option([], exists=True, dir_okay=False, help="Its model; repeat for several precisions."),
    vllm: str = typer.Option("vllm", help="vLLM's command (its CPU build): a name on the PATH, or a path."),
    transformers: str = typer.Option("transformers", help="transformers' command: a name on the PATH, or a path."),
    checkpoint: Path | None = typer.Option(
        None, exists=True, file_okay=False, help="Hugging Face checkpoint for vLLM and transformers."
    ),
    concurrency: list[int] = typer.Option([1, 8, 32], min=1, help="Streams at once; repeat for several."),
    prompt_tokens: int = typer.Option(64, min=8, help="Tokens of each prompt, or one or two more."),
    max_tokens: int = typer.Option(64, min=2, help="Tokens of each completion; EOS is ignored."),
    repeats: int = REPEATS,
    json_output: bool = JSON,
) -> None:
    """What one would pick instead on this CPU: llama-server, vLLM, transformers, the raw engine; those installed."""
    import asyncio

    from trident.bench import peers as bench
    from trident.bench.peers_servers import Load, find_peers
    from trident.bench.report import as_json

    load = Load(max(concurrency), max_seq_tokens=prompt_tokens + max_tokens + 8)
    found, left_out = find_peers(load, llama_server, gguf, vllm, transformers, checkpoint)
    workload = bench.PeersWorkload(concurrency, prompt_tokens, max_tokens)
    with bench.started(found, left_out, _progress) as running, own_server(engine) as (directory, server):
        measured = bench.measure(directory, server.grpc_url, running, workload, repeats, left_out, _progress)
        comparison = asyncio.run(measured)
    as_text = as_json(bench.comparison_json(comparison)) if json_output else bench.comparison_table(comparison)
    typer.echo(as_text)


app.command()(bench_load.serve)
app.command()(bench_load.compare)
app.command("perf-analyzer")(bench_load.perf_analyzer)


@contextmanager
def own_server(engine: str | None, embedding: str | None = None) -> Iterator[tuple[Path, Server]]:
    """A server of its own on free ports, and the directory of the engine that it serves."""
    from trident.manifest import find_engine
    from trident.server.ports import free_ports
    from trident.server.running import running_server
    from trident.settings import read_settings

    settings = read_settings(engine=engine, embedding=embedding, **free_ports())
    with running_server(settings, log=_progress) as server:
        yield find_engine(settings.engines, settings.engine), server


def _progress(line: str) -> None:
    typer.echo(line, err=True)


def _show(figures: Mapping[str, Any], is_json: bool) -> None:
    from trident.bench.report import as_json, as_table

    typer.echo(as_json(figures) if is_json else as_table(figures))
