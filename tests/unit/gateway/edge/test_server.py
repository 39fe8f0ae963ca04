"""From the first signal to the end."""

from __future__ import annotations

import asyncio
import signal
from types import SimpleNamespace

import pytest
import uvicorn

from trident.gateway.edge.server import DrainingServer

pytestmark = pytest.mark.anyio


def server_of(lameduck_s: float) -> tuple[DrainingServer, SimpleNamespace]:
    gateway = SimpleNamespace(
        is_draining=False,
        has_stopped_accepting=asyncio.Event(),
        config=SimpleNamespace(server=SimpleNamespace(lameduck_s=lameduck_s)),
    )
    config = uvicorn.Config(lambda: None, log_config=None)
    return DrainingServer(config, gateway, None, lambda: None), gateway


async def test_it_runs_until_it_is_told_to_stop():
    server, gateway = server_of(0.0)
    assert not await server.on_tick(1)
    assert not gateway.is_draining


async def test_the_first_signal_makes_it_not_ready_and_it_goes_on_serving():
    server, gateway = server_of(60.0)
    server.handle_exit(signal.SIGTERM, None)
    assert gateway.is_draining
    assert not await server.on_tick(1)
    assert not gateway.has_stopped_accepting.is_set()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_that(number):
    server, gateway = server_of(60.0)
    for _ in range(2):
        server.handle_exit(number, None)
    assert await server.on_tick(1)
    assert gateway.has_stopped_accepting.is_set()
    assert not server.force_exit


async def test_after_its_time_it_takes_no_more_connections_and_running_requests_end():
    server, gateway = server_of(0.0)
    server.handle_exit(signal.SIGTERM, None)
    assert await server.on_tick(1)
    assert gateway.has_stopped_accepting.is_set()
    assert not server.force_exit


async def test_only_a_third_interrupt_gives_running_requests_up():
    server, _ = server_of(60.0)
    for _ in range(2):
        server.handle_exit(signal.SIGINT, None)
    await server.on_tick(1)
    server.handle_exit(signal.SIGTERM, None)
    assert not server.force_exit
    server.handle_exit(signal.SIGINT, None)
    assert server.force_exit
