"""What a machine has and what a process holds of it."""

import os
import subprocess
import sys
from pathlib import Path

from trident.memory import available_memory_bytes, held_memory_bytes


def test_what_this_machine_has_is_found() -> None:
    assert 10**7 < available_memory_bytes() < 10**14


def test_a_process_is_counted_with_its_children():
    code = "import os, time; block = b'x' * 50_000_000; os.fork(); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline(), process.stdout.readline()
        (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        try:
            assert 50_000_000 < held_memory_bytes(process.pid) < 90_000_000  # the block is shared
        finally:
            os.kill(int(child), 9)
            process.kill()


def test_one_that_has_ended_holds_nothing():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert held_memory_bytes(process.pid) == 0
