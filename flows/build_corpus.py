"""crawls -> corpora; an update is the same flow run again"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace

from prefect import flow

from flows.approval import await_approval, check_approval
from flows.build_pairs import build_pairs
from flows.config import CorpusConfig, Crawl
from flows.corpus import Corpus
from flows.opening import all_crawls, encoder_reference, language_model, open_store, sources_of
from flows.planning import plan_build, remember_rates, show_plan
from flows.removals import removed_from
from flows.report import BuildReport, check_accounts, check_languages, check_quarantine, publish_report
from flows.steps import PrefectSteps, Steps
from flows.train_encoder import encoder_from
from storage.leases import hold
from storage.manifest import Dataset, Source
from storage.planning import is_planned
from storage.snapshots import Draft, Snapshot, commit, latest
from storage.store import Index, Place, Store, typed
from tasks.deduplicate_sentences import deduplicate_sentences
from tasks.embed_sentences import EncoderReference, embed_sentences
from tasks.extract_documents import extract_documents
from tasks.identify_languages import identify_languages
from tasks.publish import publish
from tasks.score_documents import score_documents
from tasks.select_documents import Scored, Selected, select_documents
from tasks.split_sentences import split_sentences
from tasks.survey_languages import languages_in, survey_languages

_LONGEST_BUILD_SECONDS = 7 * 24 * 3600
_PLACE_AND_SPEED = {"root", "resources", "credentials", "approval"}  # of the settings, what no version is about


@flow(flow_run_name="build-{config.corpus}", description=__doc__)
def build_corpus(config: CorpusConfig = CorpusConfig()) -> BuildReport:
    """Build a corpus, or bring it up to date: whatever an earlier run finished is found and not done again."""
    with open_store(config.root, config.resources, config.credentials) as store:
        return brought_up_to_date(store, config)


def brought_up_to_date(store: Store, config: CorpusConfig, reason: str = "") -> BuildReport:
    """Build the next version of a corpus inside whatever flow calls this, while no other run builds it."""
    check_approval(config)
    with building(store, config.corpus):
        while True:  # once, unless a run that has lost its lease commits in the meantime
            base = latest(store, config.corpus)
            known = replace(store, earlier=places(base))
            crawls = in_order(all_crawls(config), base)
            show_plan(plan_build(known, config, crawls), config.corpus)
            corpus = build(known, config, crawls, PrefectSteps(config.corpus))
            draft = drafted(config, corpus, reason)
            await_approval(known, config, base, draft)
            snapshot = commit(known, base, draft)
            if snapshot is not None:
                remember_rates(known, corpus)
                return publish_report(known, corpus, snapshot, base)


def building(store: Store, corpus: str) -> AbstractContextManager[None]:
    """Be the only run that changes a corpus; another one is waited for."""
    return hold(store, f"build/{corpus}", _LONGEST_BUILD_SECONDS)


def drafted(config: CorpusConfig, corpus: Corpus, reason: str) -> Draft:
    """Return what a finished build would be as a version."""
    named = sorted(config.crawls, key=lambda crawl: corpus.crawls.index(crawl.name))
    settings = config.model_copy(update={"crawls": named}).model_dump(mode="json", exclude=_PLACE_AND_SPEED)
    return Draft(corpus=config.corpus, crawls=corpus.crawls, things=corpus.things(), settings=settings, reason=reason)


def places(base: Snapshot | None) -> Index[Place]:
    """Return what a version has under each name and partition, for `Store.earlier`."""
    return Index({(one.name, one.partition): typed(one) for one in (base.things if base else [])})


def in_order(crawls: list[Crawl], base: Snapshot | None) -> list[Crawl]:
    """Put crawls into the order in which the corpus first saw them; new ones follow in the order of the settings."""
    seen = base.crawls if base else []
    places = {name: place for place, name in enumerate(seen)}
    return sorted(crawls, key=lambda crawl: places.get(crawl.name, len(seen)))


def build(store: Store, config: CorpusConfig, crawls: list[Crawl], steps: Steps) -> Corpus:
    """Run every stage in order, for crawls in order."""
    files = sources_of(store, crawls)
    model = language_model(store, config.identify)
    corpus = Corpus(config.corpus, crawls=[crawl.name for crawl in crawls])
    encoder = encoder_of(store, config, corpus, steps)
    others = {
        language: encoder_reference(store, name, config.embed.precision) for language, name in config.encoders.items()
    }
    scored = build_documents(store, config, files, model, steps)
    steps.check(check_quarantine, store, scored, config.max_quarantined)
    corpus.take_scored(scored)
    corpus.selected = select_in_order(store, config, scored, steps)
    steps.check(check_accounts, store, corpus)
    corpus.languages = config.languages or surveyed(store, config, corpus, steps)
    corpus.sentences, corpus.unique = build_sentences(store, config, corpus, model, steps)
    steps.check(check_languages, corpus, config.languages)
    encoders = dict.fromkeys(corpus.languages, encoder) | others
    corpus.embeddings = embed_all(store, corpus, encoders, steps)
    build_pairs(store, config, corpus, encoders, steps)
    [corpus.release] = steps.each("publish", publish, [(store, config.corpus, corpus.release_inputs(), config.publish)])
    return corpus


def encoder_of(store: Store, config: CorpusConfig, corpus: Corpus, steps: Steps) -> EncoderReference:
    """Return the encoder of a build: a named one, or one that is trained first from the recipe."""
    if isinstance(config.encoder, str):
        return encoder_reference(store, config.encoder, config.embed.precision)
    corpus.trained = encoder_from(store, config.corpus, config.encoder, steps)
    if is_planned(corpus.trained):
        return EncoderReference(artifact=corpus.trained, fingerprint=corpus.trained.content)
    return encoder_reference(store, corpus.trained, config.embed.precision)


def build_documents(
    store: Store, config: CorpusConfig, files: dict[str, list[Source]], model: Source, steps: Steps
) -> dict[str, list[Scored]]:
    """Extract, identify and score the documents of every crawl file; files are worked on side by side."""
    places = [(crawl, file) for crawl, sources in files.items() for file in sources]
    removals = removed_from(store, config.corpus, config.removals)
    documents = steps.each(
        "extract documents",
        extract_documents,
        [(store, crawl, file, config.extract, removals) for crawl, file in places],
    )
    languages = steps.each(
        "identify languages", identify_languages, [(store, part, model, config.identify) for part in documents]
    )
    filters = config.documents.filters
    scores = steps.each(
        "score documents",
        score_documents,
        [(store, part, labels, filters) for part, labels in zip(documents, languages, strict=True)],
    )
    scored: dict[str, list[Scored]] = {crawl: [] for crawl in files}
    for (crawl, _), *parts in zip(places, documents, languages, scores, strict=True):
        scored[crawl].append(Scored(*parts))
    return scored


def select_in_order(
    store: Store, config: CorpusConfig, scored: dict[str, list[Scored]], steps: Steps
) -> dict[str, Selected]:
    """Choose documents crawl after crawl: each is compared with what earlier ones kept."""
    selected: dict[str, Selected] = {}
    for crawl, files in scored.items():
        earlier = [one.signatures for one in selected.values()]
        [selected[crawl]] = steps.each(
            f"select documents {crawl}", select_documents, [(store, crawl, files, earlier, config.documents)]
        )
    return selected


def surveyed(store: Store, config: CorpusConfig, corpus: Corpus, steps: Steps) -> list[str]:
    """Return the languages that are found in enough documents."""
    [survey] = steps.each("survey languages", survey_languages, [(store, config.corpus, corpus.kept())])
    corpus.survey = survey
    if is_planned(survey):  # a plan cannot look into what is not there; most likely the languages are as they were
        return sorted({place.split("/")[0] for name, place in store.earlier.all() if name == "unique_sentences"})
    return languages_in(store, survey, config.min_documents)


def build_sentences(
    store: Store, config: CorpusConfig, corpus: Corpus, model: Source, steps: Steps
) -> tuple[list[Dataset], dict[str, list[Dataset]]]:
    """Split documents into sentences and keep each sentence of a language once over all crawls."""
    languages = corpus.languages
    places = [(crawl, part) for crawl, selected in corpus.selected.items() for part in selected.kept]
    split = steps.each(
        "split sentences",
        split_sentences,
        [(store, part, languages, model, config.sentences) for _, part in places],
    )
    unique: dict[str, list[Dataset]] = {language: [] for language in languages}
    for crawl in corpus.crawls:
        rows = [parts for (name, _), parts in zip(places, split, strict=True) if name == crawl]
        calls = [
            (store, language, crawl, [parts[place] for parts in rows], unique[language])
            for place, language in enumerate(languages)
        ]
        found = steps.each(f"deduplicate sentences {crawl}", deduplicate_sentences, calls, languages)
        for language, part in zip(languages, found, strict=True):
            unique[language] = [*unique[language], part]
    return [part for parts in split for part in parts], unique


def embed_all(
    store: Store, corpus: Corpus, encoders: dict[str, EncoderReference], steps: Steps
) -> dict[str, list[Dataset]]:
    """Embed every language's sentences, each language with its encoder."""
    places = [(language, part) for language, parts in corpus.unique.items() for part in parts]
    found = steps.each(
        "embed sentences",
        embed_sentences,
        [(store, part, encoders[language]) for language, part in places],
        [language for language, _ in places],
    )
    embeddings: dict[str, list[Dataset]] = {language: [] for language in corpus.languages}
    for (language, _), part in zip(places, found, strict=True):
        embeddings[language].append(part)
    return embeddings
