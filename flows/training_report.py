"""A trained encoder in, what people see of its training out."""

from __future__ import annotations

from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter
from prefect import get_run_logger
from prefect.artifacts import create_image_artifact, create_link_artifact

from flows.evaluation_report import Scored
from flows.pictures import LINE, PALE, SECOND, WIDE, data_url, picture
from storage.fingerprint import Settings
from storage.manifest import Artifact
from storage.store import Store
from tasks.train_encoder import CURVE, Curve, Point

_LEGEND = (
    "Loss in training, and of pairs that are held out of it, if there are any: these are ranked among each other, so "
    "compare it with itself. xsim: how often the sentence that is nearest to a held-out one is not its translation."
)


class TrainReport(Settings):
    """What the flow train_encoder returns."""

    encoder: str  # folder or URL
    steps: int
    loss: float
    held_out_loss: float | None
    held_out_xsim: float | None
    scores: list[Scored]


def training_report(store: Store, encoder: Artifact, scores: list[Scored]) -> TrainReport:
    """Show the curve of the losses on the run's page, and return where the encoder is and what it can do."""
    points = Curve.model_validate_json(store.files(encoder).read()[CURVE]).points
    place = store.url(encoder)
    create_image_artifact(
        key="training-curve",
        image_url=data_url(picture(partial(curve_plot, points))),
        description=_LEGEND,
    )
    if "://" in place:
        create_link_artifact(key="encoder", link=place, description="The encoder")
    seen = next((point for point in reversed(points) if point.held_out_xsim is not None), None)
    report = TrainReport(
        encoder=place,
        steps=points[-1].step,
        loss=points[-1].loss,
        held_out_loss=seen.held_out_loss if seen else None,
        held_out_xsim=seen.held_out_xsim if seen else None,
        scores=scores,
    )
    get_run_logger().info("the encoder is at %s", place)
    return report


def curve_plot(points: list[Point]) -> Figure:
    """Draw the losses over the steps, and below them the similarity error of held-out pairs, if there are any."""
    looked = [point for point in points if point.held_out_loss is not None and point.held_out_xsim is not None]
    figure = Figure((WIDE, 5.2 if looked else 3.0), layout="constrained")
    axes = figure.subplots(2 if looked else 1, 1, squeeze=False, sharex=True)[:, 0]
    _losses(axes[0], points, looked)
    if looked:
        _errors(axes[1], [one.step for one in looked], [100 * (one.held_out_xsim or 0.0) for one in looked])
    for one in axes:
        one.grid(axis="y", color=PALE)
        one.set_axisbelow(True)
    axes[-1].set_xlim(0, 1.06 * points[-1].step)  # room for what is written beside the last point
    axes[-1].xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes[-1].set_xlabel("step")
    return figure


def _losses(axes: Axes, points: list[Point], looked: list[Point]) -> None:
    """Draw losses by their order of magnitude: else the first steps leave no room for all the others."""
    losses = [one.loss for one in points]
    held_out = [one.held_out_loss or 0.0 for one in looked]
    axes.plot([one.step for one in points], losses, color=SECOND, lw=1.2, label="training")
    if looked:
        axes.plot([one.step for one in looked], held_out, color=LINE, marker="o", ms=3.5, lw=1.2, label="held out")
        axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0)
    if min([*losses, *held_out]) > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylabel("loss")


def _errors(axes: Axes, steps: list[int], errors: list[float]) -> None:
    """Draw similarity errors, with the lowest and the last in figures."""
    axes.plot(steps, errors, color=LINE, marker="o", ms=3.5, lw=1.2)
    best = errors.index(min(errors))
    for place in sorted({best, len(errors) - 1}):
        axes.annotate(
            f"{errors[place]:.1f}", (steps[place], errors[place]), (0, 6), textcoords="offset points", ha="center"
        )
    axes.set_ylabel("xsim of held-out pairs, %")
    axes.set_ylim(0, 1.15 * max(*errors, 1.0))
