"""What finds no room on disk waits in memory, what finds none there is counted, and nobody is held up or flooded."""

import asyncio
import logging
import os
import subprocess
import sys

import pytest

from trident.gateway.ledger import backlog
from trident.gateway.ledger.backlog import Backlog

MANY = 1 << 20
LINE = b"x" * 99


def brought_by(kept):
    """All lines that are handed over."""
    found = []

    async def take(lines):
        found.extend(lines)

    asyncio.run(kept.bring(take))
    return found


async def refuse(lines):
    raise ConnectionError


@pytest.fixture
def small_memory(monkeypatch):
    monkeypatch.setattr(backlog, "MAX_IN_MEMORY_BYTES", 10 * len(LINE))


def test_texts_leave_half_of_the_disk_to_facts_and_never_wait_in_memory(tmp_path):
    lost = []
    kept = Backlog(tmp_path, 2000, lost.append)
    for _ in range(20):
        kept.put(LINE, "text")
    for number in range(15):
        kept.put(b"%099d" % number)
    found = brought_by(kept)
    assert (found.count(LINE), len(found)) == (10, 25)
    assert lost == ["text"] * 10
    assert kept.num_lost == {"text": 10}


def test_beyond_disk_and_memory_facts_are_counted_and_said_once(tmp_path, small_memory, caplog):
    kept = Backlog(tmp_path, 1000, clock=lambda: 5.0)
    for _ in range(1000):
        kept.put(LINE)
    assert len(brought_by(kept)) == 1000 - kept.num_lost["fact"] == 20
    (record,) = caplog.records
    assert (record.levelno, "lost since the start" in record.message) == (logging.ERROR, True)


def test_after_what_was_brought_there_is_room_again(tmp_path, small_memory):
    kept = Backlog(tmp_path, 1000)
    for _ in range(3):
        for _ in range(15):
            kept.put(LINE)
        assert len(brought_by(kept)) == 15
    assert not kept.num_lost


def test_what_was_not_taken_is_handed_over_again(tmp_path):
    kept = Backlog(tmp_path, 150)

    kept.put(LINE)
    kept.put(b"in memory" * 10)
    with pytest.raises(ConnectionError):
        asyncio.run(kept.bring(refuse))
    assert brought_by(kept) == [LINE, b"in memory" * 10]


def test_what_waits_in_memory_at_the_end_goes_to_the_disk_as_far_as_there_is_room_now(tmp_path):
    """The next process brings it; what is beyond is counted."""
    kept = Backlog(tmp_path, 1000)
    for number in range(25):
        kept.put(b"%099d" % number)
    with pytest.raises(ConnectionError):
        asyncio.run(kept.bring(refuse))
    for segment in tmp_path.iterdir():  # another process brings away what is on disk
        segment.unlink()
    kept.settle()
    assert brought_by(Backlog(tmp_path, 1000)) == [b"%099d" % number for number in range(10, 20)]
    assert kept.num_lost == {"fact": 5}


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="a small tmpfs needs root on Linux")
def test_a_full_disk_holds_up_nobody_and_what_had_room_is_brought(tmp_path, small_memory, caplog):
    """A real one: 64 KiB, of which something else takes all but some."""
    mounted = subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        kept = Backlog(tmp_path / "spool", MANY, clock=lambda: 5.0)
        kept.put(LINE)
        filler = tmp_path / "filler"
        subprocess.run(["/bin/dd", "if=/dev/zero", f"of={filler}", "bs=1k"], check=False, capture_output=True)
        for number in range(1000):
            kept.put(b"%099d" % number)
        assert kept.num_lost["fact"] > 900
        assert len(list((tmp_path / "spool").iterdir())) == 1  # nothing is left of those that failed
        assert len([each for each in caplog.records if "cannot be written" in each.message]) == 1
        assert len(brought_by(kept)) == 1001 - kept.num_lost["fact"]
        filler.unlink()
        kept.put(LINE)
        assert brought_by(kept) == [LINE]
    finally:
        subprocess.run(["/bin/umount", "-l", str(tmp_path)], check=True)
