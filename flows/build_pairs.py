"""embeddings of every language -> pairs of languages, mined, scored and chosen: the second half of a build"""

from __future__ import annotations

from itertools import combinations

from flows.calibrations import load_calibrations, resolve
from flows.config import CorpusConfig
from flows.corpus import Corpus, Pair
from flows.opening import encoder_reference
from flows.steps import Steps
from storage.manifest import Artifact, Dataset
from storage.store import Store
from tasks.align_documents import align_documents
from tasks.embed_sentences import EncoderReference
from tasks.find_neighbours import NeighbourConfig, find_neighbours
from tasks.index_embeddings import index_embeddings
from tasks.judge_candidates import judge_candidates
from tasks.match_documents import LanguageSide, match_documents
from tasks.mine_pairs import mine_pairs
from tasks.score_pairs import score_pairs
from tasks.select_pairs import select_pairs
from tasks.similarity.judging import EncoderJudge

Work = tuple[list[Dataset], list[Dataset], list[Dataset]]  # blocks of neighbours, and both sides' sentences


def language_pairs(config: CorpusConfig, languages: list[str]) -> list[Pair]:
    """Return the pairs to mine: those that were named, those with the pivot, or all."""
    if config.pairs:
        return config.pairs
    if config.pivot:
        return [(language, config.pivot) for language in languages if language != config.pivot]
    return list(combinations(sorted(languages), 2))


def build_pairs(
    store: Store, config: CorpusConfig, corpus: Corpus, encoders: dict[str, EncoderReference], steps: Steps
) -> None:
    """Search the grid of crawls by crawls for every language pair, mine from the merged lists, and choose."""
    pairs = language_pairs(config, corpus.languages)
    blocks = search_grid(store, config, corpus, pairs, steps)
    corpus.blocks = [block for of_pair in blocks.values() for block in of_pair]
    sides = [(corpus.unique[source], corpus.unique[target]) for source, target in pairs]
    work: dict[Pair, Work] = {pair: (blocks[pair], *both) for pair, both in zip(pairs, sides, strict=True)}
    judged = judgements(store, config, work, encoders, steps)
    links = local_links(store, config, corpus, pairs, encoders, steps)
    known = load_calibrations(store, config.corpus)
    calls = []
    for pair, what in work.items():
        fingerprints = encoders[pair[0]].fingerprint, encoders[pair[1]].fingerprint
        judge = judge_of(store, config, encoders[pair[0]]).fingerprint
        settings = resolve(config.mine, known, pair, fingerprints, judge)
        calls.append((store, "-".join(pair), *what, settings, judged.get(pair), links.get(pair, ())))
    mined = steps.each("mine pairs", mine_pairs, calls)
    scores = steps.each(
        "score pairs",
        score_pairs,
        [(store, found, *both, config.pair_filters.filters) for found, both in zip(mined, sides, strict=True)],
    )
    selected = steps.each(
        "select pairs",
        select_pairs,
        [
            (store, found, values, *both, corpus.documents, config.pair_filters)
            for found, values, both in zip(mined, scores, sides, strict=True)
        ],
    )
    corpus.scores = [*judged.values(), *(part for parts in scores for part in parts)]
    corpus.pairs = dict(zip(pairs, mined, strict=True))
    corpus.corpora = {pair: good for pair, (good, _) in zip(pairs, selected, strict=True)}
    corpus.rejected_pairs = {pair: bad for pair, (_, bad) in zip(pairs, selected, strict=True)}


