"""Every request is in the ledger once, whatever happens to the database and to the gateway; usage and feedback."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import os
import signal
import subprocess
import sys
import time
from typing import get_args

import httpx
import pytest
from sqlalchemy import func, select, text

from tests.gateway.conftest import deployment_of
from tests.gateway.postgres import Postgres
from tests.gateway.running_gateway import running_gateway
from tests.unit.gateway.ledger.outcomes import DEPLOYMENTS, outcome_of
from trident.errors import UnavailableError
from trident.gateway.comparison import Comparison
from trident.gateway.config import LedgerSettings
from trident.gateway.database import Database
from trident.gateway.ledger.ab_facts import read_arm, read_shadows
from trident.gateway.ledger.ledger import Ledger
from trident.gateway.ledger.tables import requests
from trident.gateway.ledger.usage import Dimension, usage

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
        (row,) = usage_of(running, "--by", "version")
        assert row["version"] == "replay"


def test_postgresql_is_killed_twice_and_hangs_once_under_load_and_nothing_is_lost(simulated, postgres, tmp_path):
    """And no request notices; what all are charged is no more than the time that went by."""
    begun_at = time.monotonic()
    with running_gateway(tmp_path, config_of(simulated, database=postgres.url)) as running:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(ask, running.url) for _ in range(NUM_REQUESTS)]
            for share in (4, 2):
                concurrent.futures.wait(asked[: NUM_REQUESTS // share])
                postgres.kill()
                time.sleep(0.5)
                postgres.start()
            postgres.pause()
            time.sleep(0.5)
            postgres.resume()
            statuses = {each.result().status_code for each in asked}
        took_s = time.monotonic() - begun_at
        assert statuses == {200}
        (row,) = counted(running, NUM_REQUESTS)
        assert row["requests"] == NUM_REQUESTS
        assert row["output_tokens"] == 4 * NUM_REQUESTS
        assert 0 < row["engine_s"] <= took_s
        assert row["cost"] == pytest.approx(row["engine_s"] * 0.001)


def test_a_database_that_hangs_or_cannot_be_reached_is_given_up_in_time_and_used_again(postgres, monkeypatch):
    """By more calls than there are threads; and other work of the process goes on."""
    monkeypatch.setattr("trident.gateway.database._GRACE_S", 1.0)
    monkeypatch.setattr("trident.gateway.bounded_postgres.CONNECT_S", 2)

    async def use():
        databases = [Database(postgres.url, timeout_s=0.5) for _ in range(2)]
        used, fresh = databases

        def ask_one(database):
            return database.run(lambda connection: connection.execute(text("SELECT 1")).scalar_one())

        assert await ask_one(used) == 1
        postgres.pause()
        try:
            waiting = asyncio.gather(*(ask_one(each) for each in [used] * 9 + [fresh]), return_exceptions=True)
            assert await asyncio.wait_for(asyncio.to_thread(int, "7"), 30) == 7
            failures = await asyncio.wait_for(waiting, 120)
        finally:
            postgres.resume()
        found = [await ask_one(each) for each in databases for _ in range(10)]
        for each in databases:
            await each.close()
        return {type(each) for each in failures}, found

    assert asyncio.run(use()) == ({UnavailableError}, [1] * 20)


def test_a_statement_that_takes_too_long_is_ended_by_the_server(postgres):
    async def use():
        database = Database(postgres.url, timeout_s=0.2)
        with pytest.raises(UnavailableError):
            await database.run(lambda connection: connection.execute(text("SELECT pg_sleep(60)")))
        longer = await database.run(lambda connection: connection.execute(text("SELECT pg_sleep(0.5)")).rowcount, 20)
        await database.close()
        return longer

    assert asyncio.run(use()) == 1


def test_postgresql_reports_as_sqlite_does(postgres, tmp_path):
    """Usage by everything, and the facts of an A/B report."""
    ended_at = 1000.0 + time.time_ns() % 10**9  # of this test alone
    day = int((ended_at + 2) // 86_400) * 86_400

    async def use(url):
        database = Database(url)
        await database.start()
        ledger = Ledger(LedgerSettings(content="full"), tmp_path / "spool", database, DEPLOYMENTS, clock=lambda: 1e9)
        await ledger.start()
        for number in range(4):
            ended = outcome_of(f"{url[:6]}{ended_at}-{number}", started_at=ended_at)
            ended.failures = {"spare": UnavailableError("gone")} if number else {}
            ledger.ended(ended)
            ledger.compared(ended, "copy", Comparison("equal", "", 0.5, number) if number else None)
        await ledger.flush()

        def read(connection):
            moments = (ended_at, ended_at + 4)
            shadows = read_shadows(connection, "smollm2", {"main": "7", "copy": ""}, ended_at)
            arms = [read_arm(connection, "smollm2", *each, ended_at) for each in (("main", "7"), ("spare", ""))]
            usages = {each: usage(connection, [each], *moments) for each in get_args(Dimension)}
            return usages, [repr(arm) for arm in arms], repr(shadows)

        found = await database.run(read)
        await ledger.close()
        await database.close()
        return found

    usages, *told = asyncio.run(use(postgres.url))
    assert told == list(asyncio.run(use(f"sqlite:///{tmp_path / 'gateway.db'}"))[1:])
    assert {dimension: rows[0]["requests"] for dimension, rows in usages.items()} == dict.fromkeys(usages, 4)
    assert usages["day"][0]["day"] == day
    assert usages["deployment"][0]["engine_s"] == pytest.approx(2.0)  # they shared these


@pytest.mark.soak
def test_of_20_000_requests_none_is_lost_with_the_database_killed_twice(postgres, tmp_path):
    """Each ends as one of an exchange does, at 2,000 a second; the database is away for a second each time."""
    num_requests = 20_000

    async def use():
        database = Database(postgres.url)
        await database.start()
        ledger = Ledger(LedgerSettings(), tmp_path / "spool", database, DEPLOYMENTS)
        await ledger.start()
        marked = f"{time.time_ns():x}"
        for number in range(num_requests):
            ledger.ended(outcome_of(f"{marked}-{number}", started_at=time.time()))
            if number % 20 == 0:
                await asyncio.sleep(0.01)
            if number in {num_requests // 3, 2 * num_requests // 3}:
                await asyncio.to_thread(postgres.kill)
            if number in {num_requests // 3 + 2000, 2 * num_requests // 3 + 2000}:
                await asyncio.to_thread(postgres.start)
        await ledger.flush()
        query = select(func.count()).where(requests.c.request_id.startswith(f"{marked}-"))
        found = await database.run(lambda connection: connection.execute(query).scalar_one())
        num_lost = ledger.num_lost
        await ledger.close()
        await database.close()
        return found, num_lost, list((tmp_path / "spool").iterdir())

    assert asyncio.run(use()) == (num_requests, 0, [])


def test_a_gateway_that_is_killed_loses_no_row(simulated, tmp_path):
    with running_gateway(tmp_path, config_of(simulated)) as running:
        for _ in range(20):
            assert ask(running.url).status_code == 200
        running.process.send_signal(signal.SIGKILL)
        running.process.wait()
    with running_gateway(tmp_path, config_of(simulated)) as running:
        (row,) = counted(running, 20)
        assert row["requests"] == 20


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="a small tmpfs needs root on Linux")
def test_a_full_disk_under_the_spool_holds_up_no_request_and_loses_none(simulated, tmp_path):
    """While the database can be reached; what is lost without it is counted (tests/unit/gateway/ledger)."""
    spool = tmp_path / "data" / "spool"
    spool.mkdir(parents=True)
    mount = ["/bin/mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(spool)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        subprocess.run(["/bin/dd", "if=/dev/zero", f"of={spool / 'filler'}"], check=False, capture_output=True)
        with running_gateway(tmp_path, config_of(simulated)) as running:
            assert {ask(running.url).status_code for _ in range(10)} == {200}
            (row,) = counted(running, 10)
            assert row["requests"] == 10
            assert running.log_path.read_text().count("spool cannot be written") == 1
    finally:
        subprocess.run(["/bin/umount", "-l", str(spool)], check=True)


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
