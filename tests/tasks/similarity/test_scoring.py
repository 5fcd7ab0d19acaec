from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.similarity.scoring import best_threshold, scores


def test_precision_recall_and_f1():
    assert scores(1, 2, 4)[:3] == (0.5, 0.25, pytest.approx(1 / 3))
    assert scores(0, 0, 3)[:3] == (0, 0, 0)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=20), st.integers(0, 5))
def test_no_threshold_is_better_than_the_best(found, missed):
    margins = np.array([margin for margin, _ in found], np.float32)
    right = np.array([is_right for _, is_right in found])
    true = int(right.sum()) + missed
    best = best_threshold(margins, right, true)
    tried = [scores(int(right[margins >= t].sum()), int((margins >= t).sum()), true).f1 for t in np.unique(margins)]
    assert best.f1 == pytest.approx(max(tried))
    kept = margins >= best.threshold
    assert scores(int(right[kept].sum()), int(kept.sum()), true).f1 == pytest.approx(best.f1)
