"""Margins and counts in, pictures as SVG out: the same numbers always give the same bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from flows.pictures import FIRST, LINE, SECOND, WIDE, picture
from storage.manifest import Dataset
from storage.store import Store

Counts = npt.NDArray[np.int64]  # pairs per thousandth of margin, from LOWEST on

LOWEST, HIGHEST = -1.0, 5.0  # what lies beyond is counted in the first or last thousandth
PANELS = 12  # language pairs that get a histogram each; more become rows of one picture
ROWS = 200  # the most rows of that picture
_STEPS = 1000  # per unit of margin
_WIDTHS = (5, 10, 20, 25, 50, 100, 200, 250, 500)  # thousandths that a bar may be wide
_BARS = 48
_BELOW, _ABOVE = FIRST, SECOND


def count_margins(margins: Iterable[npt.NDArray[np.floating[Any]]]) -> Counts:
    """Count margins by thousandths, batch after batch; what is no number is left out."""
    counts = np.zeros(round((HIGHEST - LOWEST) * _STEPS), np.int64)
    for batch in margins:
        known = batch[~np.isnan(batch)].astype(np.float64)
        # float32 writes 1.15 as 1.14999998, which must not fall below a threshold of 1.15
        places = np.floor((known - LOWEST) * _STEPS + 1e-3).clip(0, len(counts) - 1).astype(np.int64)
        counts += np.bincount(places, minlength=len(counts))
    return counts


def margins_of(store: Store, parts: Iterable[Dataset]) -> dict[str, Counts]:
    """Count the margins of datasets that have such a column (pairs, corpus, rejected_pairs) by partition."""
    return {
        part.partition: count_margins(
            table["margin"].to_numpy() for table in store.rows(part).batches(["margin"], rows=1 << 20)
        )
        for part in parts
    }


def margin_plot(margins: Mapping[str, npt.NDArray[Any]], threshold: float) -> str:
    """Draw how the margins of each language pair are distributed, with the threshold.

    Args:
        margins: by language pair: the margins themselves (floats), or how many there are by thousandths (integers).
        threshold: least margin of a pair that is kept.

    Returns:
        An SVG document: histograms for up to 12 pairs, for more one picture with a row for each.
    """
    counts = {
        pair: values if np.issubdtype(values.dtype, np.integer) else count_margins([values])
        for pair, values in margins.items()
    }
    edges = _edges(sum(counts.values(), np.zeros(1, np.int64)), threshold)
    bars = {pair: _bars(values, edges) for pair, values in counts.items()}
    draw = _panels if len(bars) <= PANELS else _rows
    return picture(lambda: draw(bars, edges, threshold)).decode()


def _edges(counts: Counts, threshold: float) -> Counts:
    """Return the edges of the bars in thousandths; as the threshold is one of them, no bar stands on both sides."""
    limit = int(np.clip(round((threshold - LOWEST) * _STEPS), 0, round((HIGHEST - LOWEST) * _STEPS)))
    shares = np.cumsum(counts) / max(1, int(counts.sum()))
    first, last = int(np.searchsorted(shares, 0.0, "right")), int(np.searchsorted(shares, 0.999))
    low, high = min(first, limit - 1, len(counts) - 1), max(min(last, len(counts) - 1) + 1, limit + 1)
    width = next((one for one in _WIDTHS if (high - low) / one <= _BARS), _WIDTHS[-1])
    bars = np.arange(-ceil((limit - low) / width), ceil((high - limit) / width) + 1)
    return (limit + width * bars).astype(np.int64)


def _bars(counts: Counts, edges: Counts) -> Counts:
    """Return the sum of each bar; the outermost hold what lies beyond them."""
    before = np.concatenate([[0], np.cumsum(counts)])
    at_edges = before[edges.clip(0, len(counts))]
    at_edges[0], at_edges[-1] = 0, before[-1]
    bars: Counts = np.diff(at_edges)
    return bars


def _margin(edges: Counts) -> npt.NDArray[np.float64]:
    return edges / _STEPS + LOWEST


def _panels(bars: Mapping[str, Counts], edges: Counts, threshold: float) -> Figure:
    """Draw a histogram for each language pair."""
    columns = 1 if len(bars) < 2 else 2 if len(bars) <= 4 else 3
    lines = max(1, ceil(len(bars) / columns))
    figure = Figure(figsize=(WIDE, 3.2 if lines == 1 else 2.1 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False, sharex=True).ravel()
    for axes, (pair, values) in zip(grid, bars.items(), strict=False):
        _histogram(axes, pair, values, edges, threshold)
    for axes in grid[len(bars) :]:
        axes.set_axis_off()
    for axes in grid[max(0, len(bars) - columns) : len(bars)]:
        axes.set_xlabel(f"margin (threshold {threshold:g})")
        axes.tick_params(labelbottom=True)
    if len(bars) == 1:
        grid[0].set_ylabel("pairs")
    if not bars:
        figure.text(0.5, 0.5, "There are no language pairs.", ha="center")
    return figure


def _histogram(axes: Axes, title: str, values: Counts, edges: Counts, threshold: float) -> None:
    margins = _margin(edges)
    kept = margins[:-1] >= threshold - 0.5 / _STEPS
    axes.stairs(np.where(kept, 0, values), margins, fill=True, color=_BELOW)
    axes.stairs(np.where(kept, values, 0), margins, fill=True, color=_ABOVE)
    axes.axvline(threshold, color=LINE, linewidth=1.2)
    axes.set_xlim(margins[0], margins[-1])
    axes.set_ylim(0, max(1, int(values.max(initial=0))) * 1.05)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_title(f"{title}: {_kept(values, kept)}", loc="left", fontsize=9)


def _kept(values: Counts, kept: npt.NDArray[np.bool_]) -> str:
    total, above = int(values.sum()), int(values[kept].sum())
    return f"{total:,} pairs" if above == total else f"{above:,} of {total:,} pairs"


def _rows(bars: Mapping[str, Counts], edges: Counts, threshold: float) -> Figure:
    """Draw all pairs together, and below a row for each whose shades are the shares of its own pairs."""
    most = sorted(bars, key=lambda pair: (-int(bars[pair].sum()), pair))[:ROWS]
    shown = sorted(most)
    tall, high = 0.16 * len(shown), 3.7 + 0.16 * len(shown)  # inches; a layout that is searched for takes seconds
    figure = Figure(figsize=(WIDE, high))
    above = figure.add_axes((1.4 / WIDE, (high - 2.5) / high, 6.8 / WIDE, 2.2 / high))
    below = figure.add_axes((1.4 / WIDE, 0.55 / high, 6.8 / WIDE, tall / high))
    every = np.sum(list(bars.values()), axis=0)
    _histogram(above, f"all {len(bars)} language pairs", every, edges, threshold)
    margins = _margin(edges)
    shares = np.array([bars[pair] / max(1, int(bars[pair].sum())) for pair in shown])
    below.imshow(
        shares,
        cmap="Blues",
        aspect="auto",
        interpolation="none",
        vmin=0,
        vmax=float(np.quantile(shares.max(axis=1), 0.95)) or 1.0,
        extent=(margins[0], margins[-1], len(shown) - 0.5, -0.5),
    )
    below.axvline(threshold, color=LINE, linewidth=1.2)
    _name_rows(below, shown, [f"{int(bars[pair].sum()):,}" for pair in shown])
    if len(shown) < len(bars):
        below.set_title(f"the {len(shown)} with the most pairs", loc="left", fontsize=9)
    below.set_xlabel(f"margin (threshold {threshold:g}); the darker, the more of a language pair's pairs")
    return figure


def _name_rows(axes: Axes, left: Sequence[str], right: Sequence[str]) -> None:
    """Write each row's name before it and its count behind it; as ticks of an axis they would take seconds."""
    place = axes.get_yaxis_transform()
    for row, (name, count) in enumerate(zip(left, right, strict=True)):
        axes.text(-0.008, row, name, fontsize=7, ha="right", va="center", transform=place)
        axes.text(1.008, row, count, fontsize=7, va="center", transform=place)
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
