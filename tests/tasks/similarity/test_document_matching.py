from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.schemas import ID, TEXTS
from tasks.similarity.document_matching import SAME_ADDRESS, MatchConfig, centroids, match, pages, with_prospects

PAIR = ("deu_Latn", "eng_Latn")
CONFIG = MatchConfig()


def doc(number):
    return int(number).to_bytes(16)


def documents(*rows):
    """Documents from (number, language, url, and addresses that it links to as itself in other languages)."""
    numbers, languages, urls = zip(*(row[:3] for row in rows), strict=True)
    alternates = pa.array([list(row[3:]) or None for row in rows], TEXTS)
    labels = [{"de": "deu_Latn", "en": "eng_Latn", "fr": "fra_Latn"}[one] for one in languages]
    ids = pa.array([doc(number) for number in numbers], ID)
    return pa.table({"doc_id": ids, "language": labels, "url": pa.array(urls, pa.string()), "alternates": alternates})


def matched(table, vectors, config=CONFIG):
    """The matches between documents as (source, target, how), given the mean vector of each number."""
    found = with_prospects(pages(table, PAIR), config)
    means = np.array([vectors[int.from_bytes(one)] for one in found["doc_id"].to_pylist()], np.float32).reshape(-1, 4)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    return [
        (int.from_bytes(row["source_doc_id"]), int.from_bytes(row["target_doc_id"]), row["matched_by"])
        for row in match(found, means, config).to_pylist()
    ]


EAST, NORTH, UP = (np.eye(4)[place] for place in range(3))


def test_one_address_on_each_side_is_a_match_unless_the_texts_are_unlike():
    table = documents(
        (1, "de", "http://a.org/de/x"),
        (2, "en", "http://a.org/en/x"),
        (3, "de", "http://a.org/de/y"),
        (4, "en", "http://a.org/y"),
    )
    near = EAST + NORTH  # cosine .71 with both
    assert matched(table, {1: EAST, 2: near, 3: UP, 4: UP}) == [(1, 2, "url"), (3, 4, "url")]
    assert matched(table, {1: EAST, 2: NORTH, 3: UP, 4: UP}) == [(3, 4, "url")]


def test_an_address_that_a_side_has_twice_is_decided_by_the_texts():
    table = documents((1, "de", "http://a.org/de/x"), (2, "de", "https://a.org/x"), (3, "en", "http://a.org/en/x"))
    assert matched(table, {1: EAST, 2: EAST + NORTH, 3: NORTH}) == [(2, 3, "url")]
    assert matched(table, {1: EAST, 2: UP, 3: NORTH}) == []
    assert matched(table, {1: EAST, 2: EAST, 3: EAST}) == [(1, 3, "url")]


def test_an_address_that_very_many_have_says_nothing():
    many = [(number, "de", f"http://a.org/x?lang=de&&{'&' * number}") for number in range(1, SAME_ADDRESS + 2)]
    table = documents(*many, (99, "en", "http://a.org/x"))
    vectors = dict.fromkeys(range(1, 100), EAST)
    assert matched(table, vectors, MatchConfig(by_similarity=False)) == []


def test_a_link_is_a_match_on_any_host_and_goes_before_addresses_unless_the_texts_are_unlike():
    table = documents(
        (1, "de", "http://a.org/de/x", "https://b.org/other/"),
        (2, "en", "http://a.org/en/x"),
        (3, "en", "http://b.org/other#top"),
        (4, "de", "http://c.org/vier"),
        (5, "en", "http://d.org/four", "http://c.org/vier", "http://nowhere.org/"),
    )
    vectors = dict.fromkeys(range(1, 6), EAST)
    assert matched(table, vectors) == [(1, 3, "hreflang"), (4, 5, "hreflang")]
    assert matched(table, vectors, MatchConfig(by_hreflang=False)) == [(1, 2, "url")]
    assert matched(table, vectors | {3: NORTH}) == [(1, 2, "url"), (4, 5, "hreflang")]


