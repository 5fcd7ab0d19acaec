"""encoder + test sets -> scores"""

from __future__ import annotations

from prefect import flow

from flows.config import EvaluateEncoderConfig
from flows.evaluation_report import Scored, evaluation_report
from flows.opening import encoder_reference, open_store
from flows.steps import PrefectSteps
from storage.errors import ConfigError
from tasks.evaluate_encoder import evaluate_encoder as evaluate


@flow(flow_run_name="evaluate-{config.encoder}", description=__doc__)
def evaluate_encoder(config: EvaluateEncoderConfig = EvaluateEncoderConfig()) -> list[Scored]:
    """Score an encoder on test sets; a set that was scored before, with the same encoder, is looked up."""
    if not config.sets:
        raise ConfigError("sets: name at least one, as {kind: tatoeba, path: ...} or {kind: multiway, path: ...}")
    with open_store(config.root, config.resources, config.credentials) as store:
        encoder = encoder_reference(store, config.encoder)
        partner = encoder_reference(store, config.partner) if config.partner else None
        name = f"encoder-{encoder.fingerprint[:12]}"
        calls = [(store, name, encoder, one, partner) for one in config.sets]
        return evaluation_report(store, PrefectSteps(name).each("evaluate encoder", evaluate, calls))
