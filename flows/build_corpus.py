"""crawls -> corpora; an update is the same flow run again"""

from __future__ import annotations

from itertools import combinations
from typing import Any

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner

from encoder.inference import SentenceEncoder
from flows.config import CorpusConfig, Crawl
from flows.corpus import Corpus
from flows.opening import language_model, named_encoder, open_store, sources_of, trained_encoder
from flows.progress import Progress
from flows.report import BuildReport, check_accounts, check_languages, check_quarantine, publish_report
from flows.train_encoder import encoder_from
from storage.manifest import Dataset, Source
from storage.snapshots import Snapshot, commit, latest
from storage.store import Store
from tasks.deduplicate_sentences import deduplicate_sentences
from tasks.embed_sentences import embed_sentences
from tasks.extract_documents import extract_documents
from tasks.find_neighbours import NeighbourConfig, find_neighbours
from tasks.identify_languages import identify_languages
from tasks.mine_pairs import mine_pairs
from tasks.publish import publish
from tasks.score_documents import score_documents
from tasks.score_pairs import score_pairs
from tasks.select_documents import Scored, Selected, select_documents
from tasks.select_pairs import select_pairs
from tasks.split_sentences import split_sentences
from tasks.survey_languages import survey_languages


@flow(
    flow_run_name="build-{config.corpus}",
    description=__doc__,
    task_runner=ThreadPoolTaskRunner[Any](max_workers=8),  # type: ignore[arg-type]  # its futures are a narrower type
)
def build_corpus(config: CorpusConfig = CorpusConfig()) -> BuildReport:
    """Build a corpus, or bring it up to date: whatever an earlier run finished is found and not done again."""
    store = open_store(config.root, config.resources)
    while True:  # once, unless another run of the same corpus commits in the meantime
        base = latest(store, config.corpus)
        crawls = in_order(config.crawls, base)
        corpus = build(store, config, crawls)
        snapshot = commit(store, base, config.corpus, [crawl.name for crawl in crawls], corpus.things())
        if snapshot is not None:
            return publish_report(store, corpus, snapshot, is_new=snapshot is not base)


def in_order(crawls: list[Crawl], base: Snapshot | None) -> list[Crawl]:
    """Put crawls into the order in which the corpus first saw them; new ones follow in the order of the settings."""
    seen = base.crawls if base else []
    places = {name: place for place, name in enumerate(seen)}
    return sorted(crawls, key=lambda crawl: places.get(crawl.name, len(seen)))


def build(store: Store, config: CorpusConfig, crawls: list[Crawl]) -> Corpus:
    """Run every stage in order, for crawls in order."""
    progress = Progress(config.corpus)
    files = sources_of(store, crawls)
    model = language_model(store, config.identify)
    corpus = Corpus(config.corpus, crawls=[crawl.name for crawl in crawls])
    encoder = encoder_of(store, config, corpus)
    scored = build_documents(store, config, files, model, progress)
    check_quarantine(store, scored, config.max_quarantined)
    corpus.take_scored(scored)
    corpus.selected = select_in_order(store, config, scored, progress)
    check_accounts(store, corpus)
    corpus.languages = config.languages or survey_languages(store, corpus.kept(), config.min_documents)
    corpus.sentences, corpus.unique = build_sentences(store, config, corpus, model, progress)
    check_languages(corpus, config.languages)
    corpus.embeddings = embed_all(store, corpus, encoder, progress)
    for pair in progress.over("mine and select pairs", language_pairs(config, corpus.languages)):
        build_pair(store, config, corpus, pair)
    corpus.release = publish(store, config.corpus, corpus.release_inputs(), config.publish)
    return corpus


def encoder_of(store: Store, config: CorpusConfig, corpus: Corpus) -> SentenceEncoder:
    """Return the encoder of a build: a named one, or one that is trained first from the recipe."""
    if isinstance(config.encoder, str):
        return named_encoder(config.encoder)
    corpus.trained = encoder_from(store, config.corpus, config.encoder)
    return trained_encoder(store, corpus.trained)


