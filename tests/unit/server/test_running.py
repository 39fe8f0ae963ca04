"""The server is restarted as often as it helps, and given up with the last reason when it does not."""

import pytest

from trident.errors import UnavailableError
from trident.server import running
from trident.server.launch import Launch
from trident.server.running import Server
from trident.settings import Settings


class FakeProcess:
    """A ServerProcess that comes up or not as its class is told; it does not know what a server is."""

    comes_up: list[bool]

    def __init__(self, _launch):
        self.pid = 1
        self.models = {}

    def kill(self):
        pass

    stop = kill


def _come_up(process, _is_cancelled):
    if not process.comes_up.pop(0):
        raise UnavailableError("no luck")


@pytest.fixture
def start(monkeypatch, tmp_path):
    """Start a server whose processes come up as listed, and die `num_deaths` times when they are up."""
    monkeypatch.setattr(running, "ServerProcess", FakeProcess)
    monkeypatch.setattr(running, "wait_until_ready", _come_up)
    monkeypatch.setattr(running, "_PAUSE_S", 0.0)

    def started(comes_up, num_deaths):
        said = []
        reasons = iter(["it died"] * num_deaths)

        def watch(process, is_stopping, on_answer):
            return next(reasons, None)

        monkeypatch.setattr(running, "watch", watch)
        monkeypatch.setattr(FakeProcess, "comes_up", list(comes_up), raising=False)
        launch = Launch(Settings(), None, tmp_path, tmp_path, tmp_path / "server.log", "secret", "trident_0_")
        server = Server(launch, said.append)
        server.start()
        return server, said

    return started


def test_a_death_and_the_return_are_one_line_each(start):
    server, said = start([True, True], num_deaths=1)
    assert server.wait(5)
    assert said[0] == "it died; restarting the server"
    assert said[1].startswith("serving again after ")


def test_a_restart_that_fails_is_tried_again_with_its_own_reason(start):
    server, said = start([True, False, True], num_deaths=1)
    assert server.wait(5)
    assert said[:2] == ["it died; restarting the server", "no luck; restarting the server"]
    assert said[2].startswith("serving again")


@pytest.mark.parametrize(("comes_up", "num_deaths"), [([True] + 5 * [False], 1), (6 * [True], 6)])
def test_five_restarts_without_an_answered_probe_are_enough(start, comes_up, num_deaths):
    server, said = start(comes_up, num_deaths)
    with pytest.raises(UnavailableError, match=r"gave up after 5 restarts in a row: .*; log: .*server\.log"):
        server.wait(5)
    assert sum("restarting" in line for line in said) == 5


def test_a_first_start_that_fails_is_not_tried_again(start):
    with pytest.raises(UnavailableError, match="no luck"):
        start([False], num_deaths=0)


def test_a_watchdog_that_fails_is_no_ordered_end(start, monkeypatch):
    def kill(_process):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(FakeProcess, "kill", kill)
    server, _ = start([True], num_deaths=1)
    with pytest.raises(UnavailableError, match=r"the watchdog failed \(OSError: .*Too many open files\); log: "):
        server.wait(5)
