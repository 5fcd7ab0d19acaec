"""The settings of every kind of set that an encoder is scored on: where its files lie, and how they are read."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from storage.fingerprint import Settings
from tasks.evaluation.bucc import BuccConfig
from tasks.evaluation.classification import ClassifierConfig

PLACES = frozenset({"path", "target_path"})  # where files lie, which changes nothing of what is in them


class Tatoeba(Settings):
    """A folder of LASER's Tatoeba files, such as tatoeba.deu-eng.deu and tatoeba.deu-eng.eng, line by line."""

    kind: Literal["tatoeba"] = "tatoeba"
    path: Annotated[str, Field(description="The folder, local or any fsspec URL")]
    languages: Annotated[list[str], Field(description="Only these, such as deu; none: all that are there")] = []


class Parallel(Settings):
    """Sentences and their translations into a pivot: one Parquet or TSV file, or two text files line by line."""

    path: Annotated[str, Field(description="Parquet or TSV with a header; or the text of one language")]
    target_path: Annotated[str | None, Field(description="The pivot's text, if path is a text file")] = None
    pivot: Annotated[str, Field(description="The language that all others are compared with")] = "eng_Latn"
    pivot_column: Annotated[
        str | None, Field(description="Column with the pivot's sentence; null: rows of equal idx are translations")
    ] = None
    text_column: Annotated[str, Field(description="Column with the sentence")] = "text"
    language_column: Annotated[str, Field(description="Column with the sentence's language")] = "lang"
    languages: Annotated[list[str], Field(description="Only these; none: all in the file")] = []
    where: Annotated[
        dict[str, list[str]], Field(description="Keep only rows whose column has one of these values")
    ] = {}

    @model_validator(mode="after")
    def _text_files_need_a_language(self) -> Self:
        if self.target_path and len(self.languages) != 1:
            raise ValueError("languages: name the one language of path, such as [deu_Latn], with target_path")
        return self


class MultiWay(Parallel):
    """Translations such as FLORES-200: how often a sentence's nearest neighbour in the pivot is not its translation."""

    kind: Literal["multiway"] = "multiway"
    matrix: Annotated[bool, Field(description="Also every language with every other, as a heat map")] = False

    @model_validator(mode="after")
    def _matrix_needs_many(self) -> Self:
        if self.matrix and (self.pivot_column or self.target_path):
            raise ValueError("matrix: every language with every other needs a file with idx, without pivot_column")
        return self


class XsimPlus(Parallel):
    """The same with changed copies of the pivot's sentences (numbers, names, negation) among the neighbours."""

    kind: Literal["xsim_plus"] = "xsim_plus"
    pivot: Annotated[Literal["eng_Latn"], Field(description="English, whose sentences are changed")] = "eng_Latn"


class Bucc(Parallel):
    """Translations hidden among other sentences and mined: F1 at a threshold tuned on one half, for the other half."""

    kind: Literal["bucc"] = "bucc"
    pairs: Annotated[
        int, Field(ge=2, description="Translations that are hidden, but at most a third of a language's")
    ] = 2_000
    distractors: Annotated[
        int | None, Field(ge=0, description="Other sentences on each side, at most; null: all that there are")
    ] = None
    mining: BuccConfig = BuccConfig()


class Reconstruction(Parallel):
    """An n-way or aligned corpus put together again: how often the best candidate among all is the translation."""

    kind: Literal["reconstruction"] = "reconstruction"
    k: Annotated[int, Field(ge=1, le=64, description="Neighbours per side")] = 4


class Margins(Parallel):
    """The distributions of the margins of translations and of the best other candidates."""

    kind: Literal["margins"] = "margins"
    k: Annotated[int, Field(ge=1, le=64, description="Neighbours per side")] = 4


class Classification(Settings):
    """Texts with labels: a classifier learns on one language's vectors and is tested on every language's."""

    kind: Literal["classification"] = "classification"
    path: Annotated[str, Field(description="Parquet or TSV with a header")]
    text_column: Annotated[str, Field(description="Column with the text")] = "text"
    text2_column: Annotated[str | None, Field(description="Column with the second text of a pair; null: none")] = None
    label_column: Annotated[str, Field(description="Column with the label")] = "label"
    language_column: Annotated[str, Field(description="Column with the language")] = "lang"
    split_column: Annotated[str, Field(description="Column that tells train, dev and test apart")] = "split"
    train_language: Annotated[str, Field(description="The only language that is learnt from")] = "eng_Latn"
    train_split: Annotated[str, Field(description="The split that is learnt from")] = "train"
    dev_split: Annotated[str, Field(description="The split by which the classifier's settings are chosen")] = "dev"
    test_split: Annotated[str, Field(description="The split that is scored")] = "test"
    languages: Annotated[list[str], Field(description="Tested on these; none: all in the file")] = []
    classifier: ClassifierConfig = ClassifierConfig()


EvaluationSet = Annotated[
    Tatoeba | MultiWay | XsimPlus | Bucc | Reconstruction | Classification | Margins, Field(discriminator="kind")
]
