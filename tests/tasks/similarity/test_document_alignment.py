from __future__ import annotations

import time
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.similarity.document_alignment import EXACT_CELLS, AlignConfig, Links, align, joined, overlaps

CONFIG = AlignConfig()


def unit(vectors):
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0).astype(np.float32)


def with_overlaps(parts, longest):
    """Vectors of runs of sentences as a static encoder gives them: the sum of what the sentences have."""
    found = np.zeros((longest, *parts.shape), np.float32)
    for length in range(1, min(longest, len(parts)) + 1):
        sums = sum(parts[start : len(parts) - length + 1 + start] for start in range(length))
        found[length - 1, : len(sums)] = unit(sums)
    return found


def document(rng, steps, width=256, noise=0.3):
    """Two sides with planted links (how many sentences of each say the same), and these links."""
    source, target, links = [], [], []
    for a, b in steps:
        meanings = rng.normal(size=(a * b or 1, width))
        if a and b:
            links.append((len(source), a, len(target), b))
        for side, count in ((source, a), (target, b)):
            for part in np.array_split(meanings, count) if count else ():
                side.append(part.sum(axis=0) + noise * rng.normal(size=width))
    sides = [with_overlaps(np.array(side).reshape(-1, width), CONFIG.longest) for side in (source, target)]
    return sides[0], sides[1], links


def found(links: Links) -> list[tuple[int, ...]]:
    return [tuple(map(int, row)) for row in zip(*links[:4], strict=True)]


def planted(rng, count):
    """Links of every kind; between sentences that stay alone are some that do not, or they would look like a pair."""
    kinds = [[(1, 1)], [(1, 2)], [(2, 1)], [(1, 0), (1, 1)], [(0, 1), (1, 1)]]
    return [step for kind in rng.choice(5, count, p=[0.6, 0.1, 0.1, 0.1, 0.1]) for step in kinds[kind]]


def test_planted_links_of_every_kind_are_found():
    right = claimed = true = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        source, target, links = document(rng, [*planted(rng, 30), (1, 3), (1, 1), (3, 1), (1, 1)])
        result = found(align(source, target, CONFIG))
        right, claimed, true = right + len(set(links) & set(result)), claimed + len(result), true + len(links)
    assert right / claimed > 0.98
    assert right / true > 0.98


def test_sentences_that_say_the_same_cost_nothing():
    rng = np.random.default_rng(1)
    source, _, _ = document(rng, [(1, 1)] * 8)
    links = align(source, source, CONFIG)
    assert found(links) == [(row, 1, row, 1) for row in range(8)]
    assert np.allclose(links.alignment, 1, atol=1e-6)
    assert np.allclose(links.cosine, 1, atol=1e-6)


def test_a_sentence_more_on_either_side_stays_alone():
    rng = np.random.default_rng(2)
    source, target, _ = document(rng, [(1, 1), (1, 0), (1, 1), (0, 1), (1, 1), (1, 1)])
    assert found(align(source, target, CONFIG)) == [(0, 1, 0, 1), (2, 1, 1, 1), (3, 1, 3, 1), (4, 1, 4, 1)]


def test_documents_of_one_sentence_are_linked_if_they_are_alike():
    rng = np.random.default_rng(3)
    source, target, _ = document(rng, [(1, 1)])
    other, _, _ = document(rng, [(1, 1)])
    assert found(align(source, target, CONFIG)) == [(0, 1, 0, 1)]
    scores = [align(source, side, CONFIG).alignment for side in (target, other)]
    assert scores[0][0] > 0.5
    assert not len(scores[1]) or scores[1][0] < 0.3


@pytest.mark.parametrize("rows", [(0, 3), (3, 0), (0, 0)])
def test_a_side_without_sentences_has_no_links(rows):
    sides = [np.zeros((CONFIG.longest, count, 8), np.float32) for count in rows]
    assert found(align(*sides, CONFIG)) == []


@given(st.integers(0, 2**32 - 1), st.integers(1, 25), st.integers(2, 5))
def test_links_are_in_order_and_of_allowed_sizes_and_the_other_way_round_the_same(seed, count, max_size):
    rng, config = np.random.default_rng(seed), AlignConfig(max_size=max_size)
    sides = [with_overlaps(rng.normal(size=(rows, 16)), config.longest) for rows in (count, rng.integers(1, 25))]
    links, swapped = align(*sides, config), align(*reversed(sides), config)
    assert found(swapped) == [(row[2], row[3], row[0], row[1]) for row in found(links)]
    assert np.array_equal(links.alignment, swapped.alignment)
    assert all(a >= 1 and b >= 1 and a + b <= max_size for _, a, _, b in found(links))
    for one, following in pairwise(found(links)):
        assert one[0] + one[1] <= following[0]
        assert one[2] + one[3] <= following[2]


