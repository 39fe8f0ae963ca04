"""Promoting a version under load: nobody's request fails, and streams of the old version come to their end."""

from __future__ import annotations

import itertools
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


@pytest.fixture(scope="module")
def add_version(deployment, tmp_path_factory):
    """Makes one more version of the embedded engine; the first is current."""
    source = find_engine(deployment.engines, deployment.engine)
    engines = tmp_path_factory.mktemp("engines")
    numbers = itertools.count(1)

    def add():
        number = next(numbers)
        directory = engines / NAME / f"v{number}"
        shutil.copytree(source, directory, copy_function=os.link)
        (directory / "manifest.json").unlink()
        changed = {"name": NAME, "version": f"v{number}", "built_at": f"2026-01-{number:02}T00:00:00+00:00"}
        write_manifest(directory, read_manifest(source).model_copy(update=changed))
        return directory

    promote(add())
    return add


@pytest.fixture(scope="module")
def diary():
    return []


@pytest.fixture(scope="module")
def running(deployment, add_version, diary):
    engines = add_version().parents[1]
    settings = deployment.model_copy(update={"engines": engines, "engine": NAME, **free_ports()})
    with running_server(settings, diary.append) as server:
        yield server


@pytest.fixture
def engines(running):
    return running.settings.engines


@pytest.fixture
def said(diary):
    """What the server says from now on."""
    diary.clear()
    return diary


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


def test_promote_and_rollback_under_load_lose_nothing(running, engines, add_version, said):
    """The model processes stay, and `current` decides who takes what is new."""
    processes = running.model_process_ids()
    (old,) = served(running)
    new = add_version()
    with Client(running.grpc_url, retry=Retry(0)) as client, load(running) as (answers, failures):
        stream = client.stream("1, 2, 3,", max_tokens=250, end_id=-1)
        next(stream)
        promote(new)
        wait_until(lambda: served(running) == [new.name])
        num_before = len(answers)
        wait_until(lambda: len(answers) > num_before + 6)
        assert rollback(engines, NAME).directory.name == old
        wait_until(lambda: served(running) == [old])
        last = list(stream)[-1]
    assert failures == []
    assert set(answers) == {("length", NUM_TOKENS)}
    assert (last.finish_reason, last.num_output_tokens) == ("length", 250)
    assert running.model_process_ids() == processes
    assert len(said) == 2, said


def test_what_is_served_is_not_collected(running, engines, add_version):
    """Nor is the current version."""
    (old,) = served(running)
    new = add_version()
    promote(new)
    wait_until(lambda: served(running) == [new.name])
    (engines / NAME / HISTORY).unlink()  # else a rollback could go to the old one
    wait_until(lambda: old in {version.directory.name for version in collect(engines, is_dry_run=True)})
    collect(engines)
    assert [version.directory.name for version in list_versions(engines, NAME)] == [new.name]


def collect(engines, *, is_dry_run=False):
    return collect_garbage(engines, NAME, 0, is_dry_run=is_dry_run)


def damage(directory):
    weights = directory / "openvino_model.xml"
    weights.unlink()
    weights.write_text("<net/>")


def misconfigure(directory):
    write_manifest(directory, read_manifest(directory).model_copy(update={"options": {"NO_SUCH_OPTION": "1"}}))


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (damage, r": .*openvino_model\.xml is damaged"),
        (misconfigure, ": model tensorrt_llm: OpenVINO cannot load engine"),
    ],
)
def test_a_version_that_cannot_be_served_is_not_and_the_old_one_goes_on(
    running, engines, add_version, said, spoil, problem
):
    (old,) = served(running)
    new = add_version()
    spoil(new)
    promote(new)
    wait_until(lambda: any(re.match(f"{new.name} was promoted and is not served{problem}", line) for line in said))
    assert served(running) == [old]
    with Client(running.grpc_url) as client:
        assert client.generate("x", max_tokens=2, end_id=-1).num_output_tokens == 2
    assert rollback(engines, NAME).directory.name == old
