"""seed bitext -> vocabulary -> encoder -> evaluation"""

from __future__ import annotations

from prefect import flow

from flows.config import EncoderRecipe, TrainEncoderConfig
from flows.opening import encoder_reference, open_store
from flows.report import evaluation_report
from flows.steps import PrefectSteps, Steps
from storage.manifest import Artifact
from storage.store import Store
from tasks.collect_bitext import collect_bitext
from tasks.evaluate_encoder import evaluate_encoder
from tasks.train_encoder import train_encoder as train
from tasks.train_vocabulary import train_vocabulary


@flow(flow_run_name="train-encoder-{config.name}", description=__doc__)
def train_encoder(config: TrainEncoderConfig) -> str:
    """Train an encoder from parallel text and score it; what an earlier run finished is not done again.

    Returns:
        Where the encoder is: a folder or URL that serves as the setting `encoder` of a build.
    """
    with open_store(config.root, config.resources, config.credentials) as store:
        steps = PrefectSteps(config.name)
        artifact = encoder_from(store, config.name, config.recipe, steps)
        encoder = encoder_reference(store, artifact)
        calls = [(store, config.name, encoder, one) for one in config.evaluation]
        evaluation_report(store, steps.each("evaluate encoder", evaluate_encoder, calls))
        return store.url(artifact)


def encoder_from(store: Store, name: str, recipe: EncoderRecipe, steps: Steps) -> Artifact:
    """Run the stages that make an encoder, inside whatever flow calls this."""
    sources = [(store, f"{name}/{place:03d}", part) for place, part in enumerate(recipe.bitext)]
    bitext = steps.each("collect bitext", collect_bitext, sources)
    [vocabulary] = steps.each("train vocabulary", train_vocabulary, [(store, name, bitext, recipe.vocabulary)])
    calls = [(store, name, bitext, vocabulary, recipe.training)]
    encoder: Artifact = steps.each("train encoder", train, calls)[0]
    return encoder
