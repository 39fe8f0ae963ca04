"""Whatever askers do, nothing is left behind, and those that were not disturbed get their right answers."""

from __future__ import annotations

import asyncio

import pytest

from tests.server.chaos import chaos, gauge, kill_clients, prompt, wait_until_empty
from trident.manifest import FILE_NAME, find_engine, read_manifest, write_manifest
from trident.server.ports import free_ports
from trident.server.running import running_server
from trident_client import Client

PLACES = 12  # of the batch, so that most requests wait in the line
TOKENS = 150


@pytest.fixture(scope="module")
def narrow_server(deployment, tmp_path_factory):
    """The embedded engine with few places in its batch, behind a server of its own."""
    source = find_engine(deployment.engines, deployment.engine)
    directory = tmp_path_factory.mktemp("engines") / "narrow" / "1"
    directory.mkdir(parents=True)
    for path in source.iterdir():
        if path.name != FILE_NAME:
            (directory / path.name).symlink_to(path)
    manifest = read_manifest(source)
    limits = manifest.limits.model_copy(update={"max_num_seqs": PLACES, "max_queued_requests": 1024})
    write_manifest(directory, manifest.model_copy(update={"limits": limits}))
    settings = deployment.model_copy(update={"engine": str(directory), "probe_interval_s": 3600.0, **free_ports()})
    with running_server(settings) as running:
        yield running


@pytest.mark.parametrize("num_requests", [64, pytest.param(2000, marks=pytest.mark.soak)])
def test_after_chaos_nothing_is_held_and_the_undisturbed_were_answered_rightly(narrow_server, num_requests):
    outcomes = asyncio.run(chaos(narrow_server.grpc_url, num_requests, seed=num_requests))
    assert sum(outcomes.values()) == num_requests
    assert len(outcomes) == 6
    kill_clients(narrow_server.grpc_url, 2)
    wait_until_empty(narrow_server.metrics_url)
    with (
        Client(narrow_server.grpc_url) as client,
        client.stream(prompt(1), max_tokens=TOKENS, end_id=-1) as stream,
    ):
        used = [gauge(narrow_server.metrics_url, "nv_trt_llm_kv_cache_block_metrics", "used") for _ in stream]
    # What chaos left behind would be counted beside this one request.
    block_tokens = gauge(narrow_server.metrics_url, "nv_trt_llm_kv_cache_block_metrics", "tokens_per")
    assert max(used) <= (TOKENS + 30) / block_tokens + 2
    wait_until_empty(narrow_server.metrics_url)