def build_documents(
    store: Store, config: CorpusConfig, files: dict[str, list[Source]], model: Source, progress: Progress
) -> dict[str, list[Scored]]:
    """Extract, identify and score the documents of every crawl file; files are worked on side by side."""
    places = [(crawl, file) for crawl, sources in files.items() for file in sources]
    documents = progress.each(
        "extract documents", extract_documents, [(store, crawl, file, config.extract) for crawl, file in places]
    )
    languages = progress.each(
        "identify languages", identify_languages, [(store, part, model, config.identify) for part in documents]
    )
    filters = config.documents.filters
    scores = progress.each(
        "score documents",
        score_documents,
        [(store, part, labels, filters) for part, labels in zip(documents, languages, strict=True)],
    )
    scored: dict[str, list[Scored]] = {crawl: [] for crawl in files}
    for (crawl, _), *parts in zip(places, documents, languages, scores, strict=True):
        scored[crawl].append(Scored(*parts))
    return scored


def select_in_order(
    store: Store, config: CorpusConfig, scored: dict[str, list[Scored]], progress: Progress
) -> dict[str, Selected]:
    """Choose documents crawl after crawl: each is compared with what earlier ones kept."""
    selected: dict[str, Selected] = {}
    for crawl in progress.over("select documents", scored):
        earlier = [one.signatures for one in selected.values()]
        selected[crawl] = select_documents(store, crawl, scored[crawl], earlier, config.documents)
    return selected


def build_sentences(
    store: Store, config: CorpusConfig, corpus: Corpus, model: Source, progress: Progress
) -> tuple[list[Dataset], dict[str, list[Dataset]]]:
    """Split documents into sentences and keep each sentence of a language once over all crawls."""
    places = [(crawl, part) for crawl, selected in corpus.selected.items() for part in selected.kept]
    split = progress.each(
        "split sentences",
        split_sentences,
        [(store, part, corpus.languages, model, config.sentences) for _, part in places],
    )
    unique: dict[str, list[Dataset]] = {language: [] for language in corpus.languages}
    for crawl in progress.over("deduplicate sentences", corpus.crawls):
        rows = [parts for (name, _), parts in zip(places, split, strict=True) if name == crawl]
        calls = [
            (store, language, crawl, [parts[place] for parts in rows], unique[language])
            for place, language in enumerate(corpus.languages)
        ]
        for language, part in zip(corpus.languages, progress.run(deduplicate_sentences, calls), strict=True):
            unique[language] = [*unique[language], part]
    return [part for parts in split for part in parts], unique


def embed_all(store: Store, corpus: Corpus, encoder: SentenceEncoder, progress: Progress) -> dict[str, list[Dataset]]:
    """Embed every language's sentences, one crawl after another: each call uses all cores."""
    return {
        language: [embed_sentences(store, part, encoder) for part in corpus.unique[language]]
        for language in progress.over("embed sentences", corpus.languages)
    }


def language_pairs(config: CorpusConfig, languages: list[str]) -> list[tuple[str, str]]:
    """Return the pairs to mine: those that were named, those with the pivot, or all."""
    if config.pairs:
        return config.pairs
    if config.pivot:
        return [(language, config.pivot) for language in languages if language != config.pivot]
    return list(combinations(sorted(languages), 2))


def build_pair(store: Store, config: CorpusConfig, corpus: Corpus, pair: tuple[str, str]) -> None:
    """Search the grid of crawls by crawls, mine from the merged lists, and choose."""
    source, target = pair
    search = NeighbourConfig(k=config.mine.k)
    blocks = [
        find_neighbours(store, left, right, search)
        for left in corpus.embeddings[source]
        for right in corpus.embeddings[target]
    ]
    pairs = mine_pairs(store, f"{source}-{target}", blocks, config.mine)
    sides = corpus.unique[source], corpus.unique[target]
    scores = score_pairs(store, pairs, *sides, config.pair_filters.filters)
    corpus.blocks.extend(blocks)
    corpus.scores.extend(scores)
    corpus.pairs[pair] = pairs
    corpus.corpora[pair], corpus.rejected_pairs[pair] = select_pairs(
        store, pairs, scores, *sides, corpus.documents, config.pair_filters
    )
