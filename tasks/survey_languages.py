"""kept_documents -> survey (artifact: how many documents there are in each language)"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import pyarrow.compute as pc

from storage.handles import Rows
from storage.jobs import Job, Slot, Tally
from storage.manifest import Artifact, Dataset
from storage.store import Store
from tasks import stage
from tasks.text.labels import UNDETERMINED

VERSION = 1
_FILE = "languages.json"


@stage(task_run_name="survey-languages-{corpus}")
def survey_languages(store: Store, corpus: str, kept: list[Dataset]) -> Artifact:
    """Count the kept documents of each language."""
    job = Job("survey_languages", VERSION, None, (tuple(kept),), (Slot("survey", corpus),), _count, need="core")
    return store.make(job)


def languages_in(store: Store, survey: Artifact, min_documents: int) -> list[str]:
    """Return the languages of at least so many documents, sorted by label."""
    counts: dict[str, int] = json.loads(store.files(survey).read()[_FILE])
    return sorted(label for label, count in counts.items() if count >= min_documents and label != UNDETERMINED)


def _count(_: Tally, __: None, kept: list[Rows]) -> Iterator[tuple[str, list[bytes]]]:
    counts = Counter[str]()
    for part in kept:
        for batch in part.batches(["language"]):
            for entry in pc.value_counts(batch["language"]).to_pylist():
                counts[entry["values"]] += entry["counts"]
    yield _FILE, [json.dumps(dict(sorted(counts.items())), indent=1).encode()]
