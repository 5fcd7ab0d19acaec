from __future__ import annotations

from functools import partial

import pytest

from flows.pictures import data_url, picture
from flows.training_report import curve_plot
from tasks.train_encoder import Point


def points(count: int, every: int = 0, loss: float = 2.0) -> list[Point]:
    """A falling loss, with looks at held-out pairs now and then."""
    found = []
    for step in range(1, count + 1):
        looked = bool(every) and step % every == 0
        found.append(
            Point(
                step=step,
                loss=loss / step,
                held_out_loss=1.5 * loss / step if looked else None,
                held_out_xsim=0.5 / step if looked else None,
            )
        )
    return found


def test_the_curve_shows_losses_and_below_them_the_errors_of_held_out_pairs():
    figure = curve_plot(points(100, 25))
    losses, errors = figure.axes
    training, held_out = losses.lines
    assert list(training.get_xdata()) == list(range(1, 101))
    assert list(held_out.get_xdata()) == [25, 50, 75, 100]
    assert [text.get_text() for text in losses.get_legend().get_texts()] == ["training", "held out"]
    assert errors.lines[0].get_ydata()[-1] == pytest.approx(0.5)
    assert [text.get_text() for text in errors.texts] == ["0.5"]
    assert errors.get_ylim()[0] == 0


def test_the_lowest_error_is_named_beside_the_last():
    rising = [one.model_copy(update={"held_out_xsim": one.step / 1000}) for one in points(100, 25) if one.held_out_loss]
    assert [text.get_text() for text in curve_plot(rising).axes[1].texts] == ["2.5", "10.0"]


def test_without_held_out_pairs_there_is_one_plot_without_a_legend():
    (only,) = curve_plot(points(3)).axes
    assert only.get_legend() is None
    assert only.get_xlabel() == "step"


@pytest.mark.parametrize(("count", "every", "loss"), [(1, 0, 2.0), (1, 1, 0.0), (40, 10, -1.0)])
def test_every_curve_can_be_drawn_and_is_the_same_each_time(count, every, loss):
    draw = partial(curve_plot, points(count, every, loss))
    svg = picture(draw)
    assert svg == picture(draw)
    assert b"xsim of held-out pairs" in svg or not every
    assert data_url(svg).startswith("data:image/svg+xml;base64,")
    assert picture(draw, "png").startswith(b"\x89PNG")
