"""Tenants in one engine's prefix cache: each has a part of its own, where the deployment is to keep them apart."""

import dataclasses

import pytest

from tests.unit.gateway.loop import run
from tests.unit.gateway.scripted_upstream import TWO, Bench, ScriptedUpstreams, asked_for, config_of, words
from trident.errors import InvalidRequestError, UnavailableError, UnsupportedParameterError
from trident.gateway.config import Deployment, Server
from trident.gateway.identity import Identity
from trident.gateway.tenant_salt import TenantSalts
from trident.gateway.upstreams import Upstreams
from trident_client.sampling import Sampling

REFUSAL = "cache_salt is not supported by this engine: OpenVINO's prefix cache cannot be split"


def salt_of(salts, tenant, own=None):
    return salts.salted(Sampling(cache_salt=own), tenant).cache_salt


def test_every_tenant_and_every_salt_of_its_own_has_another_part(tmp_path):
    """Also where names and salts run into each other."""
    salts = TenantSalts(Server(data=tmp_path))
    pairs = [("a", None), ("b", None), ("a", "user"), ("b", "user"), ("a", 'user"'), ('a", "user', None), ("au", "ser")]
    found = [salt_of(salts, *pair) for pair in pairs]
    assert len(set(found)) == len(pairs)
    assert found == [salt_of(salts, *pair) for pair in pairs]


def test_gateways_with_one_secret_agree_and_nobody_else_can_make_a_salt(tmp_path):
    one, same, other = (TenantSalts(Server(data=tmp_path / name)) for name in ("one", "one", "other"))
    assert salt_of(one, "acme") == salt_of(same, "acme") != salt_of(other, "acme")
    assert "acme" not in salt_of(one, "acme")


def test_only_deployments_that_the_file_names_get_it(tmp_path):
    """It follows a rewritten file; what else was asked for stays."""

    async def use():
        described = {"apart": Deployment(url="a:1", isolate_tenants=True), "shared": Deployment(url="b:1")}
        upstreams = Upstreams(described, TenantSalts(Server(data=tmp_path)))
        asked = asked_for(identity=Identity("acme", "key"), sampling=Sampling(max_tokens=7, seed=1))
        assert upstreams.sampling_at("shared", asked) is asked.sampling
        salted = upstreams.sampling_at("apart", asked)
        assert salted.cache_salt
        assert dataclasses.replace(salted, cache_salt=None) == asked.sampling
        upstreams.update({"apart": Deployment(url="a:1")}, 60.0)
        assert upstreams.sampling_at("apart", asked) is asked.sampling
        await upstreams.close()

    run(use())


class Salting(ScriptedUpstreams):
    """Every deployment gets a salt of the gateway's."""

    def sampling_at(self, name, asked):
        return dataclasses.replace(asked.sampling, cache_salt="salt")


def test_an_engine_gets_the_salt_with_the_request():
    bench = Bench(Salting(main=words("a")), config_of(TWO))
    run(bench.read())
    assert [sampling.cache_salt for _, _, sampling, _, _ in bench.upstreams.asked] == ["salt"]


@pytest.mark.parametrize("refusal", [REFUSAL, "model 'ensemble' takes no cache_salt; leave it out"])
def test_an_engine_that_cannot_keep_tenants_apart_is_the_operators_mistake(refusal):
    """Another deployment is asked; the prompt never lies where others' do."""
    scripts = {"main": [UnsupportedParameterError(refusal)], "spare": words("b")}
    bench = Bench(Salting(**scripts), config_of(TWO))
    texts, _ = run(bench.read())
    assert texts == ["b"]
    failure = bench.outcome.failures["main"]
    assert isinstance(failure, UnavailableError)
    assert failure.message == f"deployment main: it cannot isolate tenants, as the file says it does: {refusal}"


def test_a_client_that_talks_of_salts_breaks_no_deployment():
    """Its own refusal is its own, with the gateway's salt or without."""
    quoted = InvalidRequestError("tool_parser must be one of hermes, got 'cache_salt'")
    bench = Bench(Salting(main=[quoted], spare=words("b")), config_of(TWO))
    with pytest.raises(InvalidRequestError, match="tool_parser"):
        run(bench.read())
    bench = Bench(ScriptedUpstreams(main=[UnsupportedParameterError(REFUSAL)], spare=words("b")), config_of(TWO))
    with pytest.raises(UnsupportedParameterError):
        run(bench.read(asked_for(sampling=Sampling(cache_salt="mine"))))
