"""`trident serve` from its first check to its last trace: it says why it cannot start, and leaves nothing behind."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models

from trident.errors import UnavailableError
from trident.manifest import Limits, Manifest, Source, Tokens, sha256_of, write_manifest
from trident.server.ports import free_ports
from trident_client import Client

SHM = Path("/dev/shm")  # noqa: S108 - where shm_open(3) puts what Triton shares with its models
TRIDENT = [sys.executable, "-c", "from trident.cli import main; main()"]
GONE_WITHIN_S = 20.0  # of which 5 may go into finishing what runs
READY_WITHIN_S = 60.0


def _options(ports):
    return [item for field, port in ports.items() for item in (f"--{field.replace('_', '-')}", str(port))]


def _descendants(pid):
    """Every live process below `pid`."""
    children = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(entry.read_text(errors="replace").rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(entry.parent.name))
    found, queue = set(), [pid]
    while queue:
        below = children.get(queue.pop(), [])
        found.update(below)
        queue.extend(below)
    return found


def _is_alive(pid):
    """False also for a zombie, which waits for init to reap it once trident is killed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Serving:
    """A `trident serve` process that has said that it is ready."""

    def __init__(self, deployment, exit_timeout_s=5):
        self.ports = free_ports()
        self.process = subprocess.Popen(
            [*TRIDENT, "serve", *_options(self.ports), "--engines", str(deployment.engines)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TRIDENT_EXIT_TIMEOUT_S": str(exit_timeout_s)},
        )
        self.greeting = self._read_greeting()
        self.pids = _descendants(self.process.pid)
        self.log_path = Path(re.search(r"log +(\S+)", self.greeting).group(1))
        self.shm_prefix = self.log_path.stem.replace("-", "_")

    def _read_greeting(self):
        timer = threading.Timer(READY_WITHIN_S, self.process.kill)
        timer.start()
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if line.startswith("Ctrl-C"):
                break
        timer.cancel()
        return "".join(lines)

    def traces(self):
        """What is left of the server."""
        pids = [pid for pid in self.pids if _is_alive(pid)]
        files = [*SHM.glob(f"{self.shm_prefix}*"), self.log_path]
        return [*pids, *(path for path in files if path.exists())]

    def seconds_until_gone(self):
        started_s = time.monotonic()
        while self.traces() and time.monotonic() - started_s < GONE_WITHIN_S + 5:
            time.sleep(0.05)
        return time.monotonic() - started_s


@pytest.fixture
def serve(deployment):
    """Start one; it is killed at the end whatever happens."""
    started = []

    def start(**options):
        started.append(Serving(deployment, **options))
        return started[-1]

    yield start
    for serving in started:
        serving.process.kill()
        serving.process.communicate()
        serving.seconds_until_gone()


@pytest.fixture
def serving(serve):
    return serve()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_any_end_leaves_no_process_and_no_file(serving, number):
    assert len(serving.pids) >= 5  # guard, server, three models
    assert len(list(SHM.glob(f"{serving.shm_prefix}*"))) >= 3
    with Client(f"127.0.0.1:{serving.ports['grpc_port']}") as client:
        stream = client.stream("Once upon a time", max_tokens=400, min_tokens=400)
        next(stream)
        serving.process.send_signal(number)
        assert serving.seconds_until_gone() < GONE_WITHIN_S, serving.traces()
    assert serving.process.wait(5) == (-signal.SIGKILL if number == signal.SIGKILL else 0)


def test_sigterm_lets_a_stream_end_and_takes_nothing_new(serve):
    serving = serve(exit_timeout_s=60)
    with (
        Client(f"127.0.0.1:{serving.ports['grpc_port']}") as client,
        client.stream("1, 2, 3, 4,", max_tokens=150, end_id=-1) as stream,
    ):
        next(stream)
        serving.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 30
        refusal = ""
        while "the server is stopping" not in refusal:
            assert time.monotonic() < deadline, refusal
            try:
                client.generate("x", max_tokens=1)
            except UnavailableError as exc:
                refusal = str(exc)
            time.sleep(0.05)
        last = list(stream)[-1]
    assert (last.finish_reason, last.num_output_tokens) == ("length", 150)
    assert serving.process.wait(60) == 0


def test_the_greeting_says_where_it_listens_and_what_to_type_next(serving):
    for port in serving.ports.values():
        assert f"127.0.0.1:{port}" in serving.greeting
    for command in ("trident generate --url", "trident chat --url", "generate_stream"):
        assert command in serving.greeting


def _refusal(*options):
    """The one line on stderr of a `trident serve` that refuses to start."""
    done = subprocess.run(
        [*TRIDENT, "serve", *_options(free_ports()), *map(str, options)],
        capture_output=True,
        text=True,
        timeout=READY_WITHIN_S,
        check=False,
    )
    assert done.stdout == ""
    line = done.stderr.removesuffix("\n")
    assert "\n" not in line
    return done.returncode, line


@pytest.fixture
def engine(tmp_path):
    """An engine directory whose manifest is right, and whose weights nobody loads."""
    directory = tmp_path / "engines" / "tiny" / "1"
    directory.mkdir(parents=True)
    weights = directory / "weights.bin"
    weights.write_bytes(b"weights")
    (directory / "tokenizer").mkdir()
    Tokenizer(models.WordLevel({"x": 0}, "x")).save(str(directory / "tokenizer" / "tokenizer.json"))
    digest = sha256_of(weights)
    manifest = Manifest(
        name="tiny",
        version="1",
        kind="openvino",
        precision="int8",
        source=Source(locator="file:tiny", files={"tiny": digest}, model="Tiny", licence="Apache-2.0"),
        recipe="tiny",
        recipe_sha256=digest,
        built_at="2026-01-01T00:00:00Z",
        tools={},
        limits=Limits(
            max_input_tokens=1,
            max_output_tokens=1,
            max_seq_tokens=2,
            max_num_seqs=1,
            max_num_batched_tokens=1,
            max_queued_requests=1,
            kv_cache_tokens=2,
        ),
        tokens=Tokens(vocab_size=1, eos_ids=(0,), pad_id=0),
        files={"weights.bin": digest},
    )
    write_manifest(directory, manifest)
    return directory


def test_a_busy_port_is_named(engine):
    ports = free_ports()
    with socket.create_server(("127.0.0.1", ports["grpc_port"])):
        status, line = _refusal("--engine", engine, "--grpc-port", ports["grpc_port"])
    assert status == 2
    assert line.startswith(f"trident: port {ports['grpc_port']} is in use; choose another one with --grpc-port")


def test_a_missing_engine_says_how_to_build_it(engine):
    status, line = _refusal("--engines", engine.parents[1], "--engine", "huge")
    assert status == 2
    assert re.search(r"no engine 'huge' in .*build it with 'trident build huge'", line)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[:-20], "manifest.json is not a valid manifest"),
        (lambda text: text.replace('"openvino"', '"abacus"'), "'abacus'"),
        (
            lambda text: text.replace('"openvino"', '"tensorrt_llm"'),
            "is of kind tensorrt_llm, which cannot run here: tensorrt_llm is not installed",
        ),
        (lambda text: '{"presicion": "int8",' + text[1:], "unknown key 'presicion'; did you mean 'precision'?"),
    ],
    ids=["cut off", "unknown kind", "kind that needs another machine", "misspelt key"],
)
def test_a_broken_manifest_is_refused(engine, damage, message):
    manifest = engine / "manifest.json"
    manifest.write_text(damage(manifest.read_text()))
    status, line = _refusal("--engine", engine)
    assert status == 2
    assert message in line


def test_truncated_weights_are_refused_with_both_sums(engine):
    before = sha256_of(engine / "weights.bin")
    (engine / "weights.bin").write_bytes(b"weigh")
    status, line = _refusal("--engine", engine)
    assert status == 2
    assert before in line
    assert sha256_of(engine / "weights.bin") in line


def test_a_model_that_does_not_load_is_named_with_its_reason_and_the_log_is_kept(engine, tmp_path):
    model = tmp_path / "repository" / "ensemble"
    (model / "1").mkdir(parents=True)
    (model / "config.pbtxt").write_text('backend: "python"\ninstance_group [ { kind: KIND_CPU } ]\n')
    (model / "1" / "model.py").write_text("import no_such_module\n")
    status, line = _refusal("--engine", engine, "--repository", tmp_path / "repository")
    assert status == 1
    found = re.search(r"model ensemble: ModuleNotFoundError: No module named 'no_such_module'; log: (\S+)$", line)
    assert found, line
    assert "no_such_module" in Path(found.group(1)).read_text()
    Path(found.group(1)).unlink()
