"""kept_documents -> the languages that are worth building"""

from __future__ import annotations

from collections import Counter

import pyarrow.compute as pc

from storage.manifest import Dataset
from storage.store import Store
from tasks import stage

UNDETERMINED = "und_Zyyy"


@stage(task_run_name="survey-languages")
def survey_languages(store: Store, kept: list[Dataset], min_documents: int) -> list[str]:
    """Return the languages of at least so many documents, sorted by label; nothing is written."""
    counts = Counter[str]()
    for part in kept:
        for entry in pc.value_counts(store.read(part, ["language"])["language"]).to_pylist():
            counts[entry["values"]] += entry["counts"]
    return sorted(label for label, count in counts.items() if count >= min_documents and label != UNDETERMINED)
