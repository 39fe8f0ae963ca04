"""Every request is in the ledger once, whatever happens to the database and to the gateway; usage and feedback."""

from __future__ import annotations

import concurrent.futures
import json
import signal
import subprocess
import sys
import time

import httpx
import pytest

from tests.gateway.conftest import deployment_of
from tests.gateway.postgres import Postgres
from tests.gateway.running_gateway import running_gateway

NUM_REQUESTS = 240


@pytest.fixture(scope="module")
def postgres():
    server = Postgres()
    server.start()
    yield server
    server.stop()


def config_of(simulated, **server):
    deployment = {**deployment_of(simulated), "version": "replay", "price_per_s": 0.001}
    price = {"input_per_million": 1.0, "output_per_million": 2.0}
    return {
        "server": server,
        "deployments": {"replay": deployment},
        "models": {"simulated": {"deployments": {"replay": 1}, "price": price}},
    }


def ask(url, **body):
    body = {"model": "simulated", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4, **body}
    return httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60, trust_env=False)


def usage_of(running, *arguments):
    command = [sys.executable, "-m", "trident", "usage", "--config", str(running.config_path), "--json", *arguments]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def counted(running, num_expected, patience_s=60):
    """The sums over all, once there are so many requests."""
    deadline = time.monotonic() + patience_s
    while True:
        rows = usage_of(running, "--by", "model")
        if (rows and rows[0]["requests"] >= num_expected) or time.monotonic() > deadline:
            return rows
        time.sleep(0.2)


def test_a_request_is_told_by_usage_with_its_tokens_price_and_cost(simulated, tmp_path):
    with running_gateway(tmp_path, config_of(simulated)) as running:
        assert ask(running.url).status_code == 200
        (row,) = counted(running, 1)
        assert (row["requests"], row["output_tokens"], row["errors"]) == (1, 4, 0)
        assert row["price"] == pytest.approx((row["input_tokens"] + 2 * 4) / 1e6)
        assert row["cost"] == pytest.approx(row["engine_s"] * 0.001)
        (day,) = usage_of(running, "--by", "day", "--since", time.strftime("%Y-%m-%d", time.gmtime()))
        assert day["requests"] == 1
        answer = httpx.get(f"{running.url}/admin/usage", params={"by": "deployment"}, trust_env=False).json()
        assert [(each["deployment"], each["requests"]) for each in answer["rows"]] == [("replay", 1)]


def test_postgresql_is_killed_twice_under_load_and_nothing_is_lost(simulated, postgres, tmp_path):
    """And no request notices."""
    with running_gateway(tmp_path, config_of(simulated, database=postgres.url)) as running:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(ask, running.url) for _ in range(NUM_REQUESTS)]
            for share in (4, 2):
                concurrent.futures.wait(asked[: NUM_REQUESTS // share])
                postgres.kill()
                time.sleep(0.5)
                postgres.start()
            statuses = {each.result().status_code for each in asked}
        assert statuses == {200}
        (row,) = counted(running, NUM_REQUESTS)
        assert row["requests"] == NUM_REQUESTS
        assert row["output_tokens"] == 4 * NUM_REQUESTS


def test_a_gateway_that_is_killed_loses_no_row(simulated, tmp_path):
    with running_gateway(tmp_path, config_of(simulated)) as running:
        for _ in range(20):
            assert ask(running.url).status_code == 200
        running.process.send_signal(signal.SIGKILL)
        running.process.wait()
    with running_gateway(tmp_path, config_of(simulated)) as running:
        (row,) = counted(running, 20)
        assert row["requests"] == 20


def test_feedback_belongs_to_a_request_of_the_same_tenant(simulated, tmp_path):
    with running_gateway(tmp_path, config_of(simulated)) as running:

        def judge(**body):
            return httpx.post(f"{running.url}/v1/feedback", json=body, timeout=30, trust_env=False)

        answer = ask(running.url)
        assert judge(request_id=answer.headers["x-request-id"], thumb="down").json()["score"] == 0
        assert judge(request_id=answer.json()["id"], thumb="up", text="good").json()["score"] == 1
        (row,) = counted(running, 1)
        assert (row["feedback"], row["score"]) == (1, 1.0)
        unknown = judge(request_id="chatcmpl-00000000-0000-4000-8000-000000000000", thumb="up")
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "request_not_found")
        assert judge(request_id=answer.json()["id"]).status_code == 400
        assert judge(request_id=answer.json()["id"], score=2).status_code == 400
        assert judge(request_id=answer.json()["id"], thumb="up", stars=5).json()["error"]["code"] == "unknown_parameter"
