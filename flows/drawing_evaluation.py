"""What tests of encoders found in, pictures of it out: dots by language, a heat map, margins, and two side by side."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flows.pictures import FIRST, INK, LINE, PALE, SECOND, WIDE
from tasks.evaluation.comparing import Line
from tasks.evaluation.results import LOWER_IS_BETTER, Distribution, Evaluation, Matrix

TITLES = {
    "accuracy": "accuracy",
    "accuracy_cosine": "accuracy by cosine",
    "accuracy_margin": "accuracy by margin",
    "error": "error by cosine",
    "xsim": "xsim",
    "xsim_plus": "xsim with changed sentences",
    "f1": "F1",
    "precision_margin": "P@1 by margin",
    "precision_cosine": "P@1 by cosine",
    "separated": "translations above the best wrong candidate",
}

_ROWS = 42  # lines of a column that are still read at a glance
_ROW = 0.155  # inches
_NAME, _VALUE, _GAP = 0.75, 0.5, 0.06  # inches left and right of a column for names and numbers, and between
_ABOVE, _BELOW, _TOP = 0.55, 0.4, 2.3  # inches for the title, the numbers of the axis, and a histogram
_CELLS = 30  # languages of a heat map that have room for numbers


class Dot(NamedTuple):
    """A score."""

    at: float
    colour: str
    filled: bool = True


class Bar(NamedTuple):
    """A thin line between two scores, lifted by a part of a row."""

    low: float
    high: float
    colour: str
    lift: float = 0.0


class Strip(NamedTuple):
    """One row of a picture: a language, what is drawn, and what is written behind."""

    name: str
    dots: tuple[Dot, ...]
    bars: tuple[Bar, ...]
    told: str


def score_plot(evaluation: Evaluation) -> Figure:
    """Draw the score of every language, best first."""
    name = evaluation.headline
    better = -1 if name in LOWER_IS_BETTER else 1
    rows = sorted(evaluation.results, key=lambda row: (-better * row[name], row["language"]))
    strips = [Strip(row["language"], (Dot(row[name], SECOND),), (), f"{row[name]:.1f}") for row in rows]
    mean = evaluation.means[name]
    title = f"{evaluation.title}: {_titled(name)}; mean {mean:.1f} over {len(strips)} languages"
    figure = _columns(strips, title, _limits(name, [row[name] for row in rows]))
    for axes in figure.axes:
        axes.axvline(mean, color=LINE, linewidth=0.8)
    return figure


def comparison_plot(title: str, measure: str, lines: Sequence[Line]) -> Figure:
    """Draw A's and B's score of every language, in the order of the difference.

    Args:
        title: the set.
        measure: what is compared.
        lines: one for each language.
    """
    better = -1 if measure in LOWER_IS_BETTER else 1
    rows = sorted(lines, key=lambda one: (-better * one.difference, one.language))
    colours = {"B": SECOND, "A": LINE, "": INK}
    strips = [
        Strip(
            one.language,
            (Dot(one.a, FIRST), Dot(one.b, colours[one.better], bool(one.better))),
            (Bar(one.a, one.b, colours[one.better]),),
            f"{one.difference:+.1f}",
        )
        for one in rows
    ]
    legend = "grey: A   blue: B, better   red: B, worse   hollow: B, no clear difference (95 %)   number: B - A"
    limits = _limits(measure, [score for one in rows for score in (one.a, one.b)])
    return _columns(strips, f"{title}: {_titled(measure)}\n{legend}", limits)


def margins_plot(evaluation: Evaluation) -> Figure:
    """Draw the margins of translations and of the best wrong candidates: of all languages together, and of each."""
    rows = sorted(evaluation.results, key=lambda row: (-row["right_50%"], row["language"]))
    sides = (("wrong", FIRST, 0.14), ("right", SECOND, -0.14))
    strips = [
        Strip(
            row["language"],
            tuple(Dot(row[f"{side}_50%"], colour) for side, colour, _ in sides),
            tuple(Bar(row[f"{side}_5%"], row[f"{side}_95%"], colour, lift) for side, colour, lift in sides),
            f"{row['separated']:.1f}",
        )
        for row in rows
    ]
    reach = [end for strip in strips for bar in strip.bars for end in bar[:2]]
    limits = (min(reach) - 0.02, max(reach) + 0.02)
    title = (
        f"{evaluation.title}: ratio margins; of each language median and 5 to 95 %\n"
        f"blue: translations   grey: best wrong candidates   number: % of {TITLES['separated']}"
    )
    figure = _columns(strips, title, limits, _TOP)
    _histogram(figure, list(evaluation.distributions.values()), limits)
    return figure


def heat_map(matrix: Matrix, title: str) -> Figure:
    """Draw a score of every language with every other; languages that are close to the others come first."""
    values = np.array([[np.nan if one is None else one for one in row] for row in matrix.values], np.float64)
    order = np.argsort(np.nanmean(values, axis=0) + np.nanmean(values, axis=1), kind="stable")
    names, values = [matrix.languages[place] for place in order], values[np.ix_(order, order)]
    side = max(5.5, 0.26 * len(names)) if len(names) <= _CELLS else max(7.0, 0.125 * len(names))
    figure = Figure(figsize=(side + 1.9, side + 1.3))
    wide, high = figure.get_size_inches()
    axes = figure.add_axes((0.95 / wide, 0.95 / high, side / wide, side / high))
    shown = axes.imshow(values, cmap="Blues", vmin=0, vmax=max(1.0, float(np.nanmax(values))), interpolation="none")
    _name_cells(axes, names)
    if len(names) <= _CELLS:
        _write_cells(axes, values)
    bar = figure.add_axes(((side + 1.1) / wide, 0.95 / high, 0.15 / wide, side / high))
    figure.colorbar(shown, cax=bar)
    told = f"{title}: {_titled(matrix.measure)}; mean {np.nanmean(values):.1f}; row: sentence, column: candidates"
    figure.text(0.1 / wide, 1 - 0.2 / high, told, ha="left", va="center", fontsize=9)
    return figure


def _titled(measure: str) -> str:
    """Return what a measure is called, and whether a high score is good."""
    told = TITLES.get(measure, measure.replace("_", " "))
    return f"{told}, % ({'lower' if measure in LOWER_IS_BETTER else 'higher'} is better)"


def _limits(measure: str, scores: Sequence[float]) -> tuple[float, float]:
    """Return the ends of the axis: errors are told apart where they are small, too."""
    return (0.0, min(100.0, max(5.0, 1.1 * max(scores)))) if measure in LOWER_IS_BETTER else (0.0, 100.0)


def _columns(strips: Sequence[Strip], title: str, limits: tuple[float, float], free: float = 0.0) -> Figure:
    """Draw rows in as many columns as are needed, below some free inches."""
    count = max(1, ceil(len(strips) / _ROWS))
    rows = ceil(len(strips) / count)
    wide, high = max(WIDE, count * 2.4), _ABOVE + free + _ROW * rows + _BELOW
    figure = Figure(figsize=(wide, high))
    column = (wide - 0.1) / count
    inner = column - _NAME - _VALUE
    for place in range(count):
        left = 0.05 + place * column + _NAME
        axes = figure.add_axes((left / wide, _BELOW / high, inner / wide, _ROW * rows / high))
        axes.set_xlim(*limits)
        axes.set_ylim(rows - 0.4, -0.6)
        own = strips[place * rows : (place + 1) * rows]
        _draw(axes, own)
        _write(axes, own, _GAP / inner)
    figure.text(0.1 / wide, 1 - 0.12 / high, title, ha="left", va="top", fontsize=9)
    return figure


def _draw(axes: Axes, strips: Sequence[Strip]) -> None:
    axes.hlines(np.arange(len(strips)), *axes.get_xlim(), color=PALE, linewidth=0.5, zorder=0)
    for row, strip in enumerate(strips):
        for bar in strip.bars:
            axes.plot((bar.low, bar.high), (row + bar.lift,) * 2, color=bar.colour, linewidth=1.2, zorder=1)
        for place, dot in enumerate(strip.dots):
            face = dot.colour if dot.filled else "white"
            axes.plot([dot.at], [row], "o", color=dot.colour, markerfacecolor=face, markersize=3.6, zorder=2 + place)


def _write(axes: Axes, strips: Sequence[Strip], gap: float) -> None:
    """Write each row's name before it and its number behind it; as ticks of an axis they would take seconds."""
    across = axes.get_yaxis_transform()
    for row, strip in enumerate(strips):
        axes.text(-gap, row, strip.name, fontsize=7, ha="right", va="center", transform=across)
        axes.text(1 + gap, row, strip.told, fontsize=7, ha="left", va="center", transform=across)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="x", labelsize=7)


