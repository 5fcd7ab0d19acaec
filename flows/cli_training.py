"""The command that trains encoders: from a YAML file, or from parallel text and a recipe by its name."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli_evaluation import Root, Sets, Threads, parse_sets, show_scores
from flows.terminal import reporting

if TYPE_CHECKING:
    from flows.config import TrainEncoderConfig
    from flows.training_report import TrainReport

training = typer.Typer()


class Recipe(StrEnum):
    """The recipes that come with the encoder library."""

    static = "static"
    small = "small"
    base = "base"
    laser = "laser"


@training.command()
def train(  # noqa: PLR0917 - typer makes options of them
    context: typer.Context,
    what: Annotated[
        list[str],
        typer.Argument(
            help="A YAML file with all settings; or parallel text: .parquet or .tsv files with named columns, or two "
            "text files whose lines are translations of each other (Moses)."
        ),
    ],
    languages: Annotated[
        str | None,
        typer.Option(
            help="Labels of both sides, such as deu_Latn-eng_Latn; without it, the columns source_language and "
            "target_language have them."
        ),
    ] = None,
    recipe: Annotated[
        Recipe,
        typer.Option(
            help="static: minutes, any CPU. small: a BiLSTM, minutes on a CPU. base: half an hour on a GPU. laser: as "
            "published, days on many GPUs."
        ),
    ] = Recipe.static,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of training; the recipe's if not given.")] = None,
    subwords: Annotated[
        int | None, typer.Option(min=8, help="Size of the vocabulary; the recipe's if not given.")
    ] = None,
    extend: Annotated[
        str | None,
        typer.Option(
            help='Teach the space of this encoder, such as "default", to the language of the source side; of the '
            "target side it must know the language (LASER3)."
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="What the encoder is called.")] = "encoder",
    sets: Sets = None,
    root: Root = "runs",
    threads: Threads = 0,
) -> None:
    """Train an encoder from parallel text; a run that was killed goes on where it was."""
    with reporting():
        from flows.config import TrainEncoderConfig
        from flows.loading import load_config, parse_config
        from flows.running import run_flow
        from flows.train_encoder import train_encoder

        if what[0].endswith((".yaml", ".yml")):
            _nothing_beside(context, what)
            config = load_config(Path(what[0]), TrainEncoderConfig)
        else:
            sides = sides_of(languages)
            values = {
                "root": root,
                "name": name,
                "recipe": {"bitext": bitext_of(what, sides)} | settings_of(recipe, sides, steps, subwords, extend),
                "extends": extend,
                "evaluation": parse_sets(sets or []),
                "resources": {"threads": threads},
            }
            config = parse_config(values, TrainEncoderConfig, "train")
        check_training(config)
        _show(run_flow(train_encoder, config))


def sides_of(languages: str | None) -> list[str]:
    """Return the labels of both sides, or none if none are given.

    Raises:
        ConfigError: if these are not two labels.
    """
    from storage.errors import ConfigError
    from tasks.text.labels import parse_label

    if languages is None:
        return []
    sides = languages.split("-")
    if len(sides) != 2:
        raise ConfigError(f"--languages {languages}: write two labels, such as deu_Latn-eng_Latn")
    try:
        return [parse_label(side) for side in sides]
    except ValueError as error:
        raise ConfigError(f"--languages {languages}: {error}") from error


def bitext_of(files: list[str], sides: list[str]) -> list[dict[str, Any]]:
    """Return the settings of parallel text in these files.

    Raises:
        ConfigError: if they are neither tables nor two text files with their labels.
    """
    from storage.errors import ConfigError

    labels = dict(zip(("source_language", "target_language"), sides, strict=True)) if sides else {}
    if all(file.lower().endswith((".parquet", ".tsv", ".tsv.gz")) for file in files):
        return [{"path": file} | labels for file in files]
    if len(files) != 2:
        raise ConfigError(
            f"{' '.join(files)}: parallel text is .parquet or .tsv files, or two text files with as many lines, the "
            "source side's first"
        )
    if not labels:
        raise ConfigError("--languages: two text files need their labels, such as deu_Latn-eng_Latn")
    return [{"path": files[0], "target_path": files[1]} | labels]


def settings_of(
    recipe: Recipe, sides: list[str], steps: int | None, subwords: int | None, extend: str | None
) -> dict[str, Any]:
    """Return a recipe's settings, and what of them is asked for differently."""
    from importlib.resources import files

    import yaml

    settings: dict[str, Any] = yaml.safe_load((files("encoder") / "recipes" / f"{recipe}.yaml").read_text("utf-8"))
    training, vocabulary = settings["training"], settings["vocabulary"]
    if steps is not None:
        training["steps"] = steps
    if subwords is not None:
        vocabulary |= {"size": subwords} | ({"finer": max(8, subwords // 4)} if "finer" in vocabulary else {})
    for objective in training["objectives"]:
        if objective["kind"] == "translation" and sides:
            objective["target_languages"] = sides[::-1]  # both, or one of the languages would be a source of nothing
    if extend is not None:
        _extend(training, extend)
    return settings


def _extend(training: dict[str, Any], base: str) -> None:
    """Make a recipe's settings those of a student of another encoder, with vectors of the same size."""
    from flows.opening import named_encoder

    training["objectives"] = [{"kind": "distillation", "teacher": base, "sides": "source"}]
    dimension = named_encoder(base).dimension
    shape = {"hidden": dimension // 2} if training["architecture"]["kind"] == "bilstm" else {"dimension": dimension}
    training["architecture"] |= shape


def check_training(config: TrainEncoderConfig) -> None:
    """Refuse what cannot work, before a server is started and anything is trained.

    Raises:
        ConfigError: naming the field.
    """
    from flows.opening import named_encoder
    from storage.sources import list_sources
    from storage.store import Store
    from tasks.train_encoder import frozen_encoders

    if config.credentials:
        return  # only the server knows how to log in to where the files are
    store = Store(config.root)
    store.check_writable()
    named = [("recipe.bitext", part) for part in config.recipe.bitext]
    for setting, part in [*named, *(("evaluation", tests) for tests in config.evaluation)]:
        for field in ("path", "target_path"):
            if path := getattr(part, field, None):
                list_sources(store, path, f"{setting}.{field}")
    for encoder in {*frozen_encoders(config.recipe.training), *filter(None, [config.extends])}:
        named_encoder(encoder)


def _nothing_beside(context: typer.Context, what: list[str]) -> None:
    """Refuse what a YAML file would silently win over."""
    from storage.errors import ConfigError

    sources = {name: context.get_parameter_source(name) for name in context.params if name != "what"}
    given = [f"--{name}" for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
    if beside := [*what[1:], *given]:
        raise ConfigError(f"{what[0]} holds all settings; write there what is to be used of {', '.join(beside)}")


def _show(report: TrainReport) -> None:
    from flows.terminal import say

    show_scores(report.scores)
    if report.held_out_loss is not None and report.held_out_xsim is not None:
        say(
            f"Held-out pairs: loss {report.held_out_loss:.3f}; of {100 * report.held_out_xsim:.2f} % of the sentences "
            "the nearest is not the translation (xsim)."
        )
    place = report.encoder
    say(f"The encoder is at {place}; name it as `encoder` in a build, or: babelmill mine --encoder {place} ...")
