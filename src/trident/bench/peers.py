"""What a user would pick instead on this CPU: the ensemble and the raw engine against other servers, in turn.

Everybody gets the same prompts, greedy and without EOS. The ensemble and the peers are asked for streams, as a user
asks them; the raw engine is its own process, as in `trident bench overhead`.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trident.bench.overhead import run_ensemble
from trident.bench.peers_client import run_peer
from trident.bench.peers_process import Peer, PeerProcess
from trident.bench.raw_engine import RawEngine
from trident.bench.workload import Figures, Run, cut_to_tokens, figures, median_figures, prompts
from trident.errors import TridentError
from trident.text.tokenizer import Detokenizers, Tokenizer, read_tokenizer
from trident_client import AsyncClient, Retry

Side = Callable[[Sequence[str]], Awaitable[Run]]  # prompts -> a run
Say = Callable[[str], None]
ENSEMBLE, RAW = "ensemble", "raw openvino"
# OpenMP threads spin for up to 200 ms after their work (KMP_BLOCKTIME), and would take that from the next in turn.
_PAUSE_S = 0.5


@dataclass(frozen=True)
class PeersWorkload:
    """What each run asks for."""

    concurrencies: Sequence[int]
    prompt_tokens: int  # of each prompt, or one or two more
    max_tokens: int  # of each completion


@dataclass(frozen=True)
class Comparison:
    """Medians by side and concurrency, and why a peer is not among them."""

    sides: Mapping[str, Mapping[int, Figures]]
    left_out: Mapping[str, str]


@contextmanager
def started(peers: Sequence[Peer], left_out: dict[str, str], say: Say) -> Iterator[list[PeerProcess]]:
    """The peers that run and answer; those that do not are added to `left_out`. All are ended after the block."""
    with ExitStack() as stack:
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trident-peers-")))
        running = []
        for number, peer in enumerate(peers):
            say(f"starting {peer.name}")
            try:
                with ExitStack() as starting:
                    process = starting.enter_context(PeerProcess(peer, logs / str(number)))
                    process.wait_until_ready()
                    stack.push(starting.pop_all())
            except TridentError as exc:
                left_out[peer.name] = exc.message
                continue
            running.append(process)
        yield running


async def compare(
    sides: Mapping[str, Side],
    texts: Callable[[int, int], list[str]],
    concurrencies: Sequence[int],
    repeats: int,
    left_out: dict[str, str],
    say: Say,
    pause_s: float = _PAUSE_S,
) -> Comparison:
    """Medians of `repeats` runs of every side at each concurrency, in turn, after a round that warms up.

    Args:
        sides: by name. One that fails is left out from then on, and all that it gave.
        texts: number of prompts, seed -> prompts.
        concurrencies: streams at once.
        repeats: rounds.
        left_out: name -> why; those that fail are added.
        say: told of each round.
        pause_s: between two turns.
    """
    runs: dict[str, dict[int, list[Figures]]] = {name: {number: [] for number in concurrencies} for name in sides}
    for repeat in range(-1, repeats):
        for number in concurrencies:
            given = texts(number, 1000 * (repeat + 1) + number)
            for name in list(runs):
                await asyncio.sleep(pause_s)
                try:
                    found = figures(await sides[name](given))
                except TridentError as exc:
                    left_out[name] = exc.message
                    del runs[name]
                    continue
                if repeat >= 0:
                    runs[name][number].append(found)
            if repeat >= 0:
                rates = ", ".join(f"{name} {of[number][-1].tokens_per_s:.1f}" for name, of in runs.items())
                say(f"round {repeat + 1}, {number:>2} streams, tokens/s: {rates}")
    medians = {name: {number: median_figures(of[number]) for number in concurrencies} for name, of in runs.items()}
    return Comparison(medians, left_out)


async def measure(
    engine_directory: Path,
    grpc_url: str,
    running: Sequence[PeerProcess],
    workload: PeersWorkload,
    repeats: int,
    left_out: dict[str, str],
    say: Say,
) -> Comparison:
    """The comparison of the ensemble at `grpc_url`, its raw engine, and the `running` peers."""
    tokenizer, detokenizer = read_tokenizer(engine_directory), Detokenizers(engine_directory)(True)
    max_tokens = workload.max_tokens

    def texts(count: int, seed: int) -> list[str]:
        whole = prompts(count, workload.prompt_tokens, seed)
        return [cut_to_tokens(text, workload.prompt_tokens, tokenizer, detokenizer) for text in whole]

    with RawEngine(engine_directory) as raw:
        async with AsyncClient(grpc_url, retry=Retry(0)) as client:
            sides = {
                ENSEMBLE: lambda given: run_ensemble(client, given, max_tokens),
                RAW: _raw_side(raw, tokenizer, max_tokens),
                **{process.peer.name: _peer_side(process, max_tokens) for process in running},
            }
            return await compare(sides, texts, workload.concurrencies, repeats, left_out, say)


def _raw_side(raw: RawEngine, tokenizer: Tokenizer, max_tokens: int) -> Side:
    async def run(texts: Sequence[str]) -> Run:
        return raw.run(tokenizer.encode_prompts(list(texts), add_special_tokens=True), max_tokens)

    return run


def _peer_side(process: PeerProcess, max_tokens: int) -> Side:
    async def run(texts: Sequence[str]) -> Run:
        return await run_peer(process.port, texts, max_tokens, process.peer.fields)

    return run


def comparison_json(found: Comparison) -> dict[str, Any]:
    """Of each side `tokens_per_s`, `ttft_p50_ms` and the other figures by concurrency (`c1`, ...).

    `ratio` is the ensemble's tokens/s over that side's.
    """
    ours = found.sides.get(ENSEMBLE, {})
    return {
        "sides": {
            name: {
                f"c{number}": {
                    **asdict(row),
                    **({"ratio": ours[number].tokens_per_s / row.tokens_per_s} if number in ours else {}),
                }
                for number, row in rows.items()
            }
            for name, rows in found.sides.items()
        },
        "left_out": dict(found.left_out),
    }


def comparison_table(found: Comparison) -> str:
    """A line for each side: tokens/s and TTFT p50 at each concurrency; then who is left out, and why."""
    numbers = sorted({number for rows in found.sides.values() for number in rows})
    cell = "{:>10} {:>12}"
    header = "".join(cell.format(f"c{number} tok/s", "TTFT p50") for number in numbers)
    lines = [f"{'side':<20}{header}"]
    for name, rows in found.sides.items():
        cells = (cell.format(f"{row.tokens_per_s:.1f}", f"{row.ttft_p50_ms:.1f} ms") for row in rows.values())
        lines.append(f"{name:<20}{''.join(cells)}")
    return "\n".join(lines + [f"left out: {name}: {reason}" for name, reason in found.left_out.items()])
