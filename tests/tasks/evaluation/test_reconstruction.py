from __future__ import annotations

import numpy as np
import pytest

from encoder.evaluation import best_partners
from encoder.inference import unit_rows
from tasks.evaluation.reconstruction import margin_distribution, reconstruction


def vectors(rows, seed=0, dimension=16):
    return unit_rows(np.random.default_rng(seed).normal(size=(rows, dimension)).astype(np.float32))


def noisy(rows, noise, seed=0):
    y = vectors(rows, seed)
    texts = [str(row) for row in range(rows)]
    return unit_rows(y + noise * vectors(rows, seed + 1)), y, texts


def test_it_is_the_best_partner_among_all():
    x, y, texts = noisy(120, 1.0)
    found, own = reconstruction(x, y, texts, texts), np.arange(120)
    for way, margin in ((found.by_cosine, "absolute"), (found.by_margin, "ratio")):
        np.testing.assert_array_equal(way.forward, best_partners(x, y, margin) == own)
        np.testing.assert_array_equal(way.backward, best_partners(y, x, margin) == own)
        assert way.precision == pytest.approx((way.forward.mean() + way.backward.mean()) / 2)
        assert 0 < way.precision < 1


def test_a_text_that_occurs_twice_is_found_in_either_place():
    x = vectors(4)
    y = x[[1, 0, 2, 3]]
    different, same = ["a", "b", "c", "d"], ["a", "a", "c", "d"]
    assert reconstruction(x, y, different, different).by_cosine.forward.tolist() == [False, False, True, True]
    assert reconstruction(x, y, different, same).by_cosine.forward.all()
    assert not reconstruction(x, y, different, same).by_cosine.backward.all()
    assert reconstruction(x, y, same, different).by_cosine.backward.all()


def test_a_sentence_without_a_vector_is_not_found():
    x, y, texts = noisy(6, 0.01)
    x[2] = 0
    found = reconstruction(x, y, texts, texts)
    for way in (found.by_cosine, found.by_margin):
        assert way.forward.tolist() == [True, True, False, True, True, True]
        assert not way.backward[2]


def margins_of(x, y, k):
    cosine = (x @ y.T).astype(np.float64)
    around = np.sort(cosine, axis=1)[:, -k:].mean(1)[:, None] + np.sort(cosine, axis=0)[-k:].mean(0)[None, :]
    return cosine, cosine / (around / 2)


def test_the_distribution_is_of_the_margins_of_the_formula():
    x, y, _ = noisy(80, 1.0)
    found = margin_distribution(x, y, k=4)
    cosine, margin = margins_of(x, y, 4)
    np.testing.assert_allclose(found.true_margins, np.diag(margin), rtol=1e-5)
    near = np.argsort(-cosine, axis=1)[:, :5]
    wrong = [max(margin[row, column] for column in near[row] if column != row) for row in range(80)]
    np.testing.assert_allclose(found.wrong_margins, wrong, rtol=1e-5)
    assert found.separated == pytest.approx(np.mean(np.diag(margin) > np.array(wrong)))
    assert found.true_counts.sum() == found.wrong_counts.sum() == 80
    assert len(found.edges) == len(found.true_counts) + 1
    assert found.true_quantiles[0.5] == pytest.approx(np.median(np.diag(margin)), rel=1e-5)
    assert list(found.wrong_quantiles.values()) == sorted(found.wrong_quantiles.values())


def test_a_margin_outside_the_bins_is_in_the_last():
    x, y, _ = noisy(12, 0.01)
    found = margin_distribution(x, y, k=1)
    far = margin_distribution(np.eye(12, dtype=np.float32), np.eye(12, dtype=np.float32), k=4)
    assert found.true_counts.sum() == 12
    assert far.true_margins == pytest.approx(4)
    assert far.true_counts[-1] == 12
    assert far.separated == 1


def test_the_same_text_elsewhere_is_no_wrong_candidate():
    x, y, texts = noisy(30, 0.1)
    y[1] = y[0]
    texts[1] = texts[0]
    assert margin_distribution(x, y).wrong_margins[0] == pytest.approx(margin_distribution(x, y).true_margins[0])
    assert margin_distribution(x, y, texts=texts).wrong_margins[0] < 1


def test_where_all_is_the_same_nothing_is_wrong():
    x = np.repeat(vectors(1), 5, axis=0)
    found = margin_distribution(x, x, texts=["a"] * 5)
    assert found.wrong_quantiles == {}
    assert found.wrong_counts.sum() == 0
    assert found.separated == 1


def test_what_is_not_parallel_is_a_value_error():
    x = vectors(3)
    with pytest.raises(ValueError, match="one shape"):
        reconstruction(x, x[:2], ["a"] * 3, ["a"] * 2)
    with pytest.raises(ValueError, match="texts"):
        reconstruction(x, x, ["a"] * 3, ["a"])
    with pytest.raises(ValueError, match="texts"):
        margin_distribution(x, x, texts=["a"])
    with pytest.raises(ValueError, match="no wrong"):
        margin_distribution(x[:1], x[:1])
