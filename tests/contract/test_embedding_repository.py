"""The committed repository of the model `embedding` keeps the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from trident.contract import EMBEDDING, MAX_EMBEDDING_TEXTS
from trident.repository import differences, parse_config, read_config

REPOSITORY = Path(__file__).parents[2] / "embedding_repository"
CONFIG = REPOSITORY / EMBEDDING.name / "config.pbtxt"


def test_it_holds_one_model_and_no_other():
    assert [path.name for path in REPOSITORY.iterdir() if path.is_dir()] == [EMBEDDING.name]


def test_its_tensors_are_the_contract_s():
    assert differences(EMBEDDING, read_config(CONFIG)) == []


def test_a_request_carries_as_many_texts_as_the_client_puts_into_one():
    assert read_config(CONFIG).max_batch_size == MAX_EMBEDDING_TEXTS


def test_nobody_waits_for_a_batch_to_fill_and_the_queue_is_bounded():
    batching = read_config(CONFIG).dynamic_batching
    assert batching.max_queue_delay_microseconds == 0
    assert batching.default_queue_policy.max_queue_size > 0


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("TYPE_STRING", "TYPE_FP32", "input text is TYPE_FP32, must be TYPE_STRING"),
        ("dims: [ -1 ]", "dims: [ 384 ]", r"output embedding has dims [384], must have [-1]"),
        ('name: "num_tokens"', 'name: "tokens"', "output num_tokens is missing"),
    ],
)
def test_a_changed_config_is_reported_by_name(old, new, complaint):
    text = CONFIG.read_text(encoding="utf-8")
    assert old in text
    assert complaint in differences(EMBEDDING, parse_config(text.replace(old, new, 1), CONFIG))


def test_its_files_are_short():
    assert len(CONFIG.read_text(encoding="utf-8").splitlines()) <= 80
    assert len((CONFIG.parent / "1" / "model.py").read_text(encoding="utf-8").splitlines()) <= 60
