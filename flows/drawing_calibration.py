"""A calibration in, its picture out: precision, recall and F1 over the threshold, and the one that was chosen."""

from __future__ import annotations

from matplotlib.figure import Figure

from flows.calibrations import way
from flows.pictures import FIRST, INK, LINE, PALE, SECOND, WIDE
from tasks.similarity.calibration import Calibration

_LINES = (("precision", "precision", SECOND), ("recall", "recall", FIRST), ("f1", "F1", INK))


def calibration_plot(calibration: Calibration) -> Figure:
    """Draw the scores over the threshold, in percent, with the chosen threshold and its interval."""
    figure = Figure((WIDE, 3.8), layout="constrained")
    axes = figure.subplots()
    at = [point.threshold for point in calibration.curve]
    for name, label, colour in _LINES:
        axes.plot(at, [100 * getattr(point, name) for point in calibration.curve], color=colour, lw=1.4, label=label)
    chosen = calibration.threshold
    axes.axvspan(chosen.low, chosen.high, color=LINE, alpha=0.15, lw=0)
    axes.axvline(chosen.value, color=LINE, lw=1.2, label=f"threshold {chosen.value:.4f}")
    if calibration.target != "f1":
        axes.axhline(100 * calibration.target, color=LINE, lw=0.8, ls="--", label="wanted precision")
    axes.set_ylim(0, 100)
    axes.set_xlabel(f"threshold ({way(calibration)})")
    axes.set_ylabel("%")
    axes.grid(axis="y", color=PALE)
    axes.set_axisbelow(True)
    hidden = f"{calibration.gold:,} translations among {calibration.distractors:,} other sentences a side"
    axes.set_title(f"{'-'.join(calibration.pair)}: {hidden}", loc="left", fontsize=9)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
