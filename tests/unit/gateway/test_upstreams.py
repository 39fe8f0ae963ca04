"""Connections to deployments, as the file is rewritten."""

import pytest

from tests.unit.gateway.loop import run
from trident.errors import SettingsError, UnavailableError
from trident.gateway.config import Deployment, Server
from trident.gateway.tenant_salt import TenantSalts
from trident.gateway.upstreams import Upstreams

SALTS = TenantSalts(Server())  # which no deployment here asks for


def test_a_connection_stays_while_its_address_does_and_another_takes_its_place_when_it_moves():
    async def use():
        upstreams = Upstreams({"stays": Deployment(url="a:1"), "moves": Deployment(url="b:1")}, SALTS)
        before = upstreams["stays"], upstreams["moves"]
        upstreams.update({"stays": Deployment(url="a:1", max_concurrent=2), "moves": Deployment(url="c:1")}, 60.0)
        after = upstreams["stays"], upstreams["moves"]
        await upstreams.close()
        return before, after

    before, after = run(use())
    assert before[0] is after[0]
    assert before[1] is not after[1]


def test_a_deployment_that_is_no_longer_in_the_file_is_unavailable():
    async def use():
        upstreams = Upstreams({"main": Deployment(url="a:1")}, SALTS)
        upstreams.update({}, 60.0)
        with pytest.raises(UnavailableError, match="no longer"):
            upstreams["main"]
        await upstreams.close()

    run(use())


def test_a_key_that_was_changed_is_used_from_the_next_rewriting_on_and_one_that_went_changes_nothing(tmp_path):
    path = tmp_path / "key"
    path.write_text("one\n")

    async def use():
        deployments = {"main": Deployment(url="a:1", api_key_file=path)}
        upstreams = Upstreams(deployments, SALTS)
        first = upstreams["main"]
        upstreams.update(deployments, 60.0)
        assert upstreams["main"] is first
        path.write_text("two\n")
        upstreams.update(deployments, 60.0)
        second = upstreams["main"]
        assert second is not first
        path.write_bytes(b"\xff")
        with pytest.raises(SettingsError, match="no text"):
            upstreams.update(deployments, 60.0)
        path.unlink()
        with pytest.raises(SettingsError, match="cannot read"):
            upstreams.update(deployments, 60.0)
        assert upstreams["main"] is second
        await upstreams.close()

    run(use())
