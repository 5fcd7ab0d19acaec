"""The command that mines two files, with the options of LASER's mine_bitexts.py beside its own."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from flows.terminal import reporting

mining = typer.Typer()

LASER_RETRIEVALS = {"fwd": "forward", "bwd": "backward", "intersect": "intersection"}
_IGNORED = "Accepted as LASER has it, and without effect."


class Mode(StrEnum):
    """What mine_bitexts.py calls its modes."""

    mine = "mine"
    search = "search"
    score = "score"


@mining.command()
def mine(  # noqa: PLR0917 - typer makes options of them
    source: Annotated[
        Path, typer.Argument(help="Text, one sentence a line; or embeddings alone (.npy, or raw with --dim).")
    ],
    target: Annotated[Path, typer.Argument(help="The other language's, of the same kind.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write; the terminal if not given.")
    ] = None,
    mode: Annotated[
        Mode,
        typer.Option(
            help="mine: pairs among all lines. search: the best target of each source line. score: the margin of line "
            "i with line i."
        ),
    ] = Mode.mine,
    encoder: Annotated[
        str, typer.Option(help='For text without embeddings: "default", a folder, or a URL.')
    ] = "default",
    source_embeddings: Annotated[
        Path | None,
        typer.Option("--src-embeddings", help="Of the source text, a row a line: .npy or raw."),
    ] = None,
    target_embeddings: Annotated[
        Path | None,
        typer.Option("--trg-embeddings", help="Of the target text, a row a line."),
    ] = None,
    dim: Annotated[
        int | None, typer.Option(min=1, help="Dimension of raw embeddings; beside texts 1024, LASER's, if not given.")
    ] = None,
    fp16: Annotated[bool, typer.Option("--fp16", help="Raw embeddings are float16, not float32.")] = False,
    margin: Annotated[str | None, typer.Option(help="ratio, distance or absolute; ratio if not given.")] = None,
    retrieval: Annotated[
        str | None,
        typer.Option(
            help="forward (fwd), backward (bwd), intersection (intersect), max (one-to-one) or union; max if not given."
        ),
    ] = None,
    k: Annotated[
        int | None, typer.Option("--k", "-k", "--neighborhood", help="Neighbours per side; 4 if not given.")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Least margin of a pair; if not given, what suits the default encoder: 1.15 for ratio, 1.32 with a "
            "judge."
        ),
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(help="alignment: how well a pair's tokens match decides too. Text and static encoders only."),
    ] = None,
    calibration: Annotated[
        str | None,
        typer.Option(
            help="A file of `babelmill calibrate`: threshold, margin, retrieval, k and judge are its, unless given. "
            "Text only, the source being of its first language."
        ),
    ] = None,
    maximum: Annotated[
        float | None, typer.Option(help="Largest margin of a pair: the top of the list is often junk.")
    ] = None,
    unify: Annotated[bool, typer.Option(help="Count equal lines once.")] = True,
    guards: Annotated[
        bool, typer.Option(help="Refuse copies and near-copies; the next best takes their place. Text only.")
    ] = True,
    encoding: Annotated[str, typer.Option(help="Of the texts and the output file.")] = "utf-8",
    source_language: Annotated[str | None, typer.Option("--src-lang", hidden=True, help=_IGNORED)] = None,
    target_language: Annotated[str | None, typer.Option("--trg-lang", hidden=True, help=_IGNORED)] = None,
    gpu: Annotated[bool, typer.Option("--gpu", hidden=True, help=_IGNORED)] = False,
    verbose: Annotated[bool, typer.Option("--verbose", hidden=True, help=_IGNORED)] = False,
) -> None:
    """Mine sentence pairs from two files: lines of margin, source, target (of embeddings alone: row numbers)."""
    del source_language, target_language, gpu, verbose
    with reporting():
        from flows.loading import parse_config
        from flows.mining import mine_files, write_mined
        from flows.mining_inputs import MineFilesConfig, calibrated

        options = {
            "mode": mode.value,
            "encoder": encoder,
            "dim": dim,
            "fp16": fp16,
            "margin": margin,
            "retrieval": retrieval and LASER_RETRIEVALS.get(retrieval, retrieval),
            "k": k,
            "threshold": threshold,
            "judge": judge and {"kind": judge},
            "maximum": maximum,
            "unify": unify,
            "guards": guards,
            "encoding": encoding,
        }
        given = {name: value for name, value in options.items() if value is not None}
        settings = given if calibration is None else calibrated(given, calibration)
        config = parse_config(settings, MineFilesConfig, "mine")
        embeddings = both_embeddings(source_embeddings, target_embeddings)
        write_mined(mine_files(source, target, config, embeddings), output, encoding)


def both_embeddings(source: Path | None, target: Path | None) -> tuple[Path, Path] | None:
    """Return the embeddings of both sides, or None if none are given.

    Raises:
        ConfigError: if only one side's are.
    """
    from storage.errors import ConfigError

    if source is None and target is None:
        return None
    if source is None or target is None:
        missing, given = ("src", target) if source is None else ("trg", source)
        raise ConfigError(
            f"--{missing}-embeddings: give the vectors of both sides or of neither; those of {given} are of one encoder"
        )
    return source, target
