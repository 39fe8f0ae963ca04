"""The hub: what it gives is taken once and pinned, and each of its refusals is one line. A double of it serves here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.unit.build.tiny_checkpoint import folder_recipe, write_checkpoint
from trident.errors import HostError, RecipeError
from trident_build.origin import Origin, fetch, identify
from trident_build.progress import Silent
from trident_build.recipe import Recipe
from trident_build.sources import HubSource

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """Answers as huggingface.co does for one public repository, org/tiny, one that is gated, and one that is not."""

    folder: Path

    def do_GET(self) -> None:
        if self.path.startswith("/api/models/org/tiny/revision/"):
            self._info(self.path.split("/revision/")[1].split("?")[0])
        elif self.path.startswith(f"/api/models/org/tiny/tree/{COMMIT}"):
            self._send(json.dumps([{"type": "file", "oid": "0", **file} for file in self._files("path")]).encode(), {})
        elif "/org/tiny/resolve/" in self.path:
            self._file(self.path.split("/")[-1].split("?")[0])
        elif "org/gated" in self.path:
            self._refuse(403, "GatedRepo")
        else:
            self._refuse(404, "RepoNotFound")

    do_HEAD = do_GET  # noqa: N815 - as http.server calls it

    def _info(self, revision: str) -> None:
        if revision not in {"main", COMMIT}:
            self._refuse(404, "RevisionNotFound")
            return
        body = json.dumps({"id": "org/tiny", "sha": COMMIT, "siblings": self._files("rfilename")}).encode()
        self._send(body, {})

    def _files(self, key: str) -> list[dict[str, Any]]:
        return [{key: path.name, "size": path.stat().st_size} for path in sorted(self.folder.iterdir())]

    def _file(self, name: str) -> None:
        body = (self.folder / name).read_bytes()
        self._send(body, {"ETag": f'"{hashlib.sha256(body).hexdigest()}"', "X-Repo-Commit": COMMIT})

    def _send(self, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(200)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        for name, value in {"X-Error-Code": code, "X-Error-Message": code, "Content-Length": "0"}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its own name
        """Silent."""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the repository that the hub serves."""
    folder = write_checkpoint(tmp_path / "served")
    (folder / "consolidated.safetensors").write_bytes(b"the same weights again")
    handler = type("ThisHub", (Hub,), {"folder": folder})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    set_hub(monkeypatch, tmp_path, f"http://127.0.0.1:{server.server_port}")
    yield folder
    server.shutdown()
    server.server_close()


def set_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str) -> None:
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", url)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def hub_recipe(repo: str = "org/tiny", revision: str = "main", **changes: Any) -> Recipe:
    source = HubSource(type="hf", repo=repo, revision=revision, model="Tiny", licence="Apache-2.0", **changes)
    return folder_recipe(Path("unused")).model_copy(update={"source": source})


def fetched(recipe: Recipe, tmp_path: Path) -> Origin:
    return fetch(recipe, tmp_path / "cache", tmp_path, Silent(), tmp_path / "log")


def test_a_branch_becomes_the_commit_that_it_stood_for(hub: Path, tmp_path: Path) -> None:
    assert identify(hub_recipe(), tmp_path) is None
    origin = fetched(hub_recipe(), tmp_path)
    assert (origin.identity, origin.source.revision) == (f"org/tiny@{COMMIT}", COMMIT)
    assert origin.source.locator == "hf:org/tiny"
    names = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert set(origin.source.files) == {*names, "chat_template.jinja"}
    assert identify(hub_recipe(revision=COMMIT), tmp_path) == origin.identity


def test_what_was_fetched_once_is_there_offline(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fetched(hub_recipe(revision=COMMIT), tmp_path)
    set_hub(monkeypatch, tmp_path, "http://127.0.0.1:9")  # the discard port: nobody listens
    assert fetched(hub_recipe(revision=COMMIT), tmp_path) == first


def test_a_file_that_is_not_the_pinned_one_is_refused(hub: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"wrong checksum: config.json of org/tiny has .*, the recipe pins 0000"):
        fetched(hub_recipe(files={"config.json": "0" * 64}), tmp_path)


@pytest.mark.parametrize(
    ("repo", "revision", "problem"),
    [
        ("org/gated", "main", "org/gated is gated: accept its licence at https://huggingface.co/org/gated and set HF"),
        ("org/absent", "main", "the hub has no repository org/absent, or a private one; then set HF_TOKEN"),
        ("org/tiny", "v9", "org/tiny has no revision 'v9'"),
    ],
)
def test_a_refusal_of_the_hub_is_one_line(repo: str, revision: str, problem: str, hub: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=problem) as caught:
        fetched(hub_recipe(repo, revision), tmp_path)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("is_told", [True, False], ids=["told to be offline", "no network"])
def test_a_gated_model_offline_says_what_to_do(is_told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_hub(monkeypatch, tmp_path, "http://127.0.0.1:9")
    if is_told:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(HostError, match=r"cannot be reached and its cache does not hold org/gated at 'main'; go on"):
        fetched(hub_recipe("org/gated"), tmp_path)
