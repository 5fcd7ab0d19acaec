"""What tests of encoders found in, what people see of it out: tables, pictures and reports in Prefect, or files."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from prefect import get_run_logger
from prefect.artifacts import create_image_artifact, create_markdown_artifact, create_table_artifact

from flows.drawing_evaluation import comparison_plot, heat_map, margins_plot, score_plot
from flows.markup import plain, table
from flows.pictures import data_url, picture
from flows.progress import artifact_key
from storage.fingerprint import Settings
from storage.manifest import Artifact
from storage.store import Store
from tasks.evaluation.comparing import Line, SetComparison, compare
from tasks.evaluation.results import Evaluation, Outcome

_LEGEND = (
    "Percent; difference is B minus A, with the limits of its 95 % bootstrap interval over sentences. The last column "
    "names the encoder that is better where the interval excludes zero."
)

Pictures = dict[str, partial[Figure]]  # by name


class Scored(Settings):
    """An evaluation, and how long it took when it was made."""

    evaluation: Evaluation
    seconds: float


class EncoderComparison(Settings):
    """What the flow compare_encoders returns."""

    a: str
    b: str
    sets: list[SetComparison]


def evaluation_report(store: Store, evaluations: list[Artifact]) -> list[Scored]:
    """Show an encoder's scores as Prefect tables and pictures, and return them."""
    found = [scored(store, one) for one in evaluations]
    for one in found:
        title, means = one.evaluation.title, json.dumps(mean_row(one.evaluation))
        create_table_artifact(
            key=artifact_key(f"evaluation {title}"),
            table=[shown_row(row) for row in one.evaluation.results],
            description=f"{plain(title)}, percent; means over languages: {means}",
        )
        _publish(evaluation_pictures(one.evaluation), "evaluation")
        get_run_logger().info("evaluation of %s in %.0f s: %s", title, one.seconds, means)
    return found


def comparison_report(
    store: Store, names: tuple[str, str], pairs: list[tuple[Artifact, Artifact]]
) -> EncoderComparison:
    """Show two encoders side by side as a Prefect report with pictures, and return what was compared."""
    sets = [compare(_read(store, a), _read(store, b)) for a, b in pairs]
    report = EncoderComparison(a=names[0], b=names[1], sets=sets)
    create_markdown_artifact(
        key="encoder-comparison", markdown=comparison_markdown(report), description="Two encoders side by side"
    )
    _publish(comparison_pictures(report), "comparison")
    for line in summary_rows(report):
        get_run_logger().info("comparison: %s", line)
    return report


def scored(store: Store, evaluation: Artifact) -> Scored:
    """Return a stored evaluation."""
    manifest = store.manifest(evaluation)
    seconds = (manifest.finished - manifest.started).total_seconds()
    return Scored(evaluation=_read(store, evaluation).evaluation, seconds=round(seconds, 3))


def mean_row(evaluation: Evaluation) -> dict[str, float]:
    """Return the means over languages, each before the limits of its interval if it has one."""
    found: dict[str, float] = {}
    for name, mean in evaluation.means.items():
        low_high = evaluation.intervals.get(name)
        found |= {name: mean} | ({f"{name}_low": low_high[0], f"{name}_high": low_high[1]} if low_high else {})
    return found


def shown_row(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row for people: the limits of an interval are one column."""
    shown: dict[str, Any] = {}
    for name, value in row.items():
        measure, _, limit = name.rpartition("_")
        if limit == "low" and f"{measure}_high" in row:
            shown["95 % interval"] = f"{value:.2f} to {row[f'{measure}_high']:.2f}"
        elif not (limit == "high" and f"{measure}_low" in row):
            shown[name] = value
    return shown


def summary_rows(report: EncoderComparison) -> list[dict[str, Any]]:
    """Return the means over languages of all sets as the rows of a table."""
    return [{"set": one.title, "measure": line.measure} | _numbers(line) for one in report.sets for line in one.means]


def language_rows(one: SetComparison, measure: str) -> list[dict[str, Any]]:
    """Return each language of a set as the rows of a table."""
    lines = [line for line in one.languages if line.measure == measure]
    return [{"language": line.language} | _numbers(line) for line in lines]


def shown_measures(one: SetComparison) -> list[str]:
    """Return the measures that get a table by language: the most telling one, and one that has intervals."""
    with_interval = [line.measure for line in one.means if line.low is not None]
    return list(dict.fromkeys([one.measures[0], *with_interval[:1]]))


def comparison_markdown(report: EncoderComparison) -> str:
    """Return a comparison for an artifact."""
    lines = [
        "# Two encoders side by side",
        "",
        f"- A: `{plain(report.a)}`",
        f"- B: `{plain(report.b)}`",
        "",
        _LEGEND,
        "",
        *table(summary_rows(report)),
    ]
    for one in report.sets:
        for measure in shown_measures(one):
            lines += ["", f"## {plain(one.title)}: {plain(measure)}", "", *table(language_rows(one, measure))]
    return "\n".join(lines) + "\n"


def evaluation_pictures(evaluation: Evaluation) -> Pictures:
    """Return what draws an evaluation, by name."""
    found: Pictures = {f"{evaluation.title} languages": partial(score_plot, evaluation)}
    if evaluation.matrix is not None:
        found[f"{evaluation.title} matrix"] = partial(heat_map, evaluation.matrix, evaluation.title)
    if evaluation.distributions:
        found[f"{evaluation.title} margins"] = partial(margins_plot, evaluation)
    return found


def comparison_pictures(report: EncoderComparison) -> Pictures:
    """Return what draws a comparison, by name."""
    return {
        f"{one.title} {measure}": partial(
            comparison_plot, one.title, measure, [line for line in one.languages if line.measure == measure]
        )
        for one in report.sets
        for measure in shown_measures(one)
    }


def write_report(folder: Path, scores: Any, pictures: Pictures) -> list[Path]:
    """Write scores as JSON and pictures as PNG into a folder, which is made if need be; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / "scores.json"]
    files[0].write_text(json.dumps(scores, indent=1, ensure_ascii=False) + "\n", "utf-8")
    for name, draw in pictures.items():
        files.append(folder / f"{artifact_key(name)}.png")
        files[-1].write_bytes(picture(draw, "png"))
    return files


def _read(store: Store, evaluation: Artifact) -> Outcome:
    return Outcome.read(store.files(evaluation).read())


def _publish(pictures: Pictures, what: str) -> None:
    for name, draw in pictures.items():
        create_image_artifact(
            image_url=data_url(picture(draw)), key=artifact_key(f"{what} {name}"), description=plain(name)
        )


def _numbers(line: Line) -> dict[str, Any]:
    interval = "" if line.low is None else f"{line.low:+.2f} to {line.high:+.2f}"
    return {"A": line.a, "B": line.b, "difference": line.difference, "95 % interval": interval, "better": line.better}
