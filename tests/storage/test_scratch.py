from __future__ import annotations

import pytest

from storage.errors import SourceError
from storage.scratch import Scratch
from storage.store import Store


def test_what_was_written_last_is_read_until_it_is_cleared(any_store):
    scratch = Scratch(any_store, "artifacts/encoder/small/f1", "training.safetensors")
    assert scratch.read() is None
    scratch.clear()  # of nothing
    for data in (b"first", b"", b"second" * 1000):
        scratch.write(data)
        assert scratch.read() == data
        assert Scratch(Store(any_store.root), scratch.folder, scratch.name).read() == data
    scratch.clear()
    assert scratch.read() is None
    scratch.write(b"again")
    assert scratch.read() == b"again"


def test_its_place_is_told_as_people_write_it(tmp_path):
    scratch = Scratch(Store(f"{tmp_path}/root/"), "artifacts/encoder/small/f1", "training.safetensors")
    scratch.write(b"state")
    assert scratch.url == f"{tmp_path}/root/artifacts/encoder/small/f1/training.safetensors"
    assert (tmp_path / "root/artifacts/encoder/small/f1/training.safetensors").read_bytes() == b"state"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["training.safetensors"]


@pytest.mark.parametrize("folder", ["../elsewhere", "/etc", "artifacts/../../x"])
def test_it_lies_below_the_root(store, folder):
    with pytest.raises(ValueError, match="with '/' between its parts"):
        Scratch(store, folder, "state").write(b"")


def test_storage_that_fails_is_a_source_error(store, tmp_path):
    (tmp_path / "root" / "artifacts" / "state").mkdir(parents=True)
    scratch = Scratch(store, "artifacts", "state")
    for fails in (scratch.read, scratch.clear, lambda: scratch.write(b"")):
        with pytest.raises(SourceError, match="state"):
            fails()