def search_grid(
    store: Store, config: CorpusConfig, corpus: Corpus, pairs: list[Pair], steps: Steps
) -> dict[Pair, list[Dataset]]:
    """Find neighbours in every block of crawls by crawls: exactly, or through indexes, one a language and crawl."""
    search = NeighbourConfig(k=config.mine.k, search=config.search)
    corpus.indexes = indexed(store, config, corpus, pairs, steps)
    grid = [
        (pair, left, right)
        for pair in pairs
        for left in corpus.embeddings[pair[0]]
        for right in corpus.embeddings[pair[1]]
    ]
    calls = []
    for _, left, right in grid:
        found = corpus.indexes.get(left.partition), corpus.indexes.get(right.partition)
        calls.append((store, left, right, search, None if None in found else found))
    blocks = steps.each("find neighbours", find_neighbours, calls, ["-".join(pair) for pair, _, _ in grid])
    found_of: dict[Pair, list[Dataset]] = {pair: [] for pair in pairs}
    for (pair, _, _), block in zip(grid, blocks, strict=True):
        found_of[pair].append(block)
    return found_of


def indexed(store: Store, config: CorpusConfig, corpus: Corpus, pairs: list[Pair], steps: Steps) -> dict[str, Artifact]:
    """Return an index of each partition that is in some pair and large enough to have one, by partition."""
    languages = sorted({language for pair in pairs for language in pair})
    parts = [part for language in languages for part in corpus.embeddings[language]]
    wanted = [part for part in parts if config.search.wants_index(part.rows)]
    if not wanted:
        return {}
    made = steps.each("index embeddings", index_embeddings, [(store, part, config.search) for part in wanted])
    return {part.partition: index for part, index in zip(wanted, made, strict=True)}


def judgements(
    store: Store,
    config: CorpusConfig,
    work: dict[Pair, Work],
    encoders: dict[str, EncoderReference],
    steps: Steps,
) -> dict[Pair, Dataset]:
    """Let a judge, if the settings name one, score what is plausible in every language pair."""
    judging = config.mine.judging
    if judging is None:
        return {}
    by = {language: judge_of(store, config, one) for language, one in encoders.items()}
    calls = [(store, "-".join(pair), *what, (by[pair[0]], by[pair[1]]), judging) for pair, what in work.items()]
    return dict(zip(work, steps.each("judge candidates", judge_candidates, calls), strict=True))


def judge_of(store: Store, config: CorpusConfig, own: EncoderReference) -> EncoderReference:
    """Return the encoder that judges sentences: another one, or for alignments the one that has embedded them."""
    judge = config.mine.judge
    if isinstance(judge, EncoderJudge):
        return encoder_reference(store, judge.encoder, config.embed.precision)
    return own


def local_links(  # noqa: PLR0913, PLR0917 - two stages that need all of a build
    store: Store,
    config: CorpusConfig,
    corpus: Corpus,
    pairs: list[Pair],
    encoders: dict[str, EncoderReference],
    steps: Steps,
) -> dict[Pair, tuple[Dataset, ...]]:
    """Match documents within each crawl, if the settings ask for that, and align their sentences."""
    if config.match is None:
        return {}
    places = [(pair, number, crawl) for pair in pairs for number, crawl in enumerate(corpus.crawls)]
    sides = [tuple(_language_side(corpus, language, number) for language in pair) for pair, number, _ in places]
    matched = steps.each(
        "match documents",
        match_documents,
        [
            (store, "-".join(pair), crawl, corpus.selected[crawl].kept, *both, config.match)
            for (pair, _, crawl), both in zip(places, sides, strict=True)
        ],
    )
    aligned = steps.each(
        "align documents",
        align_documents,
        [
            (store, found, *both, (encoders[pair[0]], encoders[pair[1]]), config.align)
            for (pair, _, _), both, found in zip(places, sides, matched, strict=True)
        ],
    )
    corpus.matches = [*matched, *aligned]
    links: dict[Pair, tuple[Dataset, ...]] = dict.fromkeys(pairs, ())
    for (pair, _, _), found in zip(places, aligned, strict=True):
        links[pair] = (*links[pair], found)
    return links


def _language_side(corpus: Corpus, language: str, number: int) -> LanguageSide:
    """Return a language's sentences in a crawl, and the vectors that they may have: those of crawls up to it."""
    place = f"{language}/{corpus.crawls[number]}/"
    sentences = [part for part in corpus.sentences if part.partition.startswith(place)]
    return LanguageSide(sentences, corpus.embeddings[language][: number + 1])