def test_of_several_linked_pages_the_nearest_is_taken():
    links = ("http://a.org/2", "http://a.org/3")
    table = documents((1, "de", "http://a.org/1", *links), (2, "en", links[0]), (3, "en", links[1]))
    assert matched(table, {1: EAST, 2: EAST + NORTH, 3: EAST}) == [(1, 3, "hreflang")]
    fetched_often = [(number, "en", "http://a.org/2") for number in range(10, 11 + SAME_ADDRESS)]
    table = documents((1, "de", "http://b.org/1", *links), *fetched_often)
    assert matched(table, dict.fromkeys([1, *range(10, 11 + SAME_ADDRESS)], EAST)) == []


def test_nearest_documents_of_a_host_match_if_they_are_near_enough():
    table = documents(
        (1, "de", "http://a.org/eins"),
        (2, "de", "http://a.org/zwei"),
        (3, "en", "http://a.org/two"),
        (4, "en", "http://a.org/one"),
        (5, "en", "http://b.org/one"),
    )
    vectors = {1: EAST, 2: NORTH, 3: NORTH + EAST / 2, 4: EAST, 5: EAST}
    assert matched(table, vectors) == [(1, 4, "similarity"), (2, 3, "similarity")]
    assert matched(table, vectors, MatchConfig(least_similarity=0.95)) == [(1, 4, "similarity")]
    assert matched(table, vectors, MatchConfig(by_similarity=False)) == []


def test_only_documents_that_no_address_has_matched_are_compared():
    table = documents((1, "de", "http://a.org/de/x"), (2, "en", "http://a.org/en/x"), (3, "en", "http://a.org/other"))
    assert matched(table, {1: EAST, 2: EAST + NORTH, 3: EAST}) == [(1, 2, "url")]
    assert matched(table, {1: EAST, 2: EAST + NORTH, 3: EAST}, MatchConfig(by_url=False)) == [(1, 3, "similarity")]


def test_equal_documents_match_in_the_order_of_their_ids():
    table = documents(
        (7, "de", "http://a.org/1"),
        (3, "de", "http://a.org/2"),
        (9, "en", "http://a.org/3"),
        (8, "en", "http://a.org/4"),
    )
    assert matched(table, dict.fromkeys((3, 7, 8, 9), EAST)) == [(3, 8, "similarity")]


def test_documents_of_other_languages_and_without_addresses_are_left_out():
    table = documents((1, "fr", "http://a.org/x"), (2, "en", "http://a.org/x"), (3, "de", "nowhere"), (4, "de", None))
    assert pages(table, PAIR)["doc_id"].to_pylist() == [doc(2)]
    assert with_prospects(pages(table, PAIR), CONFIG).num_rows == 0
    assert matched(table, {}) == []


hosts = st.sampled_from(["a.org", "b.org", "de.b.org", "en.b.org"])
paths = st.sampled_from(["", "x", "de/x", "en/x", "x_de.html", "x.html", "y"])
links = st.lists(st.builds("http://{}/{}".format, hosts, paths), max_size=2)


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.sampled_from(["de", "en"]), hosts, paths, st.integers(0, 3), links), min_size=1, max_size=12),
    st.randoms(),
)
def test_the_order_of_documents_changes_nothing_and_each_is_in_one_match(rows, random):
    numbered = [
        (number, language, f"http://{host}/{path}", *links)
        for number, (language, host, path, _, links) in enumerate(rows, 1)
    ]
    vectors = {number: np.eye(4)[one[3]] + 0.3 for number, one in enumerate(rows, 1)}
    found = matched(documents(*numbered), vectors)
    shuffled = random.sample(numbered, len(numbered))
    assert matched(documents(*shuffled), vectors) == found
    both = [one for source, target, _ in found for one in (source, target)]
    assert len(set(both)) == len(both)


def test_the_centroid_is_the_normalised_mean():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(7, 5)).astype(np.float16)
    vectors[5:] = 0
    found = centroids(vectors, np.array([0, 2, 2, 5, 7]))
    for row, (start, stop) in enumerate([(0, 2), (2, 2), (2, 5), (5, 7)]):
        total = vectors[start:stop].astype(np.float64).sum(axis=0)
        norm = np.linalg.norm(total)
        assert found[row] == pytest.approx(total / norm if norm else total, abs=1e-6)
