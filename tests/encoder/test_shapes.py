from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from encoder.shapes import Batch, column_batches, padded, rounded_up, shaped_batches
from encoder.threads import on_one_thread_each
from encoder.vocabulary import EOS, PAD, Ragged

LENGTHS = st.lists(st.integers(1, 700), max_size=300).map(lambda lengths: np.array(lengths, np.int64))


SPEEDS = st.sampled_from([{8: 0.25, 32: 0.8, 96: 1.0}, {96: 1.0}, {4: 1.0, 16: 1.0}])


@given(lengths=LENGTHS, speeds=SPEEDS, tokens=st.integers(100, 20_000))
def test_columns_hold_every_sentence_once_and_fit(lengths: np.ndarray, speeds: dict[int, float], tokens: int) -> None:
    batches = column_batches(lengths, speeds, tokens)
    assert sorted(np.concatenate([batch.rows for batch in batches]) if batches else []) == list(range(len(lengths)))
    for batch in batches:
        assert batch.sentences in speeds
        assert len(batch.rows) <= batch.sentences
        assert batch.sentences * batch.places <= max(tokens, min(speeds) * batch.places)
        assert batch.places == lengths[batch.rows[-1]] == lengths[batch.rows].max()
        assert (np.diff(lengths[batch.rows]) >= 0).all()
    assert sum(len(batch.rows) < batch.sentences for batch in batches) <= 1


def test_a_width_that_would_be_padding_is_not_taken() -> None:
    lengths = np.array([100] * 8 + [5] * 96)
    assert [(batch.sentences, batch.places) for batch in column_batches(lengths, {8: 0.25, 96: 1.0}, 10_000)] == [
        (8, 100),
        (96, 5),
    ]


@given(lengths=LENGTHS, tokens=st.integers(1, 5000), step=st.sampled_from([1, 8]))
def test_a_shape_is_a_function_of_the_length(lengths: np.ndarray, tokens: int, step: int) -> None:
    batches = shaped_batches(lengths, tokens, step)
    assert sorted(np.concatenate([batch.rows for batch in batches]) if batches else []) == list(range(len(lengths)))
    for batch in batches:
        for row in batch.rows:
            alone = shaped_batches(lengths[[row]], tokens, step)[0]
            assert (alone.sentences, alone.places) == (batch.sentences, batch.places)


@given(length=st.integers(1, 10_000), step=st.sampled_from([1, 8]))
def test_lengths_are_rounded_up_by_little(length: int, step: int) -> None:
    (rounded,) = rounded_up(np.array([length]), step)
    assert length <= rounded < length + max(step, length / 8)
    assert rounded == rounded_up(np.array([rounded]), step)[0]
    assert rounded % step == 0


def test_dummies_come_first_and_end_marks_end() -> None:
    tokens = Ragged.of([np.array(row, np.int32) for row in ([5, 6], [7], [8, 9, 10])])
    ids, lengths = padded(tokens, Batch(np.array([1, 0]), 3, 4))
    assert ids.tolist() == [[EOS, PAD, PAD, PAD], [7, EOS, PAD, PAD], [5, 6, EOS, PAD]]
    assert lengths.tolist() == [1, 2, 3]


def test_work_sees_one_thread_and_the_caller_keeps_its_own() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        seen: list[int] = []
        batches = [Batch(np.array([row]), 1, 1) for row in range(5)]
        on_one_thread_each(lambda _: seen.append(torch.get_num_threads()), batches)
        assert seen == [1] * 5
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
