"""The cosines of the labelled pairs are this engine's."""

from __future__ import annotations

import numpy as np

from trident.bench.semantic_pairs import read_pairs


def test_the_cosines_in_the_labelled_set_are_those_of_the_model(encoder):
    pairs = [pair for pair in read_pairs() if not pair.frame][
        ::9
    ]  # cosines of those out of frames nobody has written down
    one, other = (encoder.encode([getattr(pair, side) for pair in pairs]).vectors for side in ("one", "other"))
    assert np.allclose((one * other).sum(axis=1), [pair.cosine for pair in pairs], atol=1e-3)
