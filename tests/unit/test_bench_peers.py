"""Peers are found, started, asked and ended; one that fails is left out and takes no other with it."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from trident.bench.peers import Comparison, compare, comparison_json, comparison_table, started
from trident.bench.peers_client import run_peer
from trident.bench.peers_process import Peer, PeerProcess
from trident.bench.peers_servers import Load, find_peers
from trident.bench.workload import Figures, Run
from trident.cli.bench import app
from trident.errors import EngineError, UnavailableError

SERVER = Path(__file__).parent / "scripted_peer.py"
LOAD = Load(max_streams=4, max_seq_tokens=136)


def scripted(script: str, name: str | None = None) -> Peer:
    return Peer(name or script, (sys.executable, str(SERVER), script, "--port"), {"temperature": 0})


def ask(script: str, tmp_path: Path, timeout_s: float = 30.0, prompts: tuple[str, ...] = ("a", "b")) -> Run:
    with PeerProcess(scripted(script), tmp_path / "log") as process:
        process.wait_until_ready()
        return asyncio.run(run_peer(process.port, prompts, 5, process.peer.fields, timeout_s))


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("script", ["serve", "plain"])
def test_every_token_of_every_stream_is_an_arrival_and_events_without_text_are_none(script, tmp_path):
    """Chunked or not, and wherever an event is cut."""
    run = ask(script, tmp_path)
    assert run.num_tokens == 10
    assert [len(times) for times in run.arrivals_s] == [5, 5]
    streams = zip(run.starts_s, run.arrivals_s, strict=True)
    assert all(start <= times[0] <= times[-1] <= run.wall_s for start, times in streams)


@pytest.mark.parametrize(
    ("script", "error", "says"),
    [
        ("short", EngineError, "ended after 4 of 5 tokens"),
        ("refuse", EngineError, "400 bad prompt"),
        ("fail", EngineError, "out of memory"),
        ("break", UnavailableError, "broke off"),
    ],
)
def test_an_answer_that_is_not_whole_is_an_error_that_says_what_came(script, error, says, tmp_path):
    with pytest.raises(error, match=says):
        ask(script, tmp_path)


def test_a_peer_that_sends_nothing_ends_at_the_time_limit(tmp_path):
    with pytest.raises(UnavailableError, match=r"no end of 2 streams within 0\.5 s"):
        ask("hang", tmp_path, timeout_s=0.5)


def test_a_port_where_nobody_listens_is_an_error(tmp_path):
    process = PeerProcess(scripted("serve"), tmp_path / "log")
    process.end()
    with pytest.raises(UnavailableError, match="ConnectionRefusedError"):
        asyncio.run(run_peer(process.port, ["a"], 5, {}))


def test_a_peer_that_ends_before_it_answers_is_named_with_its_last_line(tmp_path):
    says = "status 1 before it answered: no such model"
    with PeerProcess(scripted("exit"), tmp_path / "log") as process, pytest.raises(UnavailableError, match=says):
        process.wait_until_ready()


def test_a_peer_that_is_never_healthy_ends_at_the_time_limit(tmp_path):
    says = "no answer on its port within 1 s: it said nothing"
    with PeerProcess(scripted("mute"), tmp_path / "log") as process, pytest.raises(UnavailableError, match=says):
        process.wait_until_ready(timeout_s=1.0)
    assert not is_alive(process.pid)


def test_ending_a_peer_ends_its_children_too_and_may_be_said_twice(tmp_path):
    """A shell that waits for the server: both are gone, and the shell is the only one that we started."""
    peer = scripted("serve")
    command = ("sh", "-c", '"$@" & echo $! > "$0"; wait', str(tmp_path / "pid"), *peer.command)
    process = PeerProcess(Peer("shell", command, {}), tmp_path / "log")
    process.wait_until_ready()
    child = int((tmp_path / "pid").read_text())
    assert is_alive(child)
    process.end()
    process.end()
    assert not is_alive(process.pid)
    deadline = time.monotonic() + 10  # it was killed with the shell, and is not ours to wait for
    while is_alive(child) and Path(f"/proc/{child}/stat").read_text().split()[2] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_peer_that_ignores_the_request_to_end_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr("trident.bench.peers_process._GRACE_S", 0.2)
    with PeerProcess(scripted("deaf"), tmp_path / "log") as process:
        process.wait_until_ready()
    assert not is_alive(process.pid)


def test_peers_that_do_not_start_are_left_out_and_the_others_run():
    left_out = {}
    missing = Peer("missing", ("/no/such/program",), {})
    with started([scripted("exit"), missing, scripted("serve")], left_out, lambda _: None) as running:
        assert [process.peer.name for process in running] == ["serve"]
        assert is_alive(running[0].pid)
    assert not is_alive(running[0].pid)
    assert left_out.keys() == {"exit", "missing"}
    assert "No such file" in left_out["missing"]


def test_a_peer_that_dies_midway_is_left_out_and_the_others_keep_their_figures():
    """Every side runs in every round, in turn; the first round is not counted."""
    turns = []

    def side(name: str, max_turns: int = 99):
        async def run(texts):
            turns.append(name)
            if turns.count(name) > max_turns:
                raise UnavailableError("it broke off a response")
            return Run(2.0, 8 * len(texts), [[0.5, 1.0]] * len(texts), [0.0] * len(texts))

        return run

    async def compared() -> Comparison:
        def prompts(count: int, seed: int) -> list[str]:
            return [f"{seed}"] * count

        sides = {"ensemble": side("ensemble"), "dies": side("dies", max_turns=3)}
        return await compare(sides, prompts, [1, 2], 2, {}, lambda _: None, pause_s=0.0)

    found = asyncio.run(compared())
    assert turns == ["ensemble", "dies"] * 4 + ["ensemble"] * 2
    assert found.left_out == {"dies": "it broke off a response"}
    assert {number: row.tokens_per_s for number, row in found.sides["ensemble"].items()} == {1: 4.0, 2: 8.0}


def row(rate: float, ttft_ms: float) -> Figures:
    return Figures(rate, ttft_ms, 2.0, 3.0, 4.0, 1.0)


FOUND = Comparison(
    {"ensemble": {1: row(120.0, 20.0), 8: row(400.0, 50.0)}, "vllm bf16": {1: row(60.0, 30.0), 8: row(500.0, 60.0)}},
    {"llama-server": "it has no model"},
)


def test_the_json_gives_every_figure_and_how_far_ahead_the_ensemble_is():
    values = comparison_json(FOUND)
    assert values["sides"]["vllm bf16"]["c8"]["tokens_per_s"] == 500.0
    assert values["sides"]["vllm bf16"]["c1"]["ttft_p50_ms"] == 30.0
    assert [values["sides"]["vllm bf16"][key]["ratio"] for key in ("c1", "c8")] == [2.0, 0.8]
    assert values["left_out"] == {"llama-server": "it has no model"}


def test_the_table_has_a_line_for_each_side_and_for_each_that_is_left_out():
    header, ours, theirs, missing = comparison_table(FOUND).splitlines()
    assert header.split() == ["side", "c1", "tok/s", "TTFT", "p50", "c8", "tok/s", "TTFT", "p50"]
    assert ours.split() == ["ensemble", "120.0", "20.0", "ms", "400.0", "50.0", "ms"]
    assert theirs.split()[:3] == ["vllm", "bf16", "60.0"]
    assert missing == "left out: llama-server: it has no model"


def test_a_peer_that_is_not_installed_is_left_out_with_what_to_do(monkeypatch):
    monkeypatch.setenv("PATH", "")
    found, left_out = find_peers(LOAD, llama_server="/opt/none")
    assert not found
    assert left_out.keys() == {"llama-server", "vllm", "transformers"}
    assert left_out["llama-server"].startswith("/opt/none is no program here; install it")
    assert "--vllm PATH" in left_out["vllm"]


def test_a_peer_without_a_model_is_left_out_and_each_model_of_llama_server_is_a_peer():
    ggufs = [Path("/models/SmolLM2.Q4_1.gguf"), Path("/models/smollm2-q8_0.gguf")]
    found, left_out = find_peers(LOAD, sys.executable, ggufs, vllm=sys.executable, transformers=sys.executable)
    assert [peer.name for peer in found] == ["llama-server Q4_1", "llama-server q8_0"]
    assert left_out.keys() == {"vllm", "transformers"}
    assert "--checkpoint DIR" in left_out["vllm"]


def test_vllm_and_transformers_share_the_checkpoint():
    found, left_out = find_peers(
        LOAD, "no-such-program", [], sys.executable, sys.executable, checkpoint=Path("/models/smollm2")
    )
    assert [peer.name for peer in found] == ["vllm bf16", "transformers bf16"]
    assert all("/models/smollm2" in peer.command for peer in found)
    assert left_out.keys() == {"llama-server"}


def test_the_verb_refuses_a_model_that_is_not_there(tmp_path):
    ran = CliRunner().invoke(app, ["peers", "--gguf", str(tmp_path / "none.gguf")])
    assert ran.exit_code == 2
    assert "none.gguf" in ran.output.replace("\n", "")
