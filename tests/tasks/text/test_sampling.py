from __future__ import annotations

from functools import partial

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from encoder.vocabulary import balanced_quota
from tasks.text.sampling import balanced_sample


def bitext(*rows):
    return pa.table(
        dict(zip(("source_language", "target_language", "source", "target"), zip(*rows, strict=True), strict=True))
    )


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 80))
def test_each_language_gives_its_quota_of_distinct_sentences(small, large, total):
    rows = [("x", "e", f"x{i}", "e0") for i in range(small)] + [("y", "e", f"y{i}", f"e{i % 7}") for i in range(large)]
    quota = partial(balanced_quota, total=total, exponent=0.5)
    taken = balanced_sample(bitext(*rows), quota).to_pydict()
    counts = {"x": small, "y": large, "e": len({target for *_, target in rows})}
    assert {name: taken["language"].count(name) for name in counts} == quota(counts)
    assert len(set(taken["text"])) == len(taken["text"])
