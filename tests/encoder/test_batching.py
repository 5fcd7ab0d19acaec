from __future__ import annotations

from itertools import islice, pairwise

import numpy as np
import pytest

from encoder.batching import (
    LanguageBatches,
    LengthBatches,
    language_batches,
    language_weights,
    length_batches,
)
from encoder.bitext import Corpus
from encoder.vocabulary import Ragged


@pytest.fixture
def corpus() -> Corpus:
    """Two languages: 10 pairs and 90 pairs of 1 to 20 tokens."""
    lengths = np.random.default_rng(0).integers(1, 21, 200)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    numbers = np.arange(200, dtype=np.int32)
    bounds = np.array([0, 10, 100])
    languages = (("xaa_Latn", "eng_Latn"), ("xbb_Latn", "eng_Latn"))
    return Corpus(Ragged(np.zeros(offsets[-1], np.int32), offsets), numbers[:100], numbers[100:], bounds, languages)


def test_language_batches_stay_inside_languages_and_do_not_repeat(corpus: Corpus) -> None:
    chance = np.random.default_rng(1)
    for batch in islice(language_batches(corpus, LanguageBatches(languages=3, pairs=8), 0.5, chance), 50):
        assert len(set(batch.rows.tolist())) == len(batch.rows)
        for begin, end in pairwise(batch.bounds):
            assert len(set((batch.rows[begin:end] < 10).tolist())) == 1


def test_a_language_gives_all_its_pairs_before_one_again(corpus: Corpus) -> None:
    batches = language_batches(corpus, LanguageBatches(languages=1, pairs=30), 1, np.random.default_rng(2))
    large = [batch.rows for batch in islice(batches, 20) if batch.rows[0] >= 10][:3]
    assert sorted(np.concatenate(large).tolist()) == list(range(10, 100))


def test_length_batches_keep_the_budget_and_reach_every_pair(corpus: Corpus) -> None:
    lengths = np.maximum(corpus.texts.lengths[:100], corpus.texts.lengths[100:])
    batches = list(islice(length_batches(corpus, LengthBatches(tokens=60, window=40), 1, np.random.default_rng(3)), 60))
    assert all(len(batch.rows) * lengths[batch.rows].max() <= 60 for batch in batches)
    assert all(len(set((batch.rows < 10).tolist())) == 1 for batch in batches)
    assert len(set(np.concatenate([batch.rows for batch in batches]).tolist())) == 100


def test_a_smaller_exponent_favours_the_small(corpus: Corpus) -> None:
    np.testing.assert_allclose(language_weights(corpus.bounds, 0), [0.5, 0.5])
    np.testing.assert_allclose(language_weights(corpus.bounds, 1), [0.1, 0.9])


def test_one_seed_gives_one_order(corpus: Corpus) -> None:
    draws = [
        [
            batch.rows.tolist()
            for batch in islice(language_batches(corpus, LanguageBatches(), 0.6, np.random.default_rng(seed)), 5)
        ]
        for seed in (4, 4, 5)
    ]
    assert draws[0] == draws[1] != draws[2]
