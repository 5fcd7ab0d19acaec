from __future__ import annotations

import numpy as np
import pytest

from tasks.filters import LengthRatio, LetterShare
from tasks.filters.verdicts import PASSED, first_refusals


def test_the_first_filter_that_refuses_is_named():
    ratios, shares = np.array([1, 9, 9, 1], np.float32), np.array([1, 1, 0, 0], np.float32)
    found = first_refusals(4, [ratios, shares], [LengthRatio(), LetterShare()])
    assert found.tolist() == [PASSED, 0, 0, 1]


def test_scores_of_other_rows_are_refused():
    with pytest.raises(ValueError, match="length_ratio: 1 scores for 2 rows"):
        first_refusals(2, [np.ones(1, np.float32)], [LengthRatio()])
