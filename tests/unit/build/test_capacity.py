"""Room is asked for before anything begins, and the refusal says how much is short."""

from __future__ import annotations

from pathlib import Path

import pytest

from trident.errors import HostError
from trident_build.capacity import check_disk, check_memory


def test_too_little_memory_names_both_figures() -> None:
    check_memory("to export this model", 1000, free_bytes=1000)
    with pytest.raises(HostError, match=r"not enough memory to export this model: some 70.0 GB are needed, 16.0 GB"):
        check_memory("to export this model", 70 * 10**9, free_bytes=16 * 10**9)

    check_memory("for nothing", 1)


def test_a_disk_is_asked_even_where_the_folder_is_yet_to_be_made(tmp_path: Path) -> None:
    check_disk(tmp_path / "a" / "b", 1)
    with pytest.raises(HostError, match=r"not enough disk at .*/a/b: 100,000,000,000 MB are needed"):
        check_disk(tmp_path / "a" / "b", 10**17)
