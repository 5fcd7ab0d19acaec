"""seed bitext -> vocabulary -> encoder -> evaluation"""

from __future__ import annotations

from prefect import flow

from encoder.objectives import Distillation
from flows.config import EncoderRecipe, TrainEncoderConfig
from flows.evaluation_report import comparison_report, evaluation_report
from flows.opening import encoder_reference, open_store
from flows.steps import PrefectSteps, Steps
from flows.training_report import TrainReport, training_report
from storage.errors import ConfigError
from storage.manifest import Artifact
from storage.store import Store
from tasks.collect_bitext import collect_bitext
from tasks.evaluate_encoder import evaluate_encoder
from tasks.train_encoder import train_encoder as train
from tasks.train_vocabulary import train_vocabulary


@flow(flow_run_name="train-encoder-{config.name}", description=__doc__)
def train_encoder(config: TrainEncoderConfig) -> TrainReport:
    """Train an encoder from parallel text and score it; what an earlier run finished is not done again.

    One that extends another is scored beside it: the other reads all, before; the new one reads its languages, and the
    other the pivot, after.

    Returns:
        Where the encoder is, which serves as the setting `encoder` of a build, and its scores.
    """
    recipe = extended(config.recipe, config.extends) if config.extends else config.recipe
    with open_store(config.root, config.resources, config.credentials) as store:
        steps = PrefectSteps(config.name)
        artifact = encoder_from(store, config.name, recipe, steps)
        encoder = encoder_reference(store, artifact)
        base = encoder_reference(store, config.extends) if config.extends else None
        calls = [(store, config.name, encoder, one, base) for one in config.evaluation]
        found = steps.each("evaluate encoder", evaluate_encoder, calls)
        scored = evaluation_report(store, found)
        if base is not None and config.extends is not None and config.evaluation:
            calls = [(store, f"{config.name}-before", base, one, None) for one in config.evaluation]
            before = steps.each("evaluate encoder before", evaluate_encoder, calls)
            comparison_report(store, (config.extends, config.name), list(zip(before, found, strict=True)))
        return training_report(store, artifact, scored)


def extended(recipe: EncoderRecipe, base: str) -> EncoderRecipe:
    """Return a recipe that teaches the space of another encoder, by distillation into it (LASER3).

    Raises:
        ConfigError: if the recipe distils from something else.
    """
    objectives = recipe.training.objectives
    for one in objectives:
        if isinstance(one, Distillation) and one.teacher != base:
            raise ConfigError(f"recipe.training.objectives: the teacher is {one.teacher}, but extends is {base}")
    if not any(isinstance(one, Distillation) for one in objectives):
        objectives = (Distillation(teacher=base, sides="source"),)
    return recipe.model_copy(update={"training": recipe.training.model_copy(update={"objectives": objectives})})


def encoder_from(store: Store, name: str, recipe: EncoderRecipe, steps: Steps) -> Artifact:
    """Run the stages that make an encoder, inside whatever flow calls this."""
    sources = [(store, f"{name}/{place:03d}", part) for place, part in enumerate(recipe.bitext)]
    bitext = steps.each("collect bitext", collect_bitext, sources)
    [vocabulary] = steps.each("train vocabulary", train_vocabulary, [(store, name, bitext, recipe.vocabulary)])
    calls = [(store, name, bitext, vocabulary, recipe.training)]
    encoder: Artifact = steps.each("train encoder", train, calls)[0]
    return encoder
