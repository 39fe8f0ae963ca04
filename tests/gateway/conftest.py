"""A gateway before two real Triton servers: the one of the embedded model and the simulated one."""

from __future__ import annotations

import pytest

from tests.gateway.browser import browser, open_page, page_faults  # noqa: F401 - fixtures
from tests.gateway.running_gateway import running_gateway


def deployment_of(running) -> dict[str, str]:
    """How the gateway's file names a server."""
    return {"url": running.grpc_url, "metrics_url": f"http://{running.metrics_url}/metrics"}


@pytest.fixture(scope="session")
def gateway(server, simulated, tmp_path_factory):
    """Models "smollm2" and "simulated", no keys asked for; nobody changes it."""
    values = {
        "deployments": {"main": deployment_of(server), "replay": deployment_of(simulated)},
        "models": {"smollm2": {"deployments": {"main": 1}}, "simulated": {"deployments": {"replay": 1}}},
    }
    with running_gateway(tmp_path_factory.mktemp("gateway"), values) as running:
        yield running
