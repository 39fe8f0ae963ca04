"""`trident batch in.jsonl -o out.jsonl`: many prompts, each answered once, also when it is stopped and begun anew."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from trident.cli.connection import (
    ApiKey,
    CaFile,
    CertFile,
    KeyFile,
    ModelName,
    ProtocolName,
    connection_of,
    own_url,
)
from trident.cli.generate import MaxTokens, Seed, Temperature, TopK, TopP, set_options
from trident.contract import ENSEMBLE
from trident.errors import ConfigurationError, SettingsError

if TYPE_CHECKING:
    from trident_client import AsyncClient, Sampling
    from trident_client.batch_job import BatchJob, Tally

Urls = Annotated[
    list[str] | None,
    typer.Option("--url", help="host:port of a server; may be repeated; this machine's if unset"),
]
_MAX_WAIT_S = 10.0  # between two retries; a server that its watchdog starts again is away for seconds


def batch(
    source: Annotated[str, typer.Argument(metavar="INPUT", help="file of requests; '-' reads stdin")],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="file of answers; what it holds is not asked again")],
    failed: Annotated[
        Path | None, typer.Option(help="file of failures", show_default="the output's name with .failed")
    ] = None,
    in_flight: Annotated[int, typer.Option(min=1, help="requests at a time")] = 32,
    max_retries: Annotated[int, typer.Option(min=0, help="of a request that finds no server, or a full one")] = 8,
    url: Urls = None,
    protocol: ProtocolName = "grpc",
    model: ModelName = ENSEMBLE.name,
    api_key: ApiKey = None,
    ca_file: CaFile = None,
    cert_file: CertFile = None,
    key_file: KeyFile = None,
    text: Annotated[bool, typer.Option("--text", help="every line is a prompt, also one that begins with {")] = False,
    max_tokens: MaxTokens = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    seed: Seed = None,
    as_json: Annotated[bool, typer.Option("--json", help="the summary as one JSON object")] = False,
) -> None:
    """Answer a file of requests; begin again with the same command after a stop.

    A line is OpenAI's batch line ({"custom_id", "method", "url", "body"}), or {"prompt": ..., parameters}, or, where
    the first line is no JSON object, a prompt as it is. Parameters given here hold where a line has none of its own.
    """
    import asyncio

    from trident_client import AsyncClient, Retry
    from trident_client.batch_job import BatchJob
    from trident_client.batch_output import AnswerFile, FailureFile
    from trident_client.sampling import sampling_of

    connection = connection_of(api_key, ca_file, cert_file, key_file)
    base: Sampling = sampling_of(
        None, set_options(max_tokens=max_tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
    )
    failed = failed or output.parent / f"{output.stem}.failed{output.suffix}"
    began_s = time.monotonic()
    with _opened(source) as lines, closing(AnswerFile(output)) as answers, closing(FailureFile(failed)) as failures:
        job = BatchJob(lines, answers, failures, base=base, form="text" if text else None, model=model)
        retry = Retry(max_retries=max_retries, max_wait_s=_MAX_WAIT_S)
        client = AsyncClient(url or [own_url(protocol)], protocol, model=model, connection=connection, retry=retry)
        with _progress(_num_lines(lines)) as tell:
            try:
                asyncio.run(_run(job, client, in_flight, tell))
            except ConfigurationError:
                raise  # the same command would not do
            except BaseException:
                _note(f"stopped: {len(answers)} answers are in {output}; the same command goes on from there")
                raise
    _tell_end(job.tally, time.monotonic() - began_s, output, failed, as_json=as_json)
    if job.tally.num_failed:
        raise typer.Exit(1)


async def _run(job: BatchJob, client: AsyncClient, in_flight: int, tell: Callable[[Tally], None]) -> None:
    async with client:
        await job.run(lambda requests: client.batch(requests, max_in_flight=in_flight), client.is_ready, tell)


@contextmanager
def _opened(source: str) -> Iterator[BinaryIO]:
    """The input, seekable; stdin is read to its end first."""
    if source == "-":
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy)
            copy.seek(0)
            yield copy
        return
    try:
        file = Path(source).open("rb")  # noqa: SIM115 - closed below
    except OSError as exc:
        raise SettingsError(f"{source} cannot be read: {exc.strerror}") from exc
    with file:
        yield file


def _num_lines(file: BinaryIO) -> int:
    """Lines that are not blank; the file is left at its beginning."""
    number = sum(1 for line in file if line.strip())
    file.seek(0)
    return number


@contextmanager
def _progress(total: int) -> Iterator[Callable[[Tally], None]]:
    """A bar with an ETA on stderr, where that is a terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total, note="")
        num_before = 0

        def tell(tally: Tally) -> None:
            nonlocal num_before
            if tally.num_before != num_before:  # what an earlier run did says nothing of this one's speed
                num_before = tally.num_before
                progress.update(task, total=total - num_before)
            note = f"{tally.num_failed} failed" if tally.num_failed else ""
            progress.update(task, completed=tally.num_answered + tally.num_failed, note=note)

        yield tell


def _tell_end(tally: Tally, seconds: float, output: Path, failed: Path, *, as_json: bool) -> None:
    rate = tally.num_answered / seconds
    if as_json:
        figures: dict[str, Any] = {
            "answered": tally.num_answered,
            "answered_before": tally.num_before,
            "failed": tally.num_failed,
            "bad_lines": tally.num_bad_lines,
            "output_tokens": tally.num_output_tokens,
            "seconds": round(seconds, 3),
            "requests_per_s": round(rate, 2),
        }
        print(json.dumps(figures))
        return
    if tally.num_before and not tally.num_answered + tally.num_failed:
        _note(f"nothing to do: {output} has all {tally.num_before} answers")
        return
    before = f" ({tally.num_before} were there)" if tally.num_before else ""
    speed = f"{seconds:.1f} s, {rate:.1f} requests/s, {tally.num_output_tokens / seconds:.0f} tokens/s"
    _note(f"{tally.num_answered} answers to {output}{before} · {speed}")
    if tally.num_failed:
        bad = f", {tally.num_bad_lines} of them lines that cannot be read" if tally.num_bad_lines else ""
        _note(f"{tally.num_failed} failures to {failed}{bad}; the same command asks for them again")


def _note(line: str) -> None:
    typer.secho(line, dim=True, err=True)
