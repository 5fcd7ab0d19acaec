"""two encoders + test sets -> their scores side by side"""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from pydantic import Field

from flows.config import Resources
from flows.evaluation_report import EncoderComparison, comparison_report
from flows.opening import encoder_reference, open_store
from flows.steps import PrefectSteps
from storage.errors import ConfigError
from storage.fingerprint import Settings
from tasks.embed_sentences import EncoderReference
from tasks.evaluate_encoder import evaluate_encoder as evaluate
from tasks.evaluation.sets import EvaluationSet


class CompareEncodersConfig(Settings):
    """What the flow compare_encoders does."""

    root: Annotated[str, Field(description="Where the results are kept: a folder or an fsspec URL")] = "runs"
    a: Annotated[str, Field(description='The first encoder: "default", a folder or a URL')] = "default"
    b: Annotated[str, Field(description="The second encoder, which is compared with the first")] = "default"
    partner_a: Annotated[
        str | None, Field(description="Encoder of the pivot's side beside A, in the same space; null: A itself")
    ] = None
    partner_b: Annotated[str | None, Field(description="The same beside B; null: B itself")] = None
    sets: Annotated[list[EvaluationSet], Field(description="What to score both on")] = []
    credentials: Annotated[list[str], Field(description="Prefect blocks with keys to storage")] = []
    resources: Resources = Resources()


@flow(flow_run_name="compare-{config.a}-{config.b}", description=__doc__)
def compare_encoders(config: CompareEncodersConfig = CompareEncodersConfig()) -> EncoderComparison:
    """Score two encoders on the same sets, and say where one is better beyond doubt."""
    if not config.sets:
        raise ConfigError("sets: name at least one, as {kind: tatoeba, path: ...} or {kind: multiway, path: ...}")
    with open_store(config.root, config.resources, config.credentials) as store:
        sides: list[tuple[str, EncoderReference, EncoderReference | None]] = []
        for encoder, partner in ((config.a, config.partner_a), (config.b, config.partner_b)):
            reference = encoder_reference(store, encoder)
            other = encoder_reference(store, partner) if partner else None
            sides.append((f"encoder-{reference.fingerprint[:12]}", reference, other))
        calls = [(store, name, encoder, one, partner) for name, encoder, partner in sides for one in config.sets]
        found = PrefectSteps("compare").each("evaluate encoder", evaluate, calls)
        pairs = list(zip(found[: len(config.sets)], found[len(config.sets) :], strict=True))
        return comparison_report(store, (_told(config.a, config.partner_a), _told(config.b, config.partner_b)), pairs)


def _told(encoder: str, partner: str | None) -> str:
    return f"{encoder} with {partner}" if partner else encoder
