"""What was appended is given once, whatever dies; what does not fit is refused and breaks nothing."""

import fcntl
import os
import signal
import subprocess
import sys

import pytest

from trident.gateway.ledger.spool import Spool

MANY = 1 << 20


def lines_of(spool):
    return [line for segment in spool.segments() for line in spool.read(segment) or ()]


def test_what_is_appended_is_given_after_a_cut(tmp_path):
    spool = Spool(tmp_path, MANY)
    assert spool.append(b"one")
    assert spool.append(b"two")
    assert lines_of(spool) == []  # still written
    spool.cut()
    assert spool.append(b"three")
    assert lines_of(spool) == [b"one", b"two"]
    spool.cut()
    assert lines_of(spool) == [b"one", b"two", b"three"]
    for segment in spool.segments():
        spool.remove(segment)
    assert spool.read(segment) is None
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_wrote_is_given_and_half_a_line_is_not(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from trident.gateway.ledger.spool import Spool\n"
        "spool = Spool(Path(sys.argv[1]), 1 << 20)\n"
        "[spool.append(b'line %d' % number) for number in range(3)]\n"
        "os.write(spool._file, b'half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -signal.SIGKILL
    assert lines_of(Spool(tmp_path, MANY)) == [b"line 0", b"line 1", b"line 2"]


def test_what_a_living_process_writes_is_left_to_it(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from trident.gateway.ledger.spool import Spool\n"
        "spool = Spool(Path(sys.argv[1]), 1 << 20); spool.append(b'mine'); print(flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        spool = Spool(tmp_path, MANY)
        assert lines_of(spool) == []
        other.kill()
        other.wait()
        assert lines_of(spool) == [b"mine"]


def test_a_segment_that_begins_is_never_taken_for_a_whole_one(tmp_path):
    """Whoever looks while it is made must not bring it away as empty."""
    spool, seen = Spool(tmp_path, MANY), []

    def look(descriptor, how):
        seen.append([other.read(segment) for segment in other.segments()])
        return flock(descriptor, how)

    other, flock = Spool(tmp_path, MANY), fcntl.flock
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fcntl, "flock", look)
        assert spool.append(b"one")
    assert seen == [[]]
    spool.cut()
    assert lines_of(other) == [b"one"]


def test_beyond_its_bound_lines_are_refused_until_some_are_brought_away(tmp_path):
    spool = Spool(tmp_path, 20)
    assert spool.append(b"123456789")
    assert spool.append(b"123456789")
    assert not spool.append(b"1")
    spool.cut()
    spool.remove(spool.segments()[0])
    assert spool.append(b"1")


def fill(spool):
    for _ in range(100):
        spool.append(b"x" * 8000)


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="a small tmpfs needs root on Linux")
def test_a_full_disk_refuses_a_line_and_keeps_those_before(tmp_path):
    mounted = subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        spool = Spool(tmp_path, MANY)
        assert spool.append(b"kept")
        with pytest.raises(OSError, match="No space left"):
            fill(spool)
        lines = lines_of(spool)
        assert lines[0] == b"kept"
        assert {len(line) for line in lines[1:]} <= {8000}
        for segment in spool.segments():
            spool.remove(segment)
        assert spool.append(b"room again")
        spool.cut()
    finally:
        subprocess.run(["/bin/umount", str(tmp_path)], check=True)
