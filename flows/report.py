"""What a build made in, what people see of it out: accounts that must balance, tables, and a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from prefect import get_run_logger, runtime
from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)

from flows.comparison import compare
from flows.corpus import Corpus
from flows.drawing import margin_plot, margins_of
from flows.lineage import lineage
from flows.markup import plain
from flows.pictures import data_url
from flows.progress import artifact_key
from storage.errors import CorpusError, ShardError
from storage.fingerprint import Settings
from storage.manifest import Dataset
from storage.snapshots import Snapshot
from storage.store import Store
from tasks.find_neighbours import recalls
from tasks.judge_candidates import UNJUDGED
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
    refused_candidates: dict[str, int]  # by guards, before pairs were chosen
    rejected_pairs: dict[str, int]
    quarantined: dict[str, str]
    sentences: dict[str, int]
    pairs: dict[str, int]
    thresholds: dict[str, float]  # least margin of each language pair's pairs
    recalls: dict[str, float]  # of the approximate search, the least of each language pair's blocks; none if exact
    looked_at: dict[str, float]  # share of both sides' sentences that a judge had to look at; none without one
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


def publish_report(store: Store, corpus: Corpus, snapshot: Snapshot, base: Snapshot | None) -> BuildReport:
    """Show what a build made as Prefect artifacts, and return it."""
    is_new = snapshot is not base
    report, title = report_of(store, corpus, snapshot, is_new=is_new), f"version {snapshot.number} of {corpus.name}"
    create_table_artifact(
        key=artifact_key(f"{corpus.name} funnel"),
        table=[{"step": step, "rows": f"{rows:,}"} for step, rows in report.funnel.items()],
        description=f"From records to pairs, {title}",
    )
    create_markdown_artifact(
        key=artifact_key(f"{corpus.name} report"), markdown=markdown(report), description=f"What is in {title}"
    )
    create_link_artifact(
        link=report.release if "://" in report.release else Path(report.release).resolve().as_uri(),
        link_text=f"corpora of {title}",
        key=artifact_key(f"{corpus.name} corpora"),
        description=f"Where the files of {title} are",
    )
    if is_new:
        _publish_news(store, corpus, snapshot, base)
    news = "is new" if is_new else "was there already"
    get_run_logger().info("%s version %d %s: %s", corpus.name, snapshot.number, news, report.release)
    return report


def _publish_news(store: Store, corpus: Corpus, snapshot: Snapshot, base: Snapshot | None) -> None:
    """Show what is worth a look only when something has changed."""
    title = f"version {snapshot.number} of {corpus.name}"
    if _rows(list(corpus.pairs.values())):
        least = min(thresholds_of(store, corpus).values())
        create_image_artifact(
            image_url=data_url(margin_plot(margins_of(store, corpus.pairs.values()), least).encode()),
            key=artifact_key(f"{corpus.name} margins"),
            description=f"Margins of the mined pairs, {title}",
        )
    create_markdown_artifact(
        key=artifact_key(f"{corpus.name} lineage"),
        markdown=lineage(store, snapshot),
        description=f"What {title} is made of",
    )
    if base is not None:
        create_markdown_artifact(
            key=artifact_key(f"{corpus.name} changes"),
            markdown=compare(store, base, snapshot).as_markdown(),
            description=f"What is different from version {base.number}",
        )


def thresholds_of(store: Store, corpus: Corpus) -> dict[str, float]:
    """Return the least margin that each language pair's pairs were mined with."""
    settings = {"-".join(pair): store.manifest(part).settings or {} for pair, part in corpus.pairs.items()}
    return {pair: float(cast("float", of_pair["threshold"])) for pair, of_pair in settings.items()}


def recalls_of(store: Store, corpus: Corpus) -> dict[str, float]:
    """Return the least recall that was measured in each language pair whose search was approximate."""
    found: dict[str, float] = {}
    for block in corpus.blocks if corpus.indexes else []:
        pair = block.partition.split("/")[0]
        for recall in recalls(store.manifest(block).dropped).values():
            found[pair] = min(recall, found.get(pair, 1.0))
    return found


def looked_at_of(store: Store, corpus: Corpus) -> dict[str, float]:
    """Return the share of each language pair's sentences that a judge had to look at, and another encoder to embed."""
    shares = {}
    for part in corpus.scores:
        pair, _, kind = part.partition.partition("/")
        if kind == "judge":
            languages = pair.split("-")
            sentences = sum(_rows(corpus.unique[language]) for language in languages)
            shares[pair] = 1 - store.manifest(part).dropped.get(UNJUDGED, 0) / max(1, sentences)
    return shares


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
        refused_candidates=dict(_dropped(store, list(corpus.pairs.values())).most_common()),
        rejected_pairs=dict(_dropped(store, list(corpus.corpora.values())).most_common()),
        quarantined=quarantined(store, corpus.documents),
        sentences={language: _rows(parts) for language, parts in corpus.unique.items()},
        pairs={f"{source}-{target}": part.rows for (source, target), part in corpus.corpora.items()},
        thresholds=thresholds_of(store, corpus),
        recalls=recalls_of(store, corpus),
        looked_at=looked_at_of(store, corpus),
        release=store.url(corpus.release),
    )


def markdown(report: BuildReport) -> str:
    """Return the report as Markdown, with a drawing of the path."""
    steps = list(report.funnel.items())
    arrows = [f'  s{place}["{step}<br/>{rows:,}"] --> s{place + 1}' for place, (step, rows) in enumerate(steps[:-1])]
    last = f'  s{len(steps) - 1}["{steps[-1][0]}<br/>{steps[-1][1]:,}"]'
    tables: list[tuple[str, Mapping[str, float]]] = [
        ("Unique sentences", report.sentences),
        ("Pairs", report.pairs),
        ("Least margins", report.thresholds),
        ("Least recall of the approximate search", report.recalls),
        ("Share of sentences that the judge looked at", report.looked_at),
        ("Rejected documents", report.rejected_documents),
        ("Dropped sentences", report.dropped_sentences),
        ("Refused candidates", report.refused_candidates),
        ("Rejected pairs", report.rejected_pairs),
    ]
    lines = [f"# {report.corpus}, version {report.version}", "", *_links(report), ""]
    lines += ["```mermaid", "graph LR", *arrows, last, "```", ""]
    for title, counts in tables:
        if counts:
            lines += [
                f"## {title}",
                "",
                "| | |",
                "|---|---|",
                *(f"| {name} | {_number(count)} |" for name, count in counts.items()),
                "",
            ]
    if report.quarantined:
        lines += [
            "## Quarantined files",
            "",
            *(f"- `{plain(file)}`: {plain(why)}" for file, why in report.quarantined.items()),
        ]
    return "\n".join(lines)


def _number(count: float) -> str:
    return f"{count:,}" if isinstance(count, int) else f"{count:.4g}"


def _links(report: BuildReport) -> list[str]:
    """Say where the corpora are; a release on a server is a link."""
    card = f"{report.release}/README.md"
    links = f"[data card]({card}), [files]({report.release})" if "://" in report.release else ""
    return [f"Release: `{report.release}`", *([f"Open: {links}"] if links else [])]


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
