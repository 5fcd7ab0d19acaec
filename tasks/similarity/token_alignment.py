"""Token vectors of sentences and pairs of sentences in, how well the tokens of each pair match each other out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tasks.similarity.compiled import compiled
from tasks.similarity.ranking import cosine_of

# A direction is a unit vector in steps of 1 / STEPS, rounded: its length is at most STEPS + sqrt(d) / 2. Up to
# WIDEST numbers the product of two lengths, and so every partial sum of a dot product (Cauchy and Schwarz), is a whole
# number of at most 2**24, which float32 holds exactly. So a cosine has the same bits in any order of summation.
STEPS = 4000.0
WIDEST = int((2 * (2**12 - STEPS)) ** 2)
_LEAST = 1e-18  # length of a token that says anything: its square is still a normal number of float32
_LANES = 16  # float32 of the widest registers


class Tokens(NamedTuple):
    """The tokens of some sentences, end to end: where each points to, and how much it says.

    Sentence i has rows offsets[i] to offsets[i + 1]; tokens whose vectors are zeros are not there.
    """

    directions: np.ndarray  # (tokens, d) float32, whole numbers: unit vectors times STEPS
    weights: np.ndarray  # (tokens,) float64, the lengths of the vectors
    offsets: np.ndarray  # (sentences + 1,) int64


def tokens_of(values: np.ndarray, offsets: np.ndarray) -> Tokens:
    """Take token vectors (tokens, d) float32 of sentences apart into directions and weights.

    Raises:
        ValueError: if the offsets are not those of so many tokens, or a vector is too wide or not finite.
    """
    if values.ndim != 2 or values.shape[1] > WIDEST or offsets[0] != 0 or offsets[-1] != len(values):
        raise ValueError(f"no sentences lie in token vectors of shape {values.shape}")
    values = np.ascontiguousarray(values, np.float32)
    weights = _lengths(values)
    if not np.isfinite(weights).all():
        raise ValueError("a token vector is not finite")
    heavy = np.flatnonzero(weights > _LEAST)
    return Tokens(_directions(values, weights, heavy), weights[heavy], np.searchsorted(heavy, offsets))


def alignment_scores(source: Tokens, target: Tokens, pairs: np.ndarray) -> np.ndarray:
    """Alignment score (float32, 1 for equal ones) of each pair of a source and a target sentence, as rows (n, 2).

    Every token looks for the token of the other sentence that points most nearly its way. The score of one direction is
    the mean of these cosines, weighted by the lengths of the tokens' vectors; that of a pair is the mean of both, and 0
    where a sentence has no tokens. It is the same in any company; pairs of one source, one after the other, are faster.

    Raises:
        ValueError: if the vectors of the sides are not of one width.
    """
    if source.directions.shape[1] != target.directions.shape[1]:
        raise ValueError("the token vectors of the two sides are not of one width: they are of two encoders")
    return _scores(source, target, pairs)


@compiled
def _lengths(values: np.ndarray) -> np.ndarray:
    lengths = np.empty(len(values), np.float64)
    for row in range(len(values)):
        lengths[row] = np.sqrt(np.float64(cosine_of(values[row], values[row])))
    return lengths


@compiled
def _directions(values: np.ndarray, weights: np.ndarray, rows: np.ndarray) -> np.ndarray:
    directions = np.empty((len(rows), values.shape[1]), np.float32)
    for place in range(len(rows)):
        row = rows[place]
        scale = STEPS / weights[row]
        for column in range(values.shape[1]):
            directions[place, column] = np.rint(values[row, column] * scale)
    return directions


@compiled
def _scores(source: Tokens, target: Tokens, pairs: np.ndarray) -> np.ndarray:
    scores = np.zeros(len(pairs), np.float32)
    width = source.directions.shape[1]
    longest = np.max(np.diff(source.offsets)) if len(source.offsets) > 1 else 0
    lanes = (longest + _LANES - 1) // _LANES * _LANES
    buffer, scratch = np.empty(width * lanes, np.float32), np.empty(3 * lanes, np.float32)
    last, turned = -1, buffer.reshape(width, lanes)
    for pair in range(len(pairs)):
        row, column = pairs[pair]
        ours = slice(source.offsets[row], source.offsets[row + 1])
        theirs = slice(target.offsets[column], target.offsets[column + 1])
        if ours.start == ours.stop or theirs.start == theirs.stop:
            continue
        if row != last:
            last, turned = row, _turned(source.directions[ours], buffer)
        weights = source.weights[ours], target.weights[theirs]
        scores[pair] = np.float32(_score(turned, target.directions[theirs], weights, scratch))
    return scores


@compiled
def _turned(directions: np.ndarray, buffer: np.ndarray) -> np.ndarray:
    """The directions as columns, filled up with zeros to whole registers."""
    count, width = directions.shape
    lanes = (count + _LANES - 1) // _LANES * _LANES
    turned = buffer[: width * lanes].reshape(width, lanes)
    turned[:, count:] = 0
    for token in range(count):
        for place in range(width):
            turned[place, token] = directions[token, place]
    return turned


@compiled
def _score(
    turned: np.ndarray, directions: np.ndarray, weights: tuple[np.ndarray, np.ndarray], scratch: np.ndarray
) -> float:
    """Both means of one pair: two tokens of the target at once meet all of the source's, which are columns."""
    count, lanes = len(weights[0]), turned.shape[1]
    one, other, best = scratch[:lanes], scratch[lanes : 2 * lanes], scratch[2 * lanes : 3 * lanes]
    best[:] = -np.inf
    total = weight = 0.0
    for first in range(0, len(directions), 2):
        second = min(first + 1, len(directions) - 1)  # the last of an odd number meets itself
        _multiply(turned, directions[first], directions[second], one, other)
        for token in range(first, second + 1):
            products = one if token == first else other
            for place in range(count):
                best[place] = max(best[place], products[place])
            total += np.max(products[:count]) * weights[1][token]
            weight += weights[1][token]
    there = total / weight
    total = weight = 0.0
    for token in range(count):
        total += best[token] * weights[0][token]
        weight += weights[0][token]
    return (there + total / weight) / (2 * STEPS * STEPS)


@compiled
def _multiply(turned: np.ndarray, first: np.ndarray, second: np.ndarray, one: np.ndarray, other: np.ndarray) -> None:
    """Dot products of two vectors with all columns; four rows at a time spare loads and stores."""
    one[:] = 0
    other[:] = 0
    width, lanes = turned.shape
    whole = width // 4 * 4
    for row in range(0, whole, 4):
        a, b, c, d = first[row], first[row + 1], first[row + 2], first[row + 3]
        e, f, g, h = second[row], second[row + 1], second[row + 2], second[row + 3]
        for lane in range(lanes):
            w, x, y, z = turned[row, lane], turned[row + 1, lane], turned[row + 2, lane], turned[row + 3, lane]
            one[lane] += (a * w + b * x) + (c * y + d * z)
            other[lane] += (e * w + f * x) + (g * y + h * z)
    for row in range(whole, width):
        for lane in range(lanes):
            one[lane] += first[row] * turned[row, lane]
            other[lane] += second[row] * turned[row, lane]
