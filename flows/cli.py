"""The `babelmill` command: a thin face of the flows."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.cli_calibration import calibration
from flows.cli_evaluation import evaluation
from flows.cli_mining import mining
from flows.cli_operations import operations
from flows.cli_training import training
from flows.terminal import quiet_defaults, reporting

app = typer.Typer(
    name="babelmill",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Crawls in; clean monolingual corpora and mined sentence pairs out.",
    epilog="Exit codes: 0 done, 1 failed, 2 asked wrongly. Settings and their defaults: `babelmill settings`.",
)

Root = Annotated[str, typer.Option(help="Where everything is kept: a folder or an fsspec URL such as s3://bucket/x.")]
EncoderName = Annotated[str, typer.Option(help='"default", a folder, or an fsspec URL.')]
Config = Annotated[
    Path, typer.Argument(help="A YAML file; every field has a default that `babelmill settings` prints.")
]


@app.command()
def build(config: Config) -> None:
    """Build a corpus from crawls, or bring it up to date: run it again and only new work is done."""
    with reporting():
        from flows.config import CorpusConfig
        from flows.loading import load_config
        from flows.running import run_build, show_counts, show_places

        settings = load_config(config, CorpusConfig)
        report = run_build(settings)
        show_counts(report)
        show_places(report, settings)


@app.command()
def demo(root: Root = "demo") -> None:
    """Build the sample corpus that comes with babelmill, and score its pairs against the gold."""
    with reporting():
        from flows.demo import demo_config, show_gold_scores
        from flows.running import run_build, show_counts, show_places

        settings = demo_config(root)
        report = run_build(settings)
        show_counts(report)
        show_gold_scores(report)
        show_places(report, settings)


@app.command()
def embed(
    text: Annotated[Path, typer.Argument(help="Text, one sentence a line.")],
    output: Annotated[
        Path, typer.Argument(help="A .npy file: float16 rows of unit length, in the order of the lines.")
    ],
    encoder: EncoderName = "default",
) -> None:
    """Turn each line of a file into a vector."""
    with reporting():
        from flows.mining import embed_file

        embed_file(text, output, encoder)


@app.command()
def status(root: Root = "runs") -> None:
    """Show the corpora below a root: versions, crawls, rows and bytes."""
    with reporting():
        from flows.inspection import show_status

        show_status(root)


@app.command()
def plan(config: Config) -> None:
    """Show what a build would do, and how long and how much it would take, before it is done."""
    with reporting():
        from flows.config import CorpusConfig
        from flows.loading import load_config
        from flows.running import planned
        from flows.terminal import say, show_table

        found = planned(load_config(config, CorpusConfig))
        show_table("What a build would do", found.lines())
        say(found.summary())


@app.command()
def trace(
    pair_id: Annotated[
        str, typer.Argument(help="32 hexadecimal digits: pair_id of a corpus or of its rejected pairs.")
    ],
    root: Root = "runs",
) -> None:
    """Say where a sentence pair is from: both pages, their WARC records, and what each stage found."""
    with reporting():
        from flows.inspection import show_trace

        show_trace(root, pair_id)


@app.command()
def settings() -> None:
    """Print every setting of a build with its default, as YAML that `babelmill build` takes."""
    with reporting():
        import yaml

        from flows.config import CorpusConfig

        yaml.safe_dump(CorpusConfig().model_dump(mode="json"), sys.stdout, sort_keys=False, allow_unicode=True)


app.add_typer(mining)
app.add_typer(calibration)
app.add_typer(training)
app.add_typer(evaluation)
app.add_typer(operations)


def main() -> None:
    """Run the command line."""
    quiet_defaults(os.environ)
    app()


if __name__ == "__main__":
    main()
