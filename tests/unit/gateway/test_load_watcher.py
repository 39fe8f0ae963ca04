"""What engines say of their queues: which are read, what is taken from a page, and what becomes of silence."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from tests.unit.gateway.scripted_upstream import config_of
from trident.gateway.deployment_state import EngineLoad
from trident.gateway.load_watcher import LoadWatcher, load_in, watched
from trident.gateway.router import Router
from trident_client.metrics import parse_metrics

PAGE = """# HELP nv_trt_llm_request_metrics Sequences by where they are
nv_inference_count{model="x",version="1"} 7
nv_trt_llm_request_metrics{model="tensorrt_llm",version="1",request_type="waiting"} 3
nv_trt_llm_request_metrics{model="tensorrt_llm",version="1",request_type="scheduled"} 8
nv_trt_llm_request_metrics{model="tensorrt_llm",version="1",request_type="active"} 11
nv_trt_llm_request_metrics{model="tensorrt_llm",version="1",request_type="max"} 16
nv_trt_llm_request_metrics{model="other",version="1",request_type="scheduled"} 4
"""


def test_the_load_is_what_runs_and_waits_over_the_places_of_one_engine_or_of_all():
    assert load_in(parse_metrics(PAGE), "tensorrt_llm") == EngineLoad(11, 16)
    assert load_in(parse_metrics(PAGE), "other") == EngineLoad(4, 1)
    assert load_in(parse_metrics(PAGE), None) == EngineLoad(15, 16)
    assert load_in(parse_metrics(PAGE), "absent") is load_in(parse_metrics("nothing here"), None) is None


def test_only_deployments_that_are_chosen_by_load_are_read_where_their_metrics_are():
    models = {
        "chat": {"deployments": {"a": 1, "b": 1}, "policy": "least_loaded"},
        "prefix": {"deployments": {"c": 1, "d": 1}, "policy": "prefix_affinity"},
        "plain": {"deployments": {"e": 1, "f": 1}},
        "alone": {"deployments": {"g": 1}, "policy": "least_loaded"},
    }
    config = config_of(models, a={"metrics_url": "http://m:9/metrics"}, b={"metrics_url": "m:9"})
    assert watched(config) == {
        "a": "http://m:9/metrics",
        "b": "http://m:9/metrics",
        "c": "http://c:8002/metrics",
        "d": "http://d:8002/metrics",
    }


@asynccontextmanager
async def page_server(answers):
    """Answers one request after the other, the last for ever; None closes the connection without a word."""
    remaining = list(answers)
    served = asyncio.Event()

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        page = remaining.pop(0) if len(remaining) > 1 else remaining[0]
        if page is not None:
            writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(page)}\r\nconnection: close\r\n\r\n{page}".encode())
        served.set()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/metrics", served


@pytest.mark.parametrize("answers", [[PAGE], [None, "no metrics", PAGE]])
def test_a_reading_arrives_whatever_failed_before_it(answers):
    async def use():
        async with page_server(answers) as (url, _):
            models = {"chat": {"deployments": {"a": 1, "b": 1}, "policy": "least_loaded"}}
            config = config_of(models, a={"metrics_url": url}, b={"metrics_url": "127.0.0.1:1"})
            router = Router(config)
            watcher = LoadWatcher(router, config, period_s=0.01)
            watcher.start()
            while router.states["a"].load() is None:  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.01)
            await watcher.close()
            return router.states["a"].load(), router.states["b"].load()

    assert asyncio.run(asyncio.wait_for(use(), 20)) == (15 / 16, None)


def test_a_deployment_that_comes_with_a_rewritten_file_is_read_too():
    async def use():
        async with page_server([PAGE]) as (url, served):
            before = config_of({"chat": {"deployments": {"a": 1}}})
            models = {"chat": {"deployments": {"a": 1, "b": 1}, "policy": "least_loaded"}}
            after = config_of(models, a={"metrics_url": "127.0.0.1:1"}, b={"metrics_url": url})
            router = Router(before)
            watcher = LoadWatcher(router, before, period_s=0.01)
            watcher.start()
            router.update(after)
            watcher.update(after)
            await served.wait()
            await watcher.close()

    asyncio.run(asyncio.wait_for(use(), 20))
