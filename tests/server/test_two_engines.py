"""Two engines behind one tritonserver: each ensemble answers with its own."""

from __future__ import annotations

import pytest

from trident.manifest import find_engine
from trident.repository_add import add_engine
from trident.repository_render import copy_repository
from trident.server.metrics_page import read_metrics
from trident.server.ports import free_ports
from trident.server.repository import default_repository
from trident.server.running import running_server
from trident_client import Client

PROMPT = "1, 2, 3, 4,"


@pytest.fixture(scope="module")
def server(deployment, simulated_engine, tmp_path_factory):
    """The embedded engine as `ensemble`, a simulated one as `ensemble_second`."""
    engine = find_engine(simulated_engine, "replay-smollm2")
    repository = tmp_path_factory.mktemp("two") / "repository"
    copy_repository(default_repository(), repository)
    add_engine(repository, "second", engine)
    with running_server(deployment.model_copy(update={"repository": repository, **free_ports()})) as running:
        yield running


def ask(server, key="") -> str:
    with Client(server.grpc_url, model=f"ensemble{key}", engine_model=f"tensorrt_llm{key}") as client:
        return client.generate(PROMPT, max_tokens=12).text


def test_each_ensemble_answers_with_its_own_engine(server):
    assert ask(server).strip().startswith("5, 6")
    assert ask(server, "_second") != ask(server)


def test_leaving_a_stream_frees_the_place_in_its_own_engine(server):
    with (
        Client(server.grpc_url, model="ensemble_second", engine_model="tensorrt_llm_second") as client,
        client.stream(PROMPT, max_tokens=1500, end_id=-1) as stream,
    ):
        next(iter(stream))
    assert ask(server, "_second")


def test_the_metrics_tell_the_models_apart(server):
    ask(server), ask(server, "_second")
    page = read_metrics(server.settings)
    assert 'model="tensorrt_llm"' in page
    assert 'model="tensorrt_llm_second"' in page
