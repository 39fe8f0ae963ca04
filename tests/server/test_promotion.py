"""Promoting a version under load: nobody's request fails, and streams of the old version come to their end."""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
from contextlib import contextmanager

import pytest

from trident.errors import TridentError
from trident.manifest import find_engine, read_manifest, write_manifest
from trident.server.metrics_page import read_metrics
from trident.server.ports import free_ports
from trident.server.running import running_server
from trident.versions import HISTORY, collect_garbage, list_versions, promote, rollback
from trident_client import Client, Retry

NAME = "twice"
NUM_TOKENS = 40
WITHIN_S = 60.0


@pytest.fixture
def engines(deployment, tmp_path):
    """A folder with two versions of the embedded engine, the first of them current."""
    source = find_engine(deployment.engines, deployment.engine)
    for number in (2, 1):
        directory = tmp_path / NAME / f"v{number}"
        shutil.copytree(source, directory, copy_function=os.link)
        (directory / "manifest.json").unlink()
        changed = {"name": NAME, "version": f"v{number}", "built_at": f"2026-01-0{number}T00:00:00+00:00"}
        write_manifest(directory, read_manifest(source).model_copy(update=changed))
        promote(directory)
    return tmp_path


@pytest.fixture
def said():
    return []


@pytest.fixture
def running(deployment, engines, said):
    settings = deployment.model_copy(update={"engines": engines, "engine": NAME, **free_ports()})
    with running_server(settings, said.append) as server:
        yield server


def served(server):
    """The version that takes new requests."""
    page = read_metrics(server.settings)
    return re.findall(r'^trident_engine_info\{.*engine_version="(\w+)".*\} 1\b', page, re.MULTILINE)


def wait_until(is_so):
    deadline = time.monotonic() + WITHIN_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def load(server):
    """Six clients that ask without a pause, over both protocols; yields the answers and the failures."""
    answers, failures, ending = [], [], threading.Event()

    def ask(number):
        is_grpc = number % 2 == 0
        with Client(
            server.grpc_url if is_grpc else server.http_url, protocol="grpc" if is_grpc else "http", retry=Retry(0)
        ) as client:
            while not ending.is_set():
                try:
                    answer = client.generate("One, two,", max_tokens=NUM_TOKENS, end_id=-1, request_id=None)
                    answers.append((answer.finish_reason, answer.num_output_tokens))
                except TridentError as exc:
                    failures.append(exc)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    try:
        yield answers, failures
    finally:
        ending.set()
        for thread in threads:
            thread.join()


def test_promote_and_rollback_under_load_lose_nothing(running, engines, said):
    """The model processes stay, and `current` decides who takes what is new."""
    processes = running.model_process_ids()
    with Client(running.grpc_url, retry=Retry(0)) as client, load(running) as (answers, failures):
        stream = client.stream("1, 2, 3,", max_tokens=600, end_id=-1)
        next(stream)
        promote(engines / NAME / "v2")
        wait_until(lambda: served(running) == ["v2"])
        num_before = len(answers)
        wait_until(lambda: len(answers) > num_before + 12)
        assert rollback(engines, NAME).directory.name == "v1"
        wait_until(lambda: served(running) == ["v1"])
        last = list(stream)[-1]
    assert failures == []
    assert set(answers) == {("length", NUM_TOKENS)}
    assert (last.finish_reason, last.num_output_tokens) == ("length", 600)
    assert running.model_process_ids() == processes
    assert len(said) == 2, said


def test_what_is_served_is_not_collected(running, engines):
    """Nor is the current version."""
    promote(engines / NAME / "v2")
    wait_until(lambda: served(running) == ["v2"])
    (engines / NAME / HISTORY).unlink()  # else a rollback could go to v1
    wait_until(lambda: [v.directory.name for v in collect_garbage(engines, NAME, 0, is_dry_run=True)] == ["v1"])
    assert [version.directory.name for version in collect_garbage(engines, NAME, 0)] == ["v1"]
    assert [version.directory.name for version in list_versions(engines, NAME)] == ["v2"]


def test_a_damaged_version_is_not_served_and_the_old_one_goes_on(running, engines, said):
    weights = engines / NAME / "v2" / "openvino_model.xml"
    weights.unlink()
    weights.write_text("<net/>")
    promote(engines / NAME / "v2")
    wait_until(lambda: said)
    assert re.match(r"v2 was promoted and is not served: .*openvino_model\.xml is damaged", said[0])
    assert served(running) == ["v1"]
    with Client(running.grpc_url) as client:
        assert client.generate("x", max_tokens=2, end_id=-1).num_output_tokens == 2


def test_a_version_that_openvino_refuses_is_not_served_and_the_old_one_goes_on(running, engines, said):
    directory = engines / NAME / "v2"
    write_manifest(directory, read_manifest(directory).model_copy(update={"options": {"NO_SUCH_OPTION": "1"}}))
    promote(directory)
    wait_until(lambda: said)
    assert "v2 was promoted and is not served: model tensorrt_llm: OpenVINO cannot load engine" in said[0]
    assert served(running) == ["v1"]
    with Client(running.grpc_url) as client:
        assert client.generate("x", max_tokens=2, end_id=-1).num_output_tokens == 2
