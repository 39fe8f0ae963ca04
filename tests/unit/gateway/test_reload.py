"""A configuration file that is rewritten while the gateway runs."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace

import pytest

from trident.errors import SettingsError
from trident.gateway.config_file import read_config
from trident.gateway.reload import ConfigFile

pytestmark = pytest.mark.anyio
GOOD = """
[deployments.main]
url = "127.0.0.1:8001"
[models.small]
deployments = {main = 1}
"""


class Gateway:
    """What a file changes of one."""

    def __init__(self, config) -> None:
        self.config = config
        self.reloads: list[bool] = []
        self.metrics = SimpleNamespace(reloaded=self._reloaded)
        self.refusal: Exception | None = None

    def _reloaded(self, *, is_good: bool) -> None:
        self.reloads.append(is_good)

    def update(self, config) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.config = config


@pytest.fixture
def path(tmp_path):
    made = tmp_path / "gateway.toml"
    made.write_text(GOOD)
    return made


@pytest.fixture
def gateway(path):
    return Gateway(read_config(path, {}))


async def test_a_good_file_is_taken(path, gateway):
    file = ConfigFile(path, gateway)
    path.write_text(GOOD + "[models.large]\ndeployments = {main = 1}\n")
    await file.take()
    assert set(gateway.config.models) == {"small", "large"}
    assert gateway.reloads == [True]


@pytest.mark.parametrize(
    "text", ["[models", "[modells]", "[deployments.main]", "\xff"], ids=["syntax", "name", "lacking", "bytes"]
)
async def test_a_bad_file_is_logged_and_what_was_before_stays(path, gateway, caplog, text):
    before = gateway.config
    path.write_bytes(text.encode("latin-1"))
    await ConfigFile(path, gateway).take()
    assert gateway.config is before
    assert gateway.reloads == [False]
    assert "refused" in caplog.text


async def test_a_file_that_vanished_changes_nothing(path, gateway):
    before = gateway.config
    path.unlink()
    await ConfigFile(path, gateway).take()
    assert gateway.config is before


async def test_a_file_that_only_the_gateway_finds_wrong_is_refused_too(path, gateway):
    gateway.refusal = SettingsError("cannot read the key file")
    await ConfigFile(path, gateway).take()
    assert gateway.reloads == [False]


async def test_where_it_listens_waits_for_the_next_start_and_says_so(path, gateway, caplog):
    caplog.set_level(logging.INFO, "trident")
    path.write_text("[server]\nport = 9999\n" + GOOD + "aliases = ['tiny']\n")
    await ConfigFile(path, gateway).take()
    assert gateway.config.server.port == 8080
    assert gateway.config.models["small"].aliases == ("tiny",)
    assert "[server] wait for the next start" in caplog.text


async def test_what_a_rewrite_cannot_change_is_said_table_by_table(path, gateway, caplog):
    before = gateway.config
    rewritten = {
        "auth": "required = false",
        "cache": "enabled = true",
        "collections": "poll_s = 9",
        "ledger": "days = 1",
    }
    path.write_text(GOOD + "".join(f"[{name}]\n{line}\n" for name, line in rewritten.items()))
    await ConfigFile(path, gateway).take()
    assert all(getattr(gateway.config, name) == getattr(before, name) for name in rewritten)
    assert "[auth], [cache], [collections], [ledger] wait for the next start" in caplog.text


async def test_a_rewrite_is_noticed_once(path, gateway, monkeypatch, tmp_path):
    monkeypatch.setattr("trident.gateway.reload._PERIOD_S", 0.001)
    following = asyncio.create_task(ConfigFile(path, gateway).follow())
    await asyncio.sleep(0.02)
    assert gateway.reloads == []
    (tmp_path / "new").write_text(GOOD + "aliases = ['tiny']\n")
    (tmp_path / "new").replace(path)  # at once: half a file would be read as one
    while not gateway.reloads:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.02)
    following.cancel()
    assert gateway.reloads == [True]
