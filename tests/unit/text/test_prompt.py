"""Promises of an encoded prompt."""

from __future__ import annotations

import pytest

from trident.text.prompt import EncodedPrompt
from trident.text.text_options import TextOptions


def encoded(end_id: int) -> EncodedPrompt:
    return EncodedPrompt([5], 1, [[8, 9]], [], {}, end_id, 0, True, TextOptions())


def test_for_an_engine_with_one_end_id_the_other_eos_ids_become_stop_words():
    assert encoded(2).with_every_eos((2, 7, 11)).stop_word_ids == [[8, 9], [7], [11]]
    assert encoded(7).with_every_eos((2, 7)).stop_word_ids == [[8, 9], [2]]


@pytest.mark.parametrize("end_id", [-1, 4])
def test_an_end_id_of_the_client_s_own_stays_the_only_one(end_id):
    assert encoded(end_id).with_every_eos((2, 7)) == encoded(end_id)
