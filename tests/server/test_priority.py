"""A request's `priority`, over the wire: who waits for a place is ordered by it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.server.chaos import gauge
from tests.server.openvino_engines import copy_engine
from tests.server.wire import prompts, request, stream_infer
from trident.engines.dispatcher import AHEAD
from trident.manifest import find_engine
from trident.server.ports import free_ports
from trident.server.running import running_server

PATIENCE_S = 60.0
LONG = 2000  # tokens; it is ended when all the others have arrived
STOP = {
    "input_ids": ("INT32", [5]),
    "input_lengths": ("INT32", [1]),
    "request_output_len": ("INT32", [1]),
    "stop": ("BOOL", [True]),
}


@pytest.fixture(scope="module")
def one_place_server(deployment, tmp_path_factory):
    """The embedded engine with one place in its batch, behind a server of its own."""
    source = find_engine(deployment.engines, deployment.engine)
    directory = copy_engine(source, tmp_path_factory.mktemp("engine"), limits={"max_num_seqs": 1}, options={})
    settings = deployment.model_copy(update={"engine": str(directory), "probe_interval_s": 3600.0, **free_ports()})
    with running_server(settings) as running:
        yield running


def test_a_request_of_a_higher_priority_overtakes_those_that_wait(one_place_server):
    """One runs, those that the engine itself holds keep their order, and of the two behind them the later is first."""

    def ask(request_id: str, max_tokens: int, priority: int) -> float:
        options = {"max_tokens": ("INT32", [max_tokens]), "priority": ("INT32", [priority])}
        stream_infer(
            one_place_server.grpc_url, prompts("1, 2, 3,", request_id=request_id, end_id=("INT32", [-1]), **options)
        )
        return time.monotonic()

    def until_active(count: int) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while gauge(one_place_server.metrics_url, "nv_trt_llm_request_metrics", "active") != count:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    with ThreadPoolExecutor(3 + AHEAD) as pool:
        running = pool.submit(ask, "running", LONG, 3)
        until_active(1)
        ahead = [pool.submit(ask, f"ahead {number}", 2, 5) for number in range(AHEAD)]
        until_active(1 + AHEAD)
        low = pool.submit(ask, "low", 2, 5)
        until_active(2 + AHEAD)
        high = pool.submit(ask, "high", 2, 1)
        until_active(3 + AHEAD)
        stream_infer(one_place_server.grpc_url, request("tensorrt_llm", request_id="running", **STOP))
        assert running.result() < max(one.result() for one in ahead) < high.result() < low.result()
