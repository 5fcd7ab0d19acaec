"""seed bitext -> vocabulary -> encoder -> evaluation"""

from __future__ import annotations

from prefect import flow

from flows.config import EncoderRecipe, TrainEncoderConfig
from flows.opening import open_store, trained_encoder
from flows.report import evaluation_report
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
    store = open_store(config.root, config.resources)
    artifact = encoder_from(store, config.name, config.recipe)
    encoder = trained_encoder(store, artifact)
    evaluation_report(store, [evaluate_encoder(store, config.name, encoder, one) for one in config.evaluation])
    return store.url(artifact)


def encoder_from(store: Store, name: str, recipe: EncoderRecipe) -> Artifact:
    """Run the stages that make an encoder, inside whatever flow calls this."""
    bitext = [collect_bitext(store, f"{name}/{place:03d}", part) for place, part in enumerate(recipe.bitext)]
    vocabulary = train_vocabulary(store, name, bitext, recipe.vocabulary)
    return train(store, name, bitext, vocabulary, recipe.training)
