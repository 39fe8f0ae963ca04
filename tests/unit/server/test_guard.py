"""The guard leaves nothing behind, also where it cannot start or is itself stuck."""

import subprocess
import sys
from pathlib import Path

from trident.server import guard, process
from trident.server.launch import Launch
from trident.server.process import ServerProcess
from trident.settings import Settings

STUCK = "import time\nprint(1, flush=True)\ntime.sleep(3600)\n"


def test_a_server_that_cannot_be_started_leaves_no_home(tmp_path):
    home, log = tmp_path / "home", tmp_path / "server.log"
    home.mkdir()
    arguments = ["--home", home, "--log", log, "--shm-prefix", "trident_no_such_", "--grace-s", "1"]
    command = [sys.executable, "-I", "-S", guard.__file__, *arguments, "--", tmp_path / "no-such-tritonserver"]
    ended = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
    assert ended.returncode == 1
    assert not home.exists()
    assert "no-such-tritonserver" in log.read_text().splitlines()[-1]


def test_a_guard_that_does_not_end_is_killed(tmp_path, monkeypatch):
    stuck = tmp_path / "stuck.py"
    stuck.write_text(STUCK)
    monkeypatch.setattr(guard, "__file__", str(stuck))
    (tmp_path / "home").mkdir()
    monkeypatch.setattr(process, "make_home", lambda _: tmp_path / "home")
    monkeypatch.setattr(process, "command", lambda *_: ["true"])
    monkeypatch.setattr(process, "environment", lambda *_: {})
    monkeypatch.setattr(process, "_GRACE_S", 1.0)
    monkeypatch.setattr(process, "_CLEANING_S", -0.8)
    launch = Launch(
        Settings(exit_timeout_s=1), None, tmp_path, tmp_path, tmp_path / "server.log", "secret", "trident_0_"
    )
    server = ServerProcess(launch)
    server.kill()
    assert not server.is_alive
    assert not Path(f"/proc/{server.guard_pid}").exists()
