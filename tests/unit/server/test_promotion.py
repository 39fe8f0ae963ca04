"""Which version a server is to follow, and which may take another's place while requests run."""

import json
import threading
import time
from types import SimpleNamespace

import pytest
from tests.unit.manifests import MANIFEST
from tokenizers import Tokenizer, models

from trident.errors import HostError, ManifestError, UnavailableError
from trident.manifest import EngineKind, sha256_of, write_manifest
from trident.server.launch import engine_link, followed_folder
from trident.server.promotion import check_replaceable, check_room, promoted, replace_engine
from trident.settings import Settings

TOKENIZER = "tokenizer/tokenizer.json"
OLD = MANIFEST.model_copy(update={"files": {TOKENIZER: "0" * 64}})


@pytest.fixture
def engines(tmp_path):
    """Versions 1 and 2 of one simulated engine, as far as they are checked."""
    for version in ("1", "2"):
        directory = tmp_path / "test" / version
        (directory / "tokenizer").mkdir(parents=True)
        Tokenizer(models.WordLevel({"x": 0}, "x")).save(str(directory / TOKENIZER))
        files = {TOKENIZER: sha256_of(directory / TOKENIZER)}
        changes = {"version": version, "kind": EngineKind.REPLAY, "files": files}
        write_manifest(directory, MANIFEST.model_copy(update=changes))
    (tmp_path / "test" / "current").symlink_to("1")
    return tmp_path


@pytest.mark.parametrize("engine", ["test@1", "./engines/test/1", "/engines/test/1"])
def test_a_version_that_was_named_is_never_replaced(engines, engine):
    assert promoted(Settings(engines=engines, engine=engine)) is None


def test_of_a_name_the_current_version_is_followed(engines):
    assert promoted(Settings(engines=engines, engine="test")) == engines / "test" / "1"
    assert promoted(Settings(engines=engines, engine="none")) is None


def test_the_same_tokenizer_may_be_replaced():
    check_replaceable(OLD, OLD.model_copy(update={"version": "2", "precision": "int8"}))


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"kind": EngineKind.REPLAY}, "kind"),
        ({"files": {TOKENIZER: "1" * 64}}, "tokenizer"),
        ({"tokens": MANIFEST.tokens.model_copy(update={"eos_ids": (3,)})}, "tokenizer"),
    ],
)
def test_what_requests_in_flight_would_notice_needs_a_new_start(changes, what):
    with pytest.raises(ManifestError, match=f"test@2 has another {what} than 1.*start trident serve again"):
        check_replaceable(OLD, OLD.model_copy(update={"version": "2", **changes}))


def test_engines_that_fill_a_gpu_are_not_loaded_beside_each_other():
    gpu = OLD.model_copy(update={"kind": EngineKind.TENSORRT_LLM})
    with pytest.raises(ManifestError, match="needs the GPU's memory that 1 has; start trident serve again"):
        check_replaceable(gpu, gpu)


def test_an_engine_for_which_there_is_no_memory_is_not_loaded(tmp_path):
    check_room(tmp_path / "v2", 1_000_000_000, 1_000_000_000)
    with pytest.raises(
        HostError, match=r"some 2\.0 GB are needed .* 1\.5 GB are free; start trident serve again to serve v2"
    ):
        check_room(tmp_path / "v2", 2_000_000_000, 1_500_000_000)


class FakeServer:
    """What `replace_engine` sees of a server: its home, its models, and what these say."""

    def __init__(self, home, engine):
        self.home, self.models, self.is_alive = home, {7: "preprocessing", 8: "tensorrt_llm"}, True
        self.launch = SimpleNamespace(settings=Settings(ready_timeout_s=5))
        followed_folder(home).mkdir(parents=True)
        engine_link(home).symlink_to(engine)

    def say(self, pid, directory, error=""):
        (followed_folder(self.home) / str(pid)).write_text(json.dumps({"engine": str(directory), "error": error}))

    def answer(self, directory, error=""):
        """Both models, once the link points at `directory`."""

        def wait():
            deadline = time.monotonic() + 5
            while engine_link(self.home).readlink() != directory and time.monotonic() < deadline:
                time.sleep(0.01)
            self.say(7, directory)
            self.say(8, directory, error)

        thread = threading.Thread(target=wait)
        thread.start()
        return thread


@pytest.fixture
def server(tmp_path, engines):
    return FakeServer(tmp_path / "home", engines / "test" / "1")


def test_it_returns_when_every_model_has_taken_the_engine_in(server, engines):
    directory = engines / "test" / "2"
    thread = server.answer(directory)
    replace_engine(server, directory, lambda: False)
    thread.join()
    assert engine_link(server.home).resolve() == directory


def test_what_a_model_cannot_load_is_taken_back(server, engines):
    directory = engines / "test" / "2"
    thread = server.answer(directory, "no memory")
    with pytest.raises(UnavailableError, match="model tensorrt_llm: no memory"):
        replace_engine(server, directory, lambda: False)
    thread.join()
    assert engine_link(server.home).resolve() == engines / "test" / "1"


def test_a_damaged_engine_is_refused_before_any_model_hears_of_it(server, engines):
    directory = engines / "test" / "2"
    (directory / TOKENIZER).write_text("{}")
    with pytest.raises(ManifestError, match=r"tokenizer\.json is damaged"):
        replace_engine(server, directory, lambda: False)
    assert engine_link(server.home).resolve() == engines / "test" / "1"


def test_a_server_that_dies_meanwhile_is_no_success(server, engines):
    server.is_alive = False
    with pytest.raises(UnavailableError, match="no answer from preprocessing, tensorrt_llm"):
        replace_engine(server, engines / "test" / "2", lambda: False)