@pytest.mark.parametrize("seed", range(3))
def test_the_cheapest_path_is_that_of_a_search_through_all(seed):
    rng, config = np.random.default_rng(seed), AlignConfig(max_size=3, deletion=0.5)
    source, target = (with_overlaps(rng.normal(size=(rows, 4)), config.longest) for rows in (5, 6))
    assert found(align(source, target, config)) == slowly_aligned(source.astype(float), target.astype(float), config)


def slowly_aligned(source, target, config):
    """By the definition: every path, its cost summed up."""
    n, m = source.shape[1], target.shape[1]

    def far(vectors, others):
        distances = np.sort(1 - vectors @ others.T)
        return distances[1:].mean()

    def cost(i, a, j, b):
        x, y = source[a - 1, i], target[b - 1, j]
        return 2 * (1 - x @ y) / (far(x, target[0]) + far(y, source[0]))

    single = np.array([[cost(i, 1, j, 1) for j in range(m)] for i in range(n)])
    chance = single[(single > single.min(axis=0)) & (single > single.min(axis=1)[:, None])]
    penalty = np.quantile(chance, config.deletion) / 2

    def paths(i, j):
        if (i, j) == (n, m):
            yield 0.0, []
        for a, b in [(1, 1), (1, 2), (2, 1), (1, 0), (0, 1)]:
            if i + a <= n and j + b <= m:
                step = penalty if a * b == 0 else a * b * cost(i, a, j, b)
                for rest, links in paths(i + a, j + b):
                    yield step + rest, ([(i, a, j, b)] if a * b else []) + links

    return min(paths(0, 0))[1]


def test_long_documents_are_aligned_in_little_time_and_memory():
    rng = np.random.default_rng(4)
    source, target, links = document(rng, planted(rng, 5000), noise=0.5)
    assert source.shape[1] * target.shape[1] > 100 * EXACT_CELLS
    align(source[:, :400], target[:, :400], CONFIG)  # compiles
    tracemalloc.start()
    begun = time.process_time()
    result = found(align(source, target, CONFIG))
    seconds, (_, peak) = time.process_time() - begun, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(set(links) & set(result)) >= 0.9 * max(len(links), len(result))
    assert seconds < 20
    assert peak < 64 << 20  # all 25 million cells would be 450 MB


def test_a_long_document_and_its_half_are_aligned_across_what_is_missing():
    rng = np.random.default_rng(5)
    source, target, links = document(rng, [*[(1, 1)] * 350, *[(1, 0)] * 400, *[(1, 1)] * 350])
    assert (source.shape[1] + 1) * (target.shape[1] + 1) > EXACT_CELLS
    result = found(align(source, target, CONFIG))
    assert len(set(links) & set(result)) >= 0.97 * len(links)


def test_equal_sentences_and_sentences_without_words_do_no_harm():
    same = np.ones((CONFIG.longest, 6, 8), np.float32) / np.sqrt(np.float32(8))
    nothing = np.zeros_like(same)
    assert found(align(same, same, CONFIG)) == [(row, 1, row, 1) for row in range(6)]
    for sides in ((same, nothing), (nothing, nothing)):
        assert np.isfinite(align(*sides, CONFIG).alignment).all()


def test_half_precision_is_taken_as_it_is():
    rng = np.random.default_rng(6)
    source, target, _ = (
        part if isinstance(part, list) else part.astype(np.float16) for part in document(rng, planted(rng, 20))
    )
    whole = align(source.astype(np.float32), target.astype(np.float32), CONFIG)
    assert all(map(np.array_equal, align(source, target, CONFIG), whole))


@pytest.mark.parametrize(
    ("source", "target", "told"),
    [
        ((3, 4, 8), (3, 4, 9), "cannot align"),
        ((2, 4, 8), (2, 4, 8), "up to 3 sentences"),
        ((4, 8), (3, 4, 8), "cannot align"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(source, target, told):
    with pytest.raises(ValueError, match=told):
        align(np.zeros(source, np.float32), np.zeros(target, np.float32), CONFIG)


def test_runs_of_sentences_are_joined_as_the_language_writes():
    assert overlaps(["A.", "B.", "C."], 3, "eng_Latn") == [["A. B.", "B. C."], ["A. B. C."]]
    assert overlaps(["A."], 3, "eng_Latn") == [[], []]
    assert joined(["甲。", "乙。"], "zho_Hans") == "甲。乙。"
