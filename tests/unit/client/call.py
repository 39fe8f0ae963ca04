"""`trident` as a user calls it, in this process: starting one takes a second, and only a signal or a pipe needs it."""

import io
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from unittest.mock import patch

from trident.cli import main


@dataclass(frozen=True)
class Called:
    """As of a process that has ended."""

    returncode: int
    stdout: str
    stderr: str


def call(*arguments, stdin=""):
    """What it does with these arguments and this on stdin; nothing of it is a terminal."""
    stdout, stderr = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    given = io.TextIOWrapper(io.BytesIO(stdin.encode()), "utf-8")
    status = 0
    with (
        patch("sys.argv", ["trident", *map(str, arguments)]),
        patch("sys.stdin", given),
        redirect_stdout(stdout),
        redirect_stderr(stderr),
    ):
        try:
            main()
        except SystemExit as exc:
            status = exc.code or 0
    return Called(status, stdout.buffer.getvalue().decode(), stderr.buffer.getvalue().decode())
