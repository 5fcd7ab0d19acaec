"""A trained encoder in, what people see of its training out."""

from __future__ import annotations

from functools import partial

from matplotlib.figure import Figure
from prefect import get_run_logger
from prefect.artifacts import create_image_artifact, create_link_artifact

from flows.evaluation_report import Scored
from flows.pictures import LINE, SECOND, WIDE, data_url, picture
from storage.fingerprint import Settings
from storage.manifest import Artifact
from storage.store import Store
from tasks.train_encoder import CURVE, Curve, Point


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
        description="Loss in training, and the loss and xsim of held-out pairs where some are held out",
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
    looked = [point for point in points if point.held_out_loss is not None]
    figure = Figure((WIDE, 5.2 if looked else 2.8), layout="constrained")
    upper, *lower = figure.subplots(2 if looked else 1, 1, squeeze=False, sharex=True)[:, 0]
    upper.plot([one.step for one in points], [one.loss for one in points], color=SECOND, label="training")
    upper.set_ylabel("loss")
    upper.set_ylim(bottom=0)
    if looked:
        steps = [one.step for one in looked]
        upper.plot(steps, [one.held_out_loss or 0.0 for one in looked], color=LINE, marker="o", ms=3, label="held out")
        upper.legend(frameon=False)
        lower[0].plot(steps, [100 * (one.held_out_xsim or 0.0) for one in looked], color=LINE, marker="o", ms=3)
        lower[0].set_ylabel("xsim of held-out pairs, %")
        lower[0].set_ylim(bottom=0)
    (lower[0] if lower else upper).set_xlabel("step")
    return figure
