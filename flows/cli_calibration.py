"""The command that calibrates thresholds: held-out parallel text in, the threshold that builds of a corpus use out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.terminal import reporting

if TYPE_CHECKING:
    from flows.calibrate_threshold import CalibrateThresholdConfig, CalibrationReport

calibration = typer.Typer()


@calibration.command()
def calibrate(  # noqa: PLR0917 - typer makes options of them
    files: Annotated[
        list[str],
        typer.Argument(
            help="Parallel text that the encoder has not learnt from: .parquet or .tsv files, two text files whose "
            'lines are translations of each other, or settings such as "{path: news.parquet, source_column: text, '
            'target_column: eng, where: {lang: [deu]}}".'
        ),
    ],
    languages: Annotated[str, typer.Option(help="Labels of both sides, such as deu_Latn-eng_Latn.")],
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="The build's YAML file: its corpus, root, encoder and way of mining."),
    ] = None,
    precision: Annotated[
        float | None, typer.Option(help="Share of right pairs to reach, such as 0.95; the best F1 if not given.")
    ] = None,
    confident: Annotated[
        bool, typer.Option(help="The lower end of the precision's interval must reach it, not the estimate.")
    ] = True,
    gold_share: Annotated[
        float | None, typer.Option(help="Share of the sentences that have a translation; 0.1 if not given.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A PNG file for the curve.")] = None,
    root: Annotated[str | None, typer.Option(help='Where the corpus is; "runs" if not given.')] = None,
    corpus: Annotated[str | None, typer.Option(help='Whose builds use it; "corpus" if not given.')] = None,
    encoder: Annotated[str | None, typer.Option(help='"default", a folder or a URL.')] = None,
    margin: Annotated[str | None, typer.Option(help="ratio, distance or absolute; ratio if not given.")] = None,
    retrieval: Annotated[
        str | None, typer.Option(help="forward, backward, intersection, max or union; max if not given.")
    ] = None,
    k: Annotated[int | None, typer.Option("--k", "-k", help="Neighbours per side; 4 if not given.")] = None,
    judge: Annotated[
        str | None, typer.Option(help="Who gives pairs their margin: alignment; the build's, or nobody, if not given.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=0, help="Threads; 0 takes all cores.")] = None,
) -> None:
    """Choose the least margin of a pair from held-out translations hidden among other sentences, for builds to use."""
    with reporting():
        from flows.calibrate_threshold import CalibrateThresholdConfig, calibrate_threshold
        from flows.loading import parse_config
        from flows.running import run_flow

        values, threshold = _of_build(config)
        places = {"root": root, "corpus": corpus, "encoder": encoder}
        values |= {name: value for name, value in places.items() if value is not None}
        asked = {"precision": precision, "gold_share": gold_share, "margin": margin, "retrieval": retrieval, "k": k}
        values["calibration"] |= {name: value for name, value in asked.items() if value is not None}
        values["calibration"]["confident"] = confident
        if judge is not None and judge != (values["calibration"].get("judge") or {}).get("kind"):
            values["calibration"]["judge"] = {"kind": judge}
        if threads is not None:
            values["resources"] = values.get("resources", {}) | {"threads": threads}
        values |= {"pair": languages.split("-"), "bitext": _text(files, languages)}
        settings = parse_config(values, CalibrateThresholdConfig, "calibrate")
        _check(settings)
        report = run_flow(calibrate_threshold, settings)
        _show(report, settings, threshold)
        if output is not None:
            _draw(report, output)


def _of_build(config: Path | None) -> tuple[dict[str, Any], float | None]:
    """Return what a calibration shares with a build, and the threshold that the build's settings fix."""
    from flows.config import CorpusConfig
    from flows.loading import load_config

    if config is None:
        return {"calibration": {}}, None
    build = load_config(config, CorpusConfig)
    shared = {"root", "corpus", "encoder", "encoders", "embed", "credentials", "resources"}
    mine = build.mine.model_dump(mode="json", include={"margin", "retrieval", "k", "judge"})
    return build.model_dump(mode="json", include=shared) | {"calibration": mine}, build.mine.threshold


def _text(files: list[str], languages: str) -> list[dict[str, Any]]:
    """Return the settings of parallel text, typed as files or as mappings; tables say their languages or have one pair.

    Raises:
        ConfigError: if something is neither.
    """
    import yaml

    from flows.cli_training import bitext_of, sides_of
    from storage.errors import ConfigError

    mappings = [one for one in files if one.lstrip().startswith("{")]
    try:
        found = [yaml.safe_load(one) for one in mappings]
    except yaml.YAMLError as error:
        raise ConfigError(f"{' '.join(mappings)}: this is no YAML mapping: {error}") from error
    plain = [one for one in files if one not in mappings]
    for one in bitext_of(plain, sides_of(languages)) if plain else []:
        is_table = "target_path" not in one
        found.append({"path": one["path"]} if is_table else one)
    return found


def _check(settings: CalibrateThresholdConfig) -> None:
    """Refuse what cannot work, before a server is started.

    Raises:
        ConfigError: naming the field.
    """
    from flows.opening import named_encoder
    from storage.sources import list_sources
    from storage.store import Store
    from tasks.judge_candidates import check_alignment
    from tasks.similarity.judging import EncoderJudge

    if settings.credentials:
        return  # only the server knows how to log in to where the files are
    store = Store(settings.root)
    store.check_writable()
    for part in settings.bitext:
        for field in ("path", "target_path"):
            if path := getattr(part, field):
                list_sources(store, path, f"bitext.{field}")
    judge = settings.calibration.judge
    encoders = [settings.encoders.get(language, settings.encoder) for language in settings.pair]
    for encoder in dict.fromkeys(one for one in encoders if isinstance(one, str)):
        loaded = named_encoder(encoder, settings.embed.precision)
        if judge is not None and judge.kind == "alignment":
            check_alignment(loaded, "calibration.judge")
    if isinstance(judge, EncoderJudge):
        named_encoder(judge.encoder, settings.embed.precision)


def _show(report: CalibrationReport, settings: CalibrateThresholdConfig, fixed: float | None) -> None:
    from flows.calibrate_threshold import hidden, measures
    from flows.calibrations import aim, way
    from flows.terminal import say, show_table

    found = report.calibration
    show_table(f"{'-'.join(found.pair)}: threshold for {aim(found)}", measures(found))
    say(f"Measured on {hidden(found)}.")
    say(f"Kept at {report.place}")
    say(f"Builds of {settings.corpus} with this encoder ({way(found)}) use it where mine.threshold is null.")
    if fixed is not None:
        say(f"mine.threshold is {fixed:g} in the settings, which goes before; set it to null.")


def _draw(report: CalibrationReport, output: Path) -> None:
    from functools import partial

    from flows.drawing_calibration import calibration_plot
    from flows.pictures import picture
    from flows.terminal import say
    from storage.files import locate, write_bytes

    filesystem, path = locate(str(output.absolute()))
    write_bytes(filesystem, path, picture(partial(calibration_plot, report.calibration), "png"))
    say(f"Written: {output}")