def _histogram(figure: Figure, distributions: Sequence[Distribution], limits: tuple[float, float]) -> None:
    """Draw the margins of all languages into the free inches at the top."""
    if not distributions:
        return
    wide, high = figure.get_size_inches()
    left, low = 0.05 + _NAME, high - _ABOVE + 0.1 - _TOP + 0.35
    axes = figure.add_axes((left / wide, low / high, (wide - 0.05 - left - _VALUE) / wide, (_TOP - 0.45) / high))
    edges = np.array(distributions[0].edges)
    for name, colour in (("wrong", FIRST), ("right", SECOND)):
        counts = np.sum([getattr(one, name) for one in distributions], axis=0)
        label = "translations" if name == "right" else "best wrong candidates"
        axes.stairs(counts, edges, fill=True, color=colour, alpha=0.75, label=label)
    axes.set_xlim(*limits)
    axes.set_yticks([])
    axes.tick_params(axis="x", labelsize=7)
    axes.legend(frameon=False, fontsize=8)


def _name_cells(axes: Axes, names: Sequence[str]) -> None:
    size = 7 if len(names) <= _CELLS else 6
    for place, name in enumerate(names):
        axes.text(-0.7, place, name, fontsize=size, ha="right", va="center")
        axes.text(place, len(names) - 0.3, name, fontsize=size, ha="center", va="top", rotation=90)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _write_cells(axes: Axes, values: np.ndarray) -> None:
    dark = np.nanmax(values) / 2
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            colour = "white" if value > dark else INK
            told = f"{value:.1f}" if value < 9.95 else f"{value:.0f}"
            axes.text(column, row, told, fontsize=5.5, ha="center", va="center", color=colour)
