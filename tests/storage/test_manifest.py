from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from storage.manifest import Artifact, Dataset, Source, safe_name

HOSTILE = [
    "",
    ".",
    "..",
    "a/../b",
    "/etc",
    "a//b",
    "a/",
    "/a",
    ".hidden",
    "a/.b",
    "a\\b",
    "a b",
    "a\n",
    "a\0",
    "é",
    "s3://x",
    "-rf",
]


@pytest.mark.parametrize("partition", HOSTILE)
def test_a_partition_cannot_leave_its_folder(partition):
    with pytest.raises(ValidationError, match="may hold letters"):
        Dataset(name="documents", partition=partition, fingerprint="f")
    with pytest.raises(ValidationError, match="may hold letters"):
        Artifact(name=partition, partition="p", fingerprint="f")


@given(st.text())
def test_a_safe_name_is_always_one_part_of_a_partition(name):
    safe = safe_name(name)
    assert Dataset(name="documents", partition=f"crawl/{safe}", fingerprint="f").partition == f"crawl/{safe}"
    assert "/" not in safe
    assert len(safe) < 100


@pytest.mark.parametrize(
    "name", [*HOSTILE, "../../etc/passwd", "日本", "x" * 5000, "\ud800", "--", "a/b/c.warc.gz", "'; rm -rf *"]
)
def test_hostile_names_are_made_safe(name):
    Dataset(name="documents", partition=safe_name(name), fingerprint="f")


def test_a_safe_name_is_legible_stable_and_unique():
    assert safe_name("2024/part 1.warc.gz") == "2024-part-1.warc.gz-f294faff"
    assert len({safe_name(name) for name in ("a/b", "a-b", "a b", "a?b")}) == 4


def test_a_reference_is_small_picklable_and_legible():
    one = Dataset(name="documents", partition="crawl/file", fingerprint="f", rows=3)
    assert pickle.loads(pickle.dumps(one)) == one
    assert len(pickle.dumps(one)) < 1000
    assert str(one) == "documents crawl/file"
    assert one.folder == "datasets/documents/crawl/file/f"


def test_a_source_is_its_content_and_name_wherever_it_lies():
    here = Source(url="file:///here/a.txt", name="a.txt", size=1, digest="d")
    assert here.fingerprint == here.model_copy(update={"url": "s3://there/a.txt"}).fingerprint
    assert here.fingerprint != here.model_copy(update={"name": "b.txt"}).fingerprint
    assert here.fingerprint != here.model_copy(update={"digest": "e"}).fingerprint
