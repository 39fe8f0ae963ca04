"""A gateway with something to look at, for the pictures of the operator's page: tenants, keys, two deployments of the
simulated engine, and users who keep asking and judging.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.gateway.running_gateway import RunningGateway, running_gateway
from trident.server.ports import free_ports
from trident.server.running import running_server
from trident.settings import read_settings
from trident_build import build_engine, find_recipe, read_recipe

KEYS = (
    ("--tenant", "research", "--name", "notebooks", "--expires", "90d"),
    ("--tenant", "research", "--name", "nightly", "--requests-per-minute", "120"),
    ("--tenant", "support", "--name", "help desk", "--endpoints", "chat"),
)
USERS_PER_KEY = 3


@contextmanager
def operated_gateway(folder: Path) -> Iterator[str]:
    """Its address, while its users ask."""
    engines = folder / "engines"
    build_engine(read_recipe(find_recipe("replay-smollm2")), engines)
    settings = read_settings({}, engines=engines, engine="replay-smollm2", **free_ports())
    with running_server(settings) as server:
        deployment = {"url": server.grpc_url, "metrics_url": f"http://{server.metrics_url}/metrics"}
        with running_gateway(folder, _values(deployment)) as gateway, _users(gateway):
            yield gateway.url


def _values(deployment: dict[str, str]) -> dict[str, object]:
    priced = {**deployment, "price_per_s": 0.0006}
    limits = {"requests_per_minute": 600, "tokens_per_minute": 200_000, "concurrent_requests": 32, "daily_budget": 90.0}
    return {
        "auth": {"required": True},
        "cache": {"enabled": True},
        "tenants": {"research": {"limits": limits}, "support": {"groups": ["beta"]}},
        "deployments": {
            "main": {**priced, "version": "1"},
            "canary": {**priced, "version": "2", "max_concurrent": 8},
        },
        "models": {
            "chat": {
                "deployments": {"main": 3, "canary": 1}, "sticky": "user", "aliases": ["gpt-4o-mini"],
                "price": {"input_per_million": 100, "output_per_million": 400},
            },
            "small": {"deployments": {"canary": 1}, "fallbacks": ["main"]},
        },
        "rules": [{"name": "beta", "when": {"group": ["beta"], "max_prompt_tokens": 10}, "use_model": "small"}],
    }  # fmt: skip


@contextmanager
def _users(gateway: RunningGateway) -> Iterator[None]:
    is_over = threading.Event()
    threads = []
    for number, arguments in enumerate(KEYS):
        command = [sys.executable, "-m", "trident", "keys", "create", "--config", str(gateway.config_path), "--json"]
        made = subprocess.run([*command, *arguments], capture_output=True, text=True, check=True)
        key = json.loads(made.stdout)["key"]
        threads += [
            threading.Thread(target=_ask_on, args=(gateway.url, key, random.Random(10 * number + user), is_over))
            for user in range(USERS_PER_KEY)
        ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def _ask_on(url: str, key: str, chance: random.Random, is_over: threading.Event) -> None:
    """Questions of which some come again, so that the cache has hits; every third answer is judged."""
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {key}"}, trust_env=False, timeout=60) as client:
        while not is_over.wait(chance.uniform(0.2, 2.5)):
            body = {
                "model": "chat",
                "messages": [
                    {"role": "user", "content": f"What is {chance.randrange(12)} times {chance.randrange(5)}?"}
                ],
                "max_tokens": chance.choice((40, 120, 400)),
                "temperature": chance.choice((0, 1)),
                "user": f"user-{chance.randrange(100)}",
            }
            answer = client.post("/v1/chat/completions", json=body)
            if answer.status_code == httpx.codes.OK and chance.random() < 1 / 3:
                judged = {"request_id": answer.headers["x-request-id"], "thumb": chance.choice(("up", "up", "down"))}
                client.post("/v1/feedback", json=judged)
