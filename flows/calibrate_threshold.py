"""held-out bitext + encoder -> the threshold that builds of a corpus use"""

from __future__ import annotations

import gzip
import zlib
from functools import partial
from typing import Annotated, Any, Self

import pyarrow as pa
import pyarrow.parquet as pq
from prefect import flow, get_run_logger
from prefect.artifacts import create_image_artifact, create_table_artifact
from pydantic import Field, model_validator

from flows.calibrations import aim, keep_calibration, way
from flows.config import EncoderRecipe, Language, Name, Resources
from flows.drawing_calibration import calibration_plot
from flows.markup import plain
from flows.opening import encoder_reference, open_store
from flows.pictures import data_url, picture
from flows.progress import artifact_key
from flows.steps import PrefectSteps, Steps
from flows.train_encoder import encoder_from
from storage.fingerprint import Settings
from storage.handles import SourceFile
from storage.sources import list_sources
from storage.store import Store
from tasks.calibrate_threshold import CalibrateConfig, calibration_of
from tasks.calibrate_threshold import calibrate_threshold as calibrate
from tasks.collect_bitext import collect_bitext
from tasks.embed_sentences import EmbedConfig, EncoderReference
from tasks.formats.bitext import BitextSource
from tasks.judge_candidates import check_alignment
from tasks.similarity.calibration import Calibration, Estimate
from tasks.similarity.judging import EncoderJudge

_LONGEST_HEADER = 1 << 20  # bytes


class CalibrateThresholdConfig(Settings):
    """What the flow calibrate_threshold does."""

    root: Annotated[str, Field(description="Where everything is kept: a folder or an fsspec URL")] = "runs"
    corpus: Annotated[Name, Field(description="Whose builds will use the threshold")] = "corpus"
    pair: Annotated[tuple[Language, Language], Field(description="Labels of both sides, as the build mines them")]
    bitext: Annotated[
        list[BitextSource], Field(description="Parallel text that the encoder has not learnt from", min_length=1)
    ]
    encoder: Annotated[
        str | EncoderRecipe, Field(description='As in the build: "default", a folder, a URL, or a recipe')
    ] = "default"
    encoders: Annotated[
        dict[Language, str], Field(description="As in the build: languages that another encoder embeds")
    ] = {}
    embed: EmbedConfig = EmbedConfig()
    calibration: CalibrateConfig = CalibrateConfig()
    credentials: Annotated[list[str], Field(description="Prefect blocks with keys to storage")] = []
    resources: Resources = Resources()

    @model_validator(mode="after")
    def _two_languages(self) -> Self:
        if self.pair[0] == self.pair[1]:
            raise ValueError(f"pair: {self.pair[0]} cannot be paired with itself")
        return self


class CalibrationReport(Settings):
    """What the flow calibrate_threshold returns."""

    calibration: Calibration
    place: str  # path or URL of the file in which builds find it


@flow(flow_run_name="calibrate-{config.corpus}-{config.pair[0]}-{config.pair[1]}", description=__doc__)
def calibrate_threshold(config: CalibrateThresholdConfig) -> CalibrationReport:
    """Choose a language pair's threshold from held-out text, and put it where builds of the corpus find it."""
    name = "-".join(config.pair)
    with open_store(config.root, config.resources, config.credentials) as store:
        steps = PrefectSteps(f"calibrate {config.corpus} {name}")
        encoders = encoders_of(store, config, steps)
        judge = judge_of(store, config, encoders)
        parts = [labelled(store, part, config.pair) for part in config.bitext]
        sources = [(store, f"calibration/{name}/{place:03d}", part) for place, part in enumerate(parts)]
        bitext = steps.each("collect bitext", collect_bitext, sources)
        calls = [(store, config.pair, encoders, bitext, config.calibration, judge)]
        [artifact] = steps.each("calibrate threshold", calibrate, calls)
        calibration = calibration_of(store, artifact)
        place = keep_calibration(store, config.corpus, calibration, artifact)
        return calibration_report(calibration, place)


