"""Python modules that run in a process of their own, JSON in and JSON out: both sides of the call.

Heavy libraries print to both standard streams, keep their memory and may crash; there they do it alone. What a child
prints goes to its standard error, which the caller keeps; its answer is its standard output.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from trident.errors import EngineError, HostError, RecipeError, TridentError
from trident_build.progress import Silent, Stage

_PR_SET_PDEATHSIG = 1  # prctl(2)
_SAID_ON_PURPOSE = {error.__name__: error for error in (RecipeError, HostError, EngineError)}
_DISK_FULL = ("No space left on device", "os error 28")
_PARENT = "TRIDENT_BUILD_PID"
_ERROR = "trident-error: "
_STEPS = "trident-steps: "
# Bars would end up in a log; a fork of the tokenizers library warns.
_QUIET = {"TQDM_DISABLE": "1", "TOKENIZERS_PARALLELISM": "false"}
_OFFLINE = {"HF_HUB_OFFLINE": "1"}


def run_in_child(
    what: str,
    module: str,
    action: str,
    *,
    stage: Stage | None = None,
    log: Path | None = None,
    is_online: bool = False,
    **request: Any,
) -> Any:
    """The answer of `action` of `module`, which is called with the arguments `request`.

    Args:
        what: the subject of the sentence when it fails: "OpenVINO cannot convert this model".
        module: by its full name; it ends with a call of `serve_actions`.
        action: the name of one of its functions.
        stage: is told of the steps that the child reports by `report_steps`.
        log: a file that takes the command and what the child prints, at its end.
        is_online: it may use the Hugging Face hub.
        request: JSON values.

    Raises:
        RecipeError, EngineError: the child says so, or it failed; its last line is quoted.
        HostError: the child says so, it was killed, or the disk is full.
    """
    environ = {**os.environ, **_QUIET, **({} if is_online else _OFFLINE), _PARENT: str(os.getpid())}
    with tempfile.TemporaryFile("w+") as answer, (log or Path(os.devnull)).open("a", encoding="utf-8") as output:
        output.write(f"$ {shown_command(module, action, **request)}\n")
        with subprocess.Popen(
            [sys.executable, "-m", module, action],
            stdin=subprocess.PIPE,
            stdout=answer,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=environ,
        ) as child:
            try:
                last = _listen(child, json.dumps(request), stage, output)
            finally:
                child.kill()
        if child.returncode < 0:
            name = signal.Signals(-child.returncode).name
            raise HostError(f"{what}: its process was killed by {name}; is there enough memory?")
        if child.returncode:
            raise _failure(what, last)
        answer.seek(0)
        return json.load(answer)


def shown_command(module: str, action: str, **request: Any) -> str:
    """The command line of `run_in_child`, as a shell would take it."""
    return f"{sys.executable} -m {module} {action} <<< {shlex.quote(json.dumps(request))}"


def _listen(child: subprocess.Popen[str], request: str, stage: Stage | None, output: IO[str]) -> str:
    """The last line that the child prints."""
    assert child.stdin is not None  # noqa: S101 - both are pipes
    assert child.stderr is not None  # noqa: S101
    with contextlib.suppress(BrokenPipeError):  # it ended before it read; its last line says why
        child.stdin.write(request)
        child.stdin.close()
    last = "no reason given"
    for read in child.stderr:
        line, mark, steps = read.partition(_STEPS)  # a library may have left its own line unended before it
        if mark:
            done, total = steps.split()
            (stage or Silent()).steps(int(done), int(total))
        output.write(line)
        output.flush()
        last = line.strip() or last
    child.wait()
    return last


def _failure(what: str, last: str) -> TridentError:
    if last.startswith(_ERROR):
        said = json.loads(last.removeprefix(_ERROR))
        if said["type"] in _SAID_ON_PURPOSE:
            return _SAID_ON_PURPOSE[said["type"]](said["message"])
        last = said["message"]
    if any(sign in last for sign in _DISK_FULL):
        return HostError(f"{what}: no space is left on the disk")
    return RecipeError(f"{what}: {last}")


def report_steps(done: int, total: int) -> None:
    """In the child: move the bar of the build."""
    print(f"{_STEPS}{done} {total}", file=sys.stderr, flush=True)  # noqa: T201 - the wire


def serve_actions(*actions: Callable[..., Any]) -> None:
    """Be the child: call the action that the command line names with the arguments on standard input."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # a build that is killed takes its child along
    if os.environ.get(_PARENT, "") not in {"", str(os.getppid())}:
        sys.exit(1)  # it was killed while this process was still importing
    answer = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    by_name = {action.__name__: action for action in actions}
    try:
        result = by_name[sys.argv[1]](**json.load(sys.stdin))
    except Exception as exc:  # noqa: BLE001 - of any library; the parent says it
        traceback.print_exc()
        message = " ".join(str(exc).split()) or type(exc).__name__
        print(_ERROR + json.dumps({"type": type(exc).__name__, "message": message}), file=sys.stderr)  # noqa: T201 - the wire
        sys.exit(1)
    with answer:
        json.dump(result, answer)
