"""What a build made in, what people see of it out: accounts that must balance, tables, and a report."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from prefect import get_run_logger, runtime
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from flows.corpus import Corpus
from storage.errors import CorpusError, ShardError
from storage.fingerprint import Settings
from storage.manifest import Artifact, Dataset
from storage.snapshots import Snapshot
from storage.store import Store
from tasks.select_documents import Scored


class BuildReport(Settings):
    """What a run of build_corpus returns."""

    corpus: str
    version: int
    is_new: bool  # False: everything was there already, and nothing was written
    flow_run: str | None
    funnel: dict[str, int]
    rejected_documents: dict[str, int]
    dropped_sentences: dict[str, int]
    rejected_pairs: dict[str, int]
    quarantined: dict[str, str]
    sentences: dict[str, int]
    pairs: dict[str, int]
    release: str


def check_quarantine(store: Store, scored: dict[str, list[Scored]], limit: float) -> None:
    """Let a few unreadable files pass, but not many.

    Raises:
        ShardError: if more than this share of a crawl's files cannot be read, or none holds a single document.
    """
    for crawl, files in scored.items():
        bad = quarantined(store, [file.documents for file in files])
        told = "; ".join(f"{name}: {reason}" for name, reason in bad.items())
        if not any(file.documents.rows for file in files):
            raise ShardError(f"crawl {crawl}: there is no document in its {len(files)} files{told and ' - '}{told}")
        if len(bad) > limit * len(files):
            raise ShardError(
                f"crawl {crawl}: {len(bad)} of {len(files)} files cannot be read, more than max_quarantined "
                f"= {limit:g} allows; mend or remove them, or raise it: {told}"
            )


def check_accounts(store: Store, corpus: Corpus) -> None:
    """Make sure that no document was lost: records in = kept + rejected, each rejected one with its reason.

    Raises:
        CorpusError: if the books do not balance, which is a fault of babelmill.
    """
    kept, rejected = corpus.kept(), corpus.rejected()
    for documents, good, bad in zip(corpus.documents, kept, rejected, strict=True):
        if documents.rows != good.rows + bad.rows:
            raise CorpusError(
                f"{documents.partition}: {documents.rows} documents in, but {good.rows} kept and {bad.rows} rejected"
            )
    told = _dropped(store, _first_of_each(corpus))
    if sum(told.values()) != _rows(rejected):
        raise CorpusError(f"{_rows(rejected)} documents were rejected, but reasons are known for {sum(told.values())}")


def check_languages(corpus: Corpus, wanted: list[str]) -> None:
    """Make sure that every language that was asked for has sentences.

    Raises:
        CorpusError: naming those that have none.
    """
    empty = [language for language in wanted if not _rows(corpus.unique[language])]
    if empty:
        raise CorpusError(f"languages: there is no sentence in {', '.join(empty)} in these crawls; leave it out")
    if not any(_rows(parts) for parts in corpus.unique.values()):
        raise CorpusError("no sentence is left in any language; `babelmill status` shows the reasons for rejection")


def quarantined(store: Store, documents: list[Dataset]) -> dict[str, str]:
    """Return the crawl files that could not be read, each with the reason."""
    return {one.file: one.reason for part in documents for one in store.manifest(part).quarantined}


def publish_report(store: Store, corpus: Corpus, snapshot: Snapshot, *, is_new: bool) -> BuildReport:
    """Show what a build made as Prefect artifacts, and return it."""
    report = report_of(store, corpus, snapshot, is_new=is_new)
    key = "".join(letter if letter.isalnum() else "-" for letter in corpus.name.lower())
    create_table_artifact(
        key=f"{key}-funnel",
        table=[{"step": step, "rows": f"{rows:,}"} for step, rows in report.funnel.items()],
        description=f"From records to pairs, version {snapshot.number} of {corpus.name}",
    )
    create_markdown_artifact(key=f"{key}-report", markdown=markdown(report), description="What this run made")
    get_run_logger().info(
        "%s version %d %s: %s",
        corpus.name,
        snapshot.number,
        "is new" if is_new else "was there already",
        report.release,
    )
    return report


def report_of(store: Store, corpus: Corpus, snapshot: Snapshot, *, is_new: bool) -> BuildReport:
    """Count what a build made, from its manifests."""
    if corpus.release is None:
        raise CorpusError(f"{corpus.name} has no release")
    return BuildReport(
        corpus=corpus.name,
        version=snapshot.number,
        is_new=is_new,
        flow_run=str(runtime.flow_run.id) if runtime.flow_run.id else None,
        funnel={
            "records": _rows(corpus.documents),
            "kept documents": _rows(corpus.kept()),
            "sentences": _rows(corpus.sentences),
            "unique sentences": sum(_rows(parts) for parts in corpus.unique.values()),
            "mined pairs": _rows(list(corpus.pairs.values())),
            "corpus pairs": _rows(list(corpus.corpora.values())),
        },
        rejected_documents=dict(_dropped(store, _first_of_each(corpus)).most_common()),
        dropped_sentences=dict(_dropped(store, _one_per_kept(corpus)).most_common()),
        rejected_pairs=dict(_dropped(store, list(corpus.corpora.values())).most_common()),
        quarantined=quarantined(store, corpus.documents),
        sentences={language: _rows(parts) for language, parts in corpus.unique.items()},
        pairs={f"{source}-{target}": part.rows for (source, target), part in corpus.corpora.items()},
        release=store.url(corpus.release),
    )


def markdown(report: BuildReport) -> str:
    """Return the report as Markdown, with a drawing of the path."""
    steps = list(report.funnel.items())
    arrows = [f'  s{place}["{step}<br/>{rows:,}"] --> s{place + 1}' for place, (step, rows) in enumerate(steps[:-1])]
    last = f'  s{len(steps) - 1}["{steps[-1][0]}<br/>{steps[-1][1]:,}"]'
    tables = [
        ("Unique sentences", report.sentences),
        ("Pairs", report.pairs),
        ("Rejected documents", report.rejected_documents),
        ("Dropped sentences", report.dropped_sentences),
        ("Rejected pairs", report.rejected_pairs),
    ]
    lines = [f"# {report.corpus}, version {report.version}", "", f"Release: `{report.release}`", ""]
    lines += ["```mermaid", "graph LR", *arrows, last, "```", ""]
    for title, counts in tables:
        if counts:
            lines += [
                f"## {title}",
                "",
                "| | rows |",
                "|---|---|",
                *(f"| {name} | {rows:,} |" for name, rows in counts.items()),
                "",
            ]
    if report.quarantined:
        lines += [
            "## Quarantined files",
            "",
            *(f"- `{_plain(file)}`: {_plain(why)}" for file, why in report.quarantined.items()),
        ]
    return "\n".join(lines)


def evaluation_report(store: Store, evaluations: list[Artifact]) -> list[dict[str, Any]]:
    """Show an encoder's scores as Prefect tables, and return them."""
    found = [json.loads(store.files(one).read()["evaluation.json"]) for one in evaluations]
    for scores in found:
        means = {name: value for name, value in scores.items() if name != "results"}
        create_table_artifact(key=f"evaluation-{scores['set']}", table=scores["results"], description=json.dumps(means))
        get_run_logger().info("evaluation: %s", means)
    return found


def _first_of_each(corpus: Corpus) -> list[Dataset]:
    """Return one dataset per select_documents job; the job's tally stands in each of its manifests."""
    return [selected.signatures for selected in corpus.selected.values()]


def _one_per_kept(corpus: Corpus) -> list[Dataset]:
    """Return one dataset per split_sentences job."""
    each = max(1, len(corpus.languages))
    return corpus.sentences[::each]


def _dropped(store: Store, parts: list[Dataset]) -> Counter[str]:
    counts = Counter[str]()
    for part in parts:
        counts.update(store.manifest(part).dropped)
    return counts


def _rows(parts: list[Dataset]) -> int:
    return sum(part.rows for part in parts)


def _plain(text: str) -> str:
    """Keep names and reasons that come from outside from being read as Markdown or HTML."""
    return "".join(letter if letter.isprintable() and letter not in "`<>|[]" else " " for letter in text)[:300]
