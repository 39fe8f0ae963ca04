"""Two real Triton servers, one with the embedded model and one with the simulated engine, and a gateway before both."""

from __future__ import annotations

import pytest

from tests.gateway.running_gateway import running_gateway
from tests.server.conftest import deployment, server  # noqa: F401 - fixtures of this tier too
from trident.server.ports import free_ports
from trident.server.running import running_server
from trident_build import build_engine, find_recipe, read_recipe


@pytest.fixture(scope="session")
def simulated(deployment, tmp_path_factory):  # noqa: F811
    """A Triton whose engine says the same words to everybody, 200 tokens a second to every stream."""
    engines = tmp_path_factory.mktemp("engines")
    build_engine(read_recipe(find_recipe("replay-smollm2")), engines)
    changes = {"engines": engines, "engine": "replay-smollm2", **free_ports()}
    with running_server(deployment.model_copy(update=changes)) as running:
        yield running


def deployment_of(running) -> dict[str, str]:
    """How the gateway's file names a server."""
    return {"url": running.grpc_url, "metrics_url": f"http://{running.metrics_url}/metrics"}


@pytest.fixture(scope="session")
def gateway(server, simulated, tmp_path_factory):  # noqa: F811
    """Models "smollm2" and "simulated", no keys asked for; nobody changes it."""
    values = {
        "deployments": {"main": deployment_of(server), "replay": deployment_of(simulated)},
        "models": {"smollm2": {"deployments": {"main": 1}}, "simulated": {"deployments": {"replay": 1}}},
    }
    with running_gateway(tmp_path_factory.mktemp("gateway"), values) as running:
        yield running
