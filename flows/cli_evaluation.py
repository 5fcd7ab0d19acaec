"""The commands that score encoders: one on its own, or two side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.terminal import reporting

if TYPE_CHECKING:
    from flows.evaluation_report import EncoderComparison, Scored

evaluation = typer.Typer()

Root = Annotated[str, typer.Option(help="Where the results are kept: a folder or an fsspec URL such as s3://bucket/x.")]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help='KIND:PATH, or settings such as "{kind: multiway, path: flores.tsv, matrix: true}". Repeatable. Kinds: '
        "tatoeba, multiway, xsim_plus, bucc, reconstruction, margins, classification.",
    ),
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="A folder for the scores as JSON and pictures as PNG.")
]
Threads = Annotated[int, typer.Option(min=0, help="Threads; 0 takes all cores.")]


@evaluation.command()
def evaluate(  # noqa: PLR0917 - typer makes options of them
    encoder: Annotated[
        str, typer.Argument(help='"default", a folder or a URL; or a YAML file with encoder, sets and all else.')
    ],
    sets: Sets = None,
    partner: Annotated[
        str | None, typer.Option(help="Encoder of the pivot's (English) side, in the same space.")
    ] = None,
    output: Output = None,
    root: Root = "runs",
    threads: Threads = 0,
) -> None:
    """Score an encoder: how well it finds translations, mines them, and carries labels from one language to others."""
    with reporting():
        from flows.config import EvaluateEncoderConfig
        from flows.evaluate_encoder import evaluate_encoder
        from flows.evaluation_report import evaluation_pictures, write_report
        from flows.loading import parse_config
        from flows.running import run_flow

        given = {"encoder": encoder, "partner": partner, "root": root, "resources": {"threads": threads}}
        values = _from_file(encoder, sets) or given | {"sets": parse_sets(sets or [])}
        found = run_flow(evaluate_encoder, parse_config(values, EvaluateEncoderConfig, "evaluate"))
        show_scores(found)
        if output is not None:
            pictures = {name: draw for one in found for name, draw in evaluation_pictures(one.evaluation).items()}
            _tell(write_report(output, [one.model_dump(mode="json") for one in found], pictures))


@evaluation.command()
def compare(  # noqa: PLR0917
    encoder_a: Annotated[str, typer.Argument(help='"default", a folder or a URL.')],
    encoder_b: Annotated[str, typer.Argument(help="The encoder to compare with it.")],
    sets: Sets = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="A YAML file as `evaluate` takes it, for its sets.")
    ] = None,
    partner_a: Annotated[str | None, typer.Option(help="Encoder of the pivot's (English) side beside A.")] = None,
    partner_b: Annotated[str | None, typer.Option(help="Encoder of the pivot's (English) side beside B.")] = None,
    output: Output = None,
    root: Root = "runs",
    threads: Threads = 0,
) -> None:
    """Score two encoders on the same sets, side by side, with bootstrap confidence intervals of the differences."""
    with reporting():
        from flows.compare_encoders import CompareEncodersConfig, compare_encoders
        from flows.evaluation_report import comparison_pictures, write_report
        from flows.loading import parse_config
        from flows.running import run_flow

        values = {
            "root": root,
            "a": encoder_a,
            "b": encoder_b,
            "partner_a": partner_a,
            "partner_b": partner_b,
            "sets": [*_sets_of(config), *parse_sets(sets or [])],
            "resources": {"threads": threads},
        }
        report = run_flow(compare_encoders, parse_config(values, CompareEncodersConfig, "compare"))
        _show_comparison(report)
        if output is not None:
            _tell(write_report(output, report.model_dump(mode="json"), comparison_pictures(report)))


def parse_sets(texts: list[str]) -> list[dict[str, Any]]:
    """Return the settings of sets that are written as KIND:PATH or as a YAML mapping.

    Raises:
        ConfigError: if a text is neither.
    """
    return [_parse_set(text) for text in texts]


def _parse_set(text: str) -> dict[str, Any]:
    import yaml

    from storage.errors import ConfigError

    if text.lstrip().startswith("{"):
        try:
            found: dict[str, Any] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {text}: this is no YAML mapping: {error}") from error
        return found
    kind, colon, path = text.partition(":")
    if not (kind and colon and path):
        raise ConfigError(f"--set {text}: write KIND:PATH, such as tatoeba:folder, or {{kind: ..., path: ...}}")
    return {"kind": kind, "path": path}


def _from_file(name: str, sets: list[str] | None) -> dict[str, Any]:
    """Return the settings in a YAML file, checked, with further sets; nothing if the name is no such file's."""
    from flows.config import EvaluateEncoderConfig
    from flows.loading import load_config

    if not name.endswith((".yaml", ".yml")):
        return {}
    values = load_config(Path(name), EvaluateEncoderConfig).model_dump(mode="json")
    return values | {"sets": [*values["sets"], *parse_sets(sets or [])]}


def _sets_of(config: Path | None) -> list[dict[str, Any]]:
    sets: list[dict[str, Any]] = [] if config is None else _from_file(str(config), None)["sets"]
    return sets


def show_scores(found: list[Scored]) -> None:
    """Print the scores of each set, language by language, and their means."""
    from flows.evaluation_report import mean_row, shown_row
    from flows.terminal import show_table

    for one in found:
        show_table(f"{one.evaluation.title}: percent", [shown_row(row) for row in one.evaluation.results])
        counts = {"languages": len(one.evaluation.results)}
        show_table("mean", [counts | shown_row(mean_row(one.evaluation)) | {"seconds": one.seconds}])


def _show_comparison(report: EncoderComparison) -> None:
    from flows.evaluation_report import language_rows, shown_measures, summary_rows
    from flows.terminal import say, show_table

    for one in report.sets:
        for measure in shown_measures(one):
            show_table(f"{one.title}: {measure}, percent", language_rows(one, measure))
    show_table("Means over languages, percent", summary_rows(report))
    say(f"A: {report.a}")
    say(f"B: {report.b}")
    say('"better" names the encoder that is better beyond doubt: the 95 % interval of the difference excludes zero.')


def _tell(files: list[Path]) -> None:
    from flows.terminal import say

    for file in files:
        say(f"Written: {file}")