def labelled(store: Store, part: BitextSource, pair: tuple[str, str]) -> BitextSource:
    """Return parallel text with the labels of the pair, if neither its settings nor its columns name languages.

    Raises:
        ConfigError: if its files are missing.
    """
    if part.source_language or part.target_language:
        return part
    columns = _columns(SourceFile(list_sources(store, part.path, "bitext.path")[0]))
    if {part.source_language_column, part.target_language_column} & columns:
        return part
    return part.model_copy(update={"source_language": pair[0], "target_language": pair[1]})


def _columns(file: SourceFile) -> set[str]:
    """Return the columns of a Parquet or TSV file; none if it is damaged, which is told where it is read."""
    with file.open() as stream:
        try:
            if file.source.name.lower().endswith(".parquet"):
                return set(pq.ParquetFile(stream).schema_arrow.names)
            is_packed = file.source.name.lower().endswith(".gz")
            with gzip.GzipFile(fileobj=stream) if is_packed else stream as lines:
                return set(lines.readline(_LONGEST_HEADER).decode().rstrip("\r\n").split("\t"))
        except (pa.ArrowInvalid, gzip.BadGzipFile, zlib.error, EOFError, UnicodeDecodeError):
            return set()


def encoders_of(
    store: Store, config: CalibrateThresholdConfig, steps: Steps
) -> tuple[EncoderReference, EncoderReference]:
    """Return what embeds source and target, as in a build of the corpus; a recipe's encoder is trained if need be."""
    named = [config.encoders.get(language, config.encoder) for language in config.pair]
    references = []
    for one in named:
        encoder = one if isinstance(one, str) else encoder_from(store, config.corpus, one, steps)
        references.append(encoder_reference(store, encoder, config.embed.precision))
    return references[0], references[1]


def judge_of(
    store: Store, config: CalibrateThresholdConfig, encoders: tuple[EncoderReference, EncoderReference]
) -> EncoderReference | None:
    """Return the encoder of a judge, if it has one of its own, as in a build.

    Raises:
        ConfigError: if there is no such encoder, or alignments are wanted and those of the sentences have no tokens.
    """
    judge = config.calibration.judge
    if isinstance(judge, EncoderJudge):
        return encoder_reference(store, judge.encoder, config.embed.precision)
    for encoder in encoders if judge else ():
        check_alignment(encoder.load(store), "calibration.judge")
    return None


def calibration_report(calibration: Calibration, place: str) -> CalibrationReport:
    """Show a calibration on the run's page as a table and a picture, and return it."""
    pair = "-".join(calibration.pair)
    create_table_artifact(
        key=artifact_key(f"calibration {pair}"),
        table=measures(calibration),
        description=f"{plain(pair)}: threshold for {aim(calibration)}; {hidden(calibration)}",
    )
    create_image_artifact(
        key=artifact_key(f"calibration {pair} curve"),
        image_url=data_url(picture(partial(calibration_plot, calibration))),
        description=f"{plain(pair)}: precision, recall and F1 over the threshold",
    )
    get_run_logger().info(
        "threshold of %s: %.4f, for %s: %s", pair, calibration.threshold.value, aim(calibration), place
    )
    return CalibrationReport(calibration=calibration, place=place)


def measures(calibration: Calibration) -> list[dict[str, Any]]:
    """Return a calibration as the rows of a table, scores in percent."""
    shares = {"precision": calibration.precision, "recall": calibration.recall, "F1": calibration.f1}
    rows = [_row("threshold", calibration.threshold, 1, 4)]
    return rows + [_row(f"{name}, percent", one, 100, 1) for name, one in shares.items()]


def hidden(calibration: Calibration) -> str:
    """Return in words what the threshold was measured on."""
    share = calibration.gold / (calibration.gold + calibration.distractors)
    return (
        f"{calibration.gold:,} translations hidden among {calibration.distractors:,} other sentences a side "
        f"({share:.1%}); {way(calibration)}"
    )


def _row(name: str, one: Estimate, scale: int, digits: int) -> dict[str, Any]:
    value, low, high = (f"{scale * number:.{digits}f}" for number in (one.value, one.low, one.high))
    return {"measure": name, "value": value, "95 % interval": f"{low} to {high}"}
