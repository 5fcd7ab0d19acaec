"""Every stage's settings, composed: what a YAML file, the UI's form and a flow's one parameter hold."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from encoder.training import TrainingConfig
from encoder.vocabulary import VocabularyConfig
from flows.clusters import ClusterSettings
from storage.fingerprint import Settings
from tasks.embed_sentences import EmbedConfig
from tasks.evaluation.sets import EvaluationSet
from tasks.formats.bitext import BitextSource
from tasks.formats.documents import ExtractConfig
from tasks.mine_pairs import MinePairsConfig
from tasks.publish import PublishConfig
from tasks.select_pairs import SelectPairsConfig
from tasks.similarity.document_alignment import AlignConfig
from tasks.similarity.document_matching import MatchConfig
from tasks.similarity.indexes import IndexConfig
from tasks.text.labels import parse_label
from tasks.text.language import IdentifyConfig
from tasks.text.removals import Removals
from tasks.text.selection import SelectDocumentsConfig
from tasks.text.sentences import SentenceConfig

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]*$")]
Language = Annotated[str, AfterValidator(parse_label)]


class Resources(Settings):
    """How fast, never what: nothing here changes a byte of the result."""

    workers: Annotated[int, Field(ge=0, le=1024, description="Processes for text stages; 0 works in this one")] = 2
    threads: Annotated[int, Field(ge=0, le=1024, description="Threads for encoder and search; 0 takes all cores")] = 0
    shard_minutes: Annotated[
        float | None, Field(gt=0, description="Longest time that one shard may take in a child process; null: any")
    ] = None
    cluster: Annotated[
        ClusterSettings | None, Field(description="Dask workers to compute on; null: this machine alone")
    ] = None


class Crawl(Settings):
    """One crawl: a set of files that came together."""

    name: Annotated[Name, Field(description="What it is called, for ever: ids and provenance carry it")]
    path: Annotated[str, Field(description="File, folder or glob, local or any fsspec URL")]


class EncoderRecipe(Settings):
    """How an encoder is made from parallel text."""

    bitext: Annotated[list[BitextSource], Field(description="Parallel text to learn from", min_length=1)]
    vocabulary: VocabularyConfig = VocabularyConfig()
    training: TrainingConfig = TrainingConfig()


class TrainEncoderConfig(Settings):
    """What the flow train_encoder does."""

    root: Annotated[str, Field(description="Where everything is kept: a folder or an fsspec URL")] = "runs"
    name: Annotated[Name, Field(description="What the encoder is called")] = "encoder"
    recipe: Annotated[EncoderRecipe, Field(description="Bitext, vocabulary and training")]
    extends: Annotated[
        str | None,
        Field(
            description='Encoder whose space the new one learns to share, such as "default": nothing is embedded again'
        ),
    ] = None
    evaluation: Annotated[list[EvaluationSet], Field(description="Sets to score the trained encoder on")] = []
    credentials: Annotated[list[str], Field(description="Prefect blocks with keys to storage")] = []
    resources: Resources = Resources()


class EvaluateEncoderConfig(Settings):
    """What the flow evaluate_encoder does."""

    root: Annotated[str, Field(description="Where the results are kept: a folder or an fsspec URL")] = "runs"
    encoder: Annotated[str, Field(description='"default", a folder or a URL')] = "default"
    partner: Annotated[
        str | None, Field(description="Encoder of the pivot's side, in the same space; null: the same encoder")
    ] = None
    sets: Annotated[list[EvaluationSet], Field(description="What to score it on")] = []
    credentials: Annotated[list[str], Field(description="Prefect blocks with keys to storage")] = []
    resources: Resources = Resources()


class CorpusConfig(Settings):
    """What a corpus is made of, and how."""

    root: Annotated[str, Field(description="Where everything is kept: a folder or an fsspec URL")] = "runs"
    corpus: Annotated[Name, Field(description="What the corpus is called")] = "corpus"
    crawls: Annotated[list[Crawl], Field(description="In the order in which they came; new ones at the end")] = []
    crawl_folder: Annotated[
        str | None, Field(description="Every folder in it is a crawl too; new ones are found by their names")
    ] = None
    crawl_marker: Annotated[
        str, Field(description="A folder counts once it holds this file, such as _SUCCESS; empty: at once")
    ] = ""
    removals: Annotated[
        Removals, Field(description="What must not be in it, besides what `babelmill remove` has taken down")
    ] = Removals()
    languages: Annotated[list[Language], Field(description="Labels such as deu_Latn; none: all that are found")] = []
    min_documents: Annotated[int, Field(ge=1, description="A language found in fewer documents is left out")] = 1
    pairs: Annotated[list[tuple[Language, Language]], Field(description="Pairs to mine; none: see pivot")] = []
    pivot: Annotated[Language | None, Field(description="Mine every language with this one; null: all pairs")] = None
    encoder: Annotated[
        str | EncoderRecipe, Field(description='"default", a folder, a URL, or a recipe to train from first')
    ] = "default"
    encoders: Annotated[
        dict[Language, str],
        Field(description="Languages that another encoder embeds, one that was trained to extend `encoder`"),
    ] = {}
    extract: ExtractConfig = ExtractConfig()
    identify: IdentifyConfig = IdentifyConfig()
    documents: SelectDocumentsConfig = SelectDocumentsConfig()
    sentences: SentenceConfig = SentenceConfig()
    embed: EmbedConfig = EmbedConfig()
    search: IndexConfig = IndexConfig()
    match: Annotated[
        MatchConfig | None,
        Field(description="Match documents of a host that translate each other, and align their sentences; null: no"),
    ] = None
    align: AlignConfig = AlignConfig()
    mine: MinePairsConfig = MinePairsConfig()
    pair_filters: SelectPairsConfig = SelectPairsConfig()
    publish: PublishConfig = PublishConfig()
    max_quarantined: Annotated[
        float, Field(ge=0, le=1, description="Share of a crawl's files that may be unreadable before the run fails")
    ] = 0.25
    approval: Annotated[
        bool, Field(description="Suspend the run until a person approves the new version in Prefect's UI")
    ] = False
    credentials: Annotated[
        list[str], Field(description="Prefect blocks with keys to storage, such as remote-file-system/lake")
    ] = []
    resources: Resources = Resources()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if twice := _twice([crawl.name for crawl in self.crawls]):
            raise ValueError(f"crawls: the name {twice} is used twice; each crawl needs its own")
        if twice := _twice(self.languages):
            raise ValueError(f"languages: {twice} is named twice")
        if twice := _twice(["-".join(pair) for pair in self.pairs]):
            raise ValueError(f"pairs: {twice} is named twice")
        for pair in self.pairs:
            if pair[0] == pair[1]:
                raise ValueError(f"pairs: {pair[0]} cannot be paired with itself")
            if self.languages and (missing := sorted(set(pair) - set(self.languages))):
                raise ValueError(f"pairs: {', '.join(missing)} is not among the languages; add it there")
        if self.pivot and self.languages and self.pivot not in self.languages:
            raise ValueError(f"pivot: {self.pivot} is not among the languages; add it there")
        return self


class RemoveConfig(Settings):
    """What the flow remove_documents takes out of a corpus."""

    root: Annotated[str, Field(description="Where everything is kept: a folder or an fsspec URL")] = "runs"
    corpus: Annotated[Name, Field(description="What the corpus is called")] = "corpus"
    urls: Annotated[list[str], Field(description="Addresses of pages, in every crawl")] = []
    hosts: Annotated[list[str], Field(description="Hosts with all their pages and subdomains")] = []
    documents: Annotated[list[str], Field(description="doc_id of single documents, 32 hexadecimal digits each")] = []
    personal: Annotated[
        list[str], Field(description="Digests of e-mail addresses, phone or IP numbers, as `babelmill digest` prints")
    ] = []
    reason: Annotated[str, Field(max_length=200, description="Why, for the record")] = ""
    purge: Annotated[bool, Field(description="Erase older versions, which still hold what was removed")] = False
    credentials: Annotated[list[str], Field(description="Prefect blocks with keys to storage")] = []
    resources: Resources = Resources()

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.asked:
            raise ValueError("name what is to be removed: urls, hosts, documents or personal")
        return self

    @property
    def asked(self) -> Removals:
        """What is to be removed, in the form in which it is compared.

        Raises:
            ValueError: naming the field, if an entry is malformed.
        """
        try:
            return Removals(documents=self.documents, urls=self.urls, hosts=self.hosts, personal=self.personal)
        except ValidationError as error:
            problems = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
            raise ValueError("; ".join(problems)) from error


def _twice(names: list[str]) -> str:
    """Return the names that occur more than once, as one text."""
    return ", ".join(sorted({name for name in names if names.count(name) > 1}))
