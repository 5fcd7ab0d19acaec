from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from storage.ids import content_id
from storage.schemas import ID, check, conform, empty
from tasks.text.deduplication import unique_sentences

OCCURRENCES = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3), st.integers(0, 5)), max_size=30, unique=True)


def sentences(occurrences):
    """A sentences table: which sentence stands in which document at which position."""
    rows = [
        {
            "sentence_id": content_id(str(sentence)),
            "doc_id": content_id("document", str(document)),
            "position": position,
            "confidence": 0.5,
            "text": f"Sentence {sentence}.",
            "pii": [],
        }
        for sentence, document, position in occurrences
    ]
    return conform("sentences", pa.Table.from_pylist(rows, schema=empty("sentences").schema))


def seen(numbers):
    return pa.table({"sentence_id": pa.array([content_id(str(one)) for one in numbers], ID)})


@given(OCCURRENCES, st.randoms(use_true_random=False))
def test_the_result_does_not_depend_on_the_order_of_rows(occurrences, random):
    shuffled = random.sample(occurrences, len(occurrences))
    assert unique_sentences(sentences(occurrences), seen([])).equals(unique_sentences(sentences(shuffled), seen([])))


@given(OCCURRENCES)
def test_deduplicating_twice_finds_nothing_new(occurrences):
    once = unique_sentences(sentences(occurrences), seen([]))
    assert unique_sentences(sentences(occurrences), once.select(["sentence_id"])).num_rows == 0


@given(OCCURRENCES, OCCURRENCES)
def test_a_second_crawl_adds_exactly_what_the_first_did_not_have(first, second):
    one = unique_sentences(sentences(first), seen([]))
    two = unique_sentences(sentences(second), one.select(["sentence_id"]))
    both = unique_sentences(sentences([*first, *second]), seen([]))
    assert set(one["sentence_id"].to_pylist()) | set(two["sentence_id"].to_pylist()) == set(
        both["sentence_id"].to_pylist()
    )
    assert one.num_rows + two.num_rows == both.num_rows


def test_the_first_occurrence_and_the_count_are_told():
    table = check("unique_sentences", unique_sentences(sentences([(1, 0, 4), (1, 0, 2), (1, 1, 0)]), seen([])))
    (row,) = table.to_pylist()
    first = min((content_id("document", str(document)), position) for document, position in ((0, 4), (0, 2), (1, 0)))
    assert (row["doc_id"], row["position"], row["occurrences"]) == (*first, 3)
