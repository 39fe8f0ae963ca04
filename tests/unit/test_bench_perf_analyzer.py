"""perf_analyzer: what it is told, how its files are read, and what is said where it does not run."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pytest

from trident.bench.cross_check import as_table
from trident.bench.lengths import Lengths
from trident.bench.load import Pressure, Requests, Window
from trident.bench.load_serve import Target
from trident.bench.perf_analyzer import (
    find_perf_analyzer,
    input_data,
    load_arguments,
    read_figures,
    run_perf_analyzer,
)
from trident.errors import EngineError, HostError
from trident_build.progress import Silent

REQUESTS = Requests(Lengths(4), Lengths(32))
TARGET = Target("host:8001", "grpc", "ensemble")
TABLE = "Concurrency,Inferences/Second,Client Send,p50 latency\n8,46.5,0,169732\n"
EXPORT = {"experiments": [{"requests": [
    {"timestamp": 1_000_000, "response_timestamps": [11_000_000, 101_000_000]},
    {"timestamp": 2_000_000, "response_timestamps": [22_000_000, 202_000_000]},
    {"timestamp": 3_000_000, "response_timestamps": []},
]}]}  # fmt: skip


def test_its_prompts_are_the_tensors_that_our_client_sends():
    data = input_data(REQUESTS, "ensemble", seed=3)
    texts = [text for text, _ in islice(REQUESTS.texts(3), len(data))]
    assert [each["text_input"] for each in data] == [[text] for text in texts]
    assert {name: data[0][name] for name in ("max_tokens", "end_id", "stream")} == {
        "max_tokens": [32], "end_id": [-1], "stream": [True],
    }  # fmt: skip
    assert "end_id" not in input_data(Requests(Lengths(4), Lengths(32), ignores_eos=False), "ensemble", 3)[0]
    json.dumps(data)


def test_a_closed_loop_has_to_be_stable_and_a_poisson_process_never_is():
    assert load_arguments(Pressure(8)) == ["--concurrency-range", "8", "-s", "10"]
    assert load_arguments(Pressure(None, 2.5)) == [
        "--request-rate-range", "2.5", "--request-distribution", "poisson", "-s", "100",
    ]  # fmt: skip


def test_its_figures_are_read_from_the_table_and_the_exported_times():
    found = read_figures(TABLE, EXPORT)
    assert (found.requests_per_s, found.latency_p50_ms) == (46.5, pytest.approx(169.732))
    assert found.latency_mean_ms == pytest.approx((100 + 200) / 2)
    assert found.ttft_p50_ms == pytest.approx(10)


def test_a_run_without_a_request_is_refused():
    with pytest.raises(EngineError, match="raise --duration-s"):
        read_figures(TABLE, {"experiments": [{"requests": []}]})


def script(folder: Path, text: str) -> None:
    path = folder / "perf_analyzer"
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


def test_the_one_on_the_path_is_taken_and_told_to_measure_the_same_load(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    script(
        tmp_path, f'echo "$@" > {tmp_path}/told; [ "$1" = --version ] && exit 0; echo; echo "it is not stable"; exit 2'
    )
    command = find_perf_analyzer(Silent(), tmp_path / "cache")
    with pytest.raises(EngineError, match=r"perf_analyzer failed \(status 2\): it is not stable"):
        run_perf_analyzer(command, TARGET, REQUESTS, Pressure(8), Window(1.0, 6.0), seed=0)
    told = (tmp_path / "told").read_text(encoding="utf-8").split()
    for option, value in (("-m", "ensemble"), ("-u", "host:8001"), ("-p", "2000"), ("--concurrency-range", "8")):
        assert told[told.index(option) + 1] == value
    assert "--streaming" in told


def test_one_that_does_not_start_is_refused_with_what_it_lacks(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    script(tmp_path, "echo 'libb64.so.0d: cannot open shared object file' >&2; exit 127")
    with pytest.raises(HostError, match=r"libb64\.so\.0d: cannot open shared object file; install trident-llm\[cpu\]"):
        find_perf_analyzer(Silent(), tmp_path / "cache")


def test_the_table_shows_both_sides_and_their_ratio():
    names = ("requests_per_s", "latency_mean_ms", "latency_p50_ms", "ttft_p50_ms")
    sides = {"trident": 2.0, "perf_analyzer": 1.0, "ratio": 0.5}
    found = {
        "load": "8 streams",
        "warnings": ["late"],
        **{side: dict.fromkeys(names, value) for side, value in sides.items()},
    }
    header, *rows, warning = as_table(found).splitlines()
    assert header.split() == ["8", "streams", "trident", "perf_analyzer", "ratio"]
    assert [row.split() for row in rows] == [[name, "2.000", "1.000", "0.500"] for name in names]
    assert warning == "! late"
