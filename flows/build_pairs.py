"""embeddings of every language -> pairs of languages, mined, scored and chosen: the second half of a build"""

from __future__ import annotations

from itertools import combinations

from flows.calibrations import load_calibrations, resolve
from flows.config import CorpusConfig
from flows.corpus import Corpus, Pair
from flows.steps import Steps
from storage.manifest import Artifact, Dataset
from storage.store import Store
from tasks.embed_sentences import EncoderReference
from tasks.find_neighbours import NeighbourConfig, find_neighbours
from tasks.index_embeddings import index_embeddings
from tasks.mine_pairs import mine_pairs
from tasks.score_pairs import score_pairs
from tasks.select_pairs import select_pairs


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
    known = load_calibrations(store, config.corpus)
    calls = []
    for pair, both in zip(pairs, sides, strict=True):
        fingerprints = encoders[pair[0]].fingerprint, encoders[pair[1]].fingerprint
        settings = resolve(config.mine, known, pair, fingerprints)
        calls.append((store, "-".join(pair), blocks[pair], *both, settings))
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
    corpus.scores = [part for parts in scores for part in parts]
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
