"""An engine is compared with the machine before anything starts; whatever is wrong says what to do."""

import pytest
from tokenizers import Tokenizer, models

from tests.unit.manifests import MANIFEST
from trident.engines.preflight import IMAGE_VARIABLE, Gpu, check_preflight, preflight
from trident.errors import ManifestError
from trident.manifest import EngineKind, Parallelism, PromptLookup, sha256_of

H100 = Gpu("NVIDIA H100 80GB HBM3", "9.0", 80 << 30)
L4 = Gpu("NVIDIA L4", "8.9", 24 << 30)
DIGEST = "sha256:" + "a" * 64


@pytest.fixture
def engine(tmp_path):
    """A directory with a weights file and a tokenizer of one token."""
    (tmp_path / "tokenizer").mkdir()
    Tokenizer(models.WordLevel({"x": 0}, "x")).save(str(tmp_path / "tokenizer" / "tokenizer.json"))
    (tmp_path / "weights.bin").write_bytes(b"weights")
    return tmp_path


def manifest_of(engine, **changes):
    files = {"weights.bin": sha256_of(engine / "weights.bin")}
    return MANIFEST.model_copy(update={"kind": EngineKind.REPLAY, "files": files, **changes})


def wrong(engine, manifest, gpus=()):
    return {fact.name: fact for fact in preflight(engine, manifest, lambda: list(gpus)) if not fact.is_ok}


def test_a_whole_engine_has_nothing_wrong(engine):
    assert wrong(engine, manifest_of(engine)) == {}
    check_preflight(engine, manifest_of(engine))


def test_a_changed_file_is_named(engine):
    manifest = manifest_of(engine)
    (engine / "weights.bin").write_bytes(b"Weights")
    fact = wrong(engine, manifest)["files"]
    assert fact.found.startswith("weights.bin is damaged")
    assert fact.fix == "build it again"
    with pytest.raises(ManifestError, match=r"engine test: files: weights\.bin is damaged.*; build it again"):
        check_preflight(engine, manifest)


def test_another_version_of_the_library_is_refused_with_both_versions(engine):
    manifest = manifest_of(engine, kind=EngineKind.OPENVINO, tools={"openvino": "2024.1.0"})
    fact = wrong(engine, manifest)["openvino"]
    assert "built with 2024.1.0" in fact.found
    assert "pip install 'openvino==2024.1.0'" in fact.fix


def test_a_tokenizer_that_has_more_tokens_than_the_engine_is_refused(engine):
    names = {str(number): number for number in range(500)}
    Tokenizer(models.WordLevel(names, "0")).save(str(engine / "tokenizer" / "tokenizer.json"))
    assert wrong(engine, manifest_of(engine))["tokenizer"].found == "500 tokens, the engine has 400"
    (engine / "tokenizer" / "tokenizer.json").unlink()
    assert "cannot be used" in wrong(engine, manifest_of(engine))["tokenizer"].found


@pytest.mark.parametrize(
    ("gpus", "name", "found"),
    [
        ([H100], "GPUs", "NVIDIA H100 80GB HBM3; 2 needed"),
        ([], "GPUs", "none; 2 needed"),
        ([H100, L4], "GPU architecture", "sm89 (NVIDIA L4), built for sm90"),
    ],
)
def test_a_gpu_engine_needs_as_many_gpus_of_its_architecture(engine, gpus, name, found):
    parallelism = Parallelism(tp=2)
    manifest = manifest_of(engine, kind=EngineKind.TENSORRT_LLM, gpu_architecture="sm90", parallelism=parallelism)
    fact = wrong(engine, manifest, gpus)[name]
    assert fact.found == found
    assert fact.fix


def test_files_larger_than_the_gpu_do_not_fit(engine):
    manifest = manifest_of(engine, kind=EngineKind.TENSORRT_LLM)
    assert "GPU memory" in wrong(engine, manifest, [Gpu("tiny", "9.0", 1)])
    assert "GPU memory" not in wrong(engine, manifest, [H100])


@pytest.mark.parametrize(("precision", "gpu"), [("fp8", "8.0"), ("w4a8_awq", "8.6"), ("nvfp4", "9.0")])
def test_a_gpu_that_has_not_the_engine_s_precision_is_refused(engine, precision, gpu):
    manifest = manifest_of(engine, kind=EngineKind.TENSORRT_LLM_PYTORCH, precision=precision)
    fact = wrong(engine, manifest, [Gpu("old", gpu, 80 << 30)])["GPU precision"]
    assert fact.found == f"old has no {precision}"
    assert "GPU precision" not in wrong(engine, manifest, [Gpu("new", "10.0", 80 << 30)])


def test_another_image_is_refused(engine, monkeypatch):
    manifest = manifest_of(engine, kind=EngineKind.TENSORRT_LLM, image_digest=DIGEST)
    monkeypatch.setenv(IMAGE_VARIABLE, "sha256:" + "b" * 64)
    assert wrong(engine, manifest, [H100])["image"].fix == f"run the image {DIGEST}"
    monkeypatch.setenv(IMAGE_VARIABLE, DIGEST)
    assert "image" not in wrong(engine, manifest, [H100])


def test_limits_without_room_for_a_completion_are_refused(engine):
    limits = MANIFEST.limits.model_copy(update={"max_input_tokens": 30})
    assert "no room for a completion" in wrong(engine, manifest_of(engine, limits=limits))["limits"].found


def test_limits_without_room_for_what_is_proposed_are_refused(engine):
    lookup = PromptLookup(kind="prompt_lookup", num_draft_tokens=5, max_ngram_tokens=3)
    manifest = manifest_of(engine, kind=EngineKind.OPENVINO, speculation=lookup)
    fact = wrong(engine, manifest)["speculation"]
    assert fact.found == "max_num_batched_tokens must be at least 24 to propose 5 tokens to 4 sequences, got 16"
    roomy = manifest.model_copy(update={"limits": manifest.limits.model_copy(update={"max_num_batched_tokens": 24})})
    assert wrong(engine, roomy) == {}
