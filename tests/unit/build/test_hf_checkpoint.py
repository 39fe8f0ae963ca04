"""A Hugging Face checkpoint is read without PyTorch, and one that is not whole is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.build.tiny_checkpoint import shapes, write_checkpoint, write_safetensors
from trident.errors import RecipeError
from trident_build.hf_checkpoint import INDEX, read_checkpoint, write_tokenizer_files


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "tiny")


def change(path: Path, **changes: Any) -> None:
    content = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def test_the_facts_are_the_files_own(checkpoint: Path) -> None:
    facts = read_checkpoint(checkpoint)
    assert (facts.architecture, facts.precision, facts.context_tokens) == ("LlamaForCausalLM", "f32", 128)
    assert (facts.tokens.eos_ids, facts.tokens.bos_id, facts.tokens.pad_id) == ((2, 0), 1, 2)
    assert facts.special_tokens == {"<|endoftext|>": 0, "<|im_start|>": 1, "<|im_end|>": 2}
    assert facts.widths["model.layers.1.mlp.down_proj.weight"] == 192
    assert facts.kv_values_per_token == 2 * 2 * 2 * 16


def test_weights_in_several_files_are_found_by_their_index(checkpoint: Path) -> None:
    whole = read_checkpoint(checkpoint)
    names = list(shapes())
    (checkpoint / "model.safetensors").unlink()
    for number, part in enumerate((names[:5], names[5:])):
        write_safetensors(checkpoint / f"part{number}.safetensors", {name: shapes()[name] for name in part})
    index = {name: f"part{int(position >= 5)}.safetensors" for position, name in enumerate(names)}
    (checkpoint / INDEX).write_text(json.dumps({"weight_map": index}))
    assert read_checkpoint(checkpoint).widths == whole.widths
    (checkpoint / "part1.safetensors").unlink()
    with pytest.raises(RecipeError, match=r"tiny/part1.safetensors is missing; download it again"):
        read_checkpoint(checkpoint)


@pytest.mark.parametrize("fraction", [0.0, 0.00001, 0.001, 0.5, 0.999])
def test_truncated_weights_are_refused(fraction: float, checkpoint: Path) -> None:
    path = checkpoint / "model.safetensors"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * fraction)])
    with pytest.raises(RecipeError, match=r"tiny/model.safetensors is (truncated|no intact)") as caught:
        read_checkpoint(checkpoint)
    assert "\n" not in caught.value.message


def test_no_tokenizer_no_weights_and_no_config_are_each_said(checkpoint: Path) -> None:
    (checkpoint / "tokenizer.json").rename(checkpoint / "aside")
    with pytest.raises(RecipeError, match=r"tiny has no tokenizer.json; make one with transformers"):
        read_checkpoint(checkpoint)
    (checkpoint / "model.safetensors").rename(checkpoint / "pytorch_model.bin")
    with pytest.raises(RecipeError, match=r"tiny holds no \*.safetensors"):
        read_checkpoint(checkpoint)
    (checkpoint / "config.json").unlink()
    with pytest.raises(RecipeError, match=r"no Hugging Face checkpoint: tiny/config.json is missing"):
        read_checkpoint(checkpoint)


def test_a_config_without_a_size_names_it(checkpoint: Path) -> None:
    change(checkpoint / "config.json", max_position_embeddings=None)
    with pytest.raises(RecipeError, match=r"tiny/config.json says no 'max_position_embeddings'"):
        read_checkpoint(checkpoint)


@pytest.mark.parametrize(
    ("generation", "eos_token", "expected"),
    [
        ({"eos_token_id": [0, 2]}, "<|im_end|>", (0, 2)),
        ({"eos_token_id": 0}, "<|im_end|>", (0, 2)),  # the tokenizer's own end is one too
        ({"eos_token_id": None}, "<|endoftext|>", (2, 0)),  # config.json has 2
        ({"eos_token_id": 2}, {"content": "<|im_end|>"}, (2,)),
    ],
)
def test_every_end_that_the_checkpoint_names_is_kept(
    generation: dict[str, Any], eos_token: Any, expected: tuple[int, ...], checkpoint: Path
) -> None:
    change(checkpoint / "generation_config.json", **generation)
    change(checkpoint / "tokenizer_config.json", eos_token=eos_token)
    assert read_checkpoint(checkpoint).tokens.eos_ids == expected


def test_tokenizer_template_and_generation_config_are_carried_over(checkpoint: Path, tmp_path: Path) -> None:
    (checkpoint / "chat_template.jinja").unlink()  # only in tokenizer_config.json, as older checkpoints have it
    change(checkpoint / "tokenizer_config.json", chat_template=[{"name": "default", "template": "{{ x }}"}])
    change(checkpoint / "generation_config.json", temperature=0.6, eos_token_id=2)
    engine = tmp_path / "engine"
    engine.mkdir()
    write_tokenizer_files(checkpoint, engine, read_checkpoint(checkpoint).tokens)
    assert (engine / "tokenizer" / "chat_template.jinja").read_text() == "{{ x }}"
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (engine / "tokenizer" / name).read_bytes() == (checkpoint / name).read_bytes()
    generation = json.loads((engine / "generation_config.json").read_text())
    assert (generation["temperature"], generation["eos_token_id"]) == (0.6, [2])
