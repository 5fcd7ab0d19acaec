"""What one build made: the references that its snapshot, release and report are about."""

from __future__ import annotations

from dataclasses import dataclass, field

from storage.manifest import Artifact, Dataset, Reference
from tasks.publish import Release
from tasks.select_documents import Scored, Selected

Pair = tuple[str, str]


@dataclass
class Corpus:
    """A corpus in the making; the flow fills it stage by stage."""

    name: str
    crawls: list[str]
    documents: list[Dataset] = field(default_factory=list)
    beside: list[Dataset] = field(default_factory=list)  # languages and scores of the documents
    selected: dict[str, Selected] = field(default_factory=dict)
    languages: list[str] = field(default_factory=list)
    sentences: list[Dataset] = field(default_factory=list)
    unique: dict[str, list[Dataset]] = field(default_factory=dict)
    embeddings: dict[str, list[Dataset]] = field(default_factory=dict)
    indexes: dict[str, Artifact] = field(default_factory=dict)
    blocks: list[Dataset] = field(default_factory=list)
    matches: list[Dataset] = field(default_factory=list)  # document_pairs and local_pairs
    scores: list[Dataset] = field(default_factory=list)
    pairs: dict[Pair, Dataset] = field(default_factory=dict)
    corpora: dict[Pair, Dataset] = field(default_factory=dict)
    rejected_pairs: dict[Pair, Dataset] = field(default_factory=dict)
    survey: Artifact | None = None  # of languages, unless they were named
    trained: Artifact | None = None  # the encoder, if this build trained it
    release: Artifact | None = None

    def take_scored(self, scored: dict[str, list[Scored]]) -> None:
        """Note the documents and what was found out about them."""
        files = [file for crawl in scored.values() for file in crawl]
        self.documents = [file.documents for file in files]
        self.beside = [part for file in files for part in (file.languages, *file.scores)]

    def kept(self) -> list[Dataset]:
        """Return the kept documents, in the order of crawls and files."""
        return [part for selected in self.selected.values() for part in selected.kept]

    def rejected(self) -> list[Dataset]:
        """Return the rejected documents, in the order of crawls and files."""
        return [part for selected in self.selected.values() for part in selected.rejected]

    def release_inputs(self) -> Release:
        """Return what a release is made of."""
        return Release(
            corpora=list(self.corpora.values()),
            rejected_pairs=list(self.rejected_pairs.values()),
            unique=[part for parts in self.unique.values() for part in parts],
            kept=self.kept(),
            rejected_documents=self.rejected(),
            documents=self.documents,
        )

    def things(self) -> list[Reference]:
        """Return everything that belongs to this version of the corpus."""
        tables = [
            *self.documents,
            *self.beside,
            *self.kept(),
            *self.rejected(),
            *(selected.signatures for selected in self.selected.values()),
            *self.sentences,
            *(part for parts in (*self.unique.values(), *self.embeddings.values()) for part in parts),
            *self.blocks,
            *self.matches,
            *self.scores,
            *self.pairs.values(),
            *self.corpora.values(),
            *self.rejected_pairs.values(),
        ]
        single = [one for one in (self.survey, self.trained, self.release) if one is not None]
        artifacts = [*self.indexes.values(), *single]
        return [Reference.model_validate(one.model_dump()) for one in (*tables, *artifacts)]
