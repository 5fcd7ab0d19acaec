from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from storage.fingerprint import FINGERPRINT_CHARS, Settings, digest, fingerprint


class Filter(Settings):
    minimum: float = 0.5
    path: str = "here"


def test_a_fingerprint_names_stage_version_settings_and_inputs():
    names = {
        fingerprint("score", 1, Filter(), ["a"]),
        fingerprint("select", 1, Filter(), ["a"]),
        fingerprint("score", 2, Filter(), ["a"]),
        fingerprint("score", 1, Filter(minimum=0.6), ["a"]),
        fingerprint("score", 1, None, ["a"]),
        fingerprint("score", 1, Filter(), ["b"]),
        fingerprint("score", 1, Filter(), [["a"]]),
        fingerprint("score", 1, Filter(), ["a", []]),
        fingerprint("score", 1, Filter(path="there"), ["a"]),
    }
    assert len(names) == 9
    assert {len(name) for name in names} == {FINGERPRINT_CHARS}


@given(st.text(), st.text())
def test_excluded_settings_do_not_matter(one, other):
    assert fingerprint("s", 1, Filter(path=one), [], {"path"}) == fingerprint("s", 1, Filter(path=other), [], {"path"})


@given(st.lists(st.text()), st.lists(st.text()))
def test_different_inputs_have_different_names(one, other):
    assert (fingerprint("s", 1, None, one) == fingerprint("s", 1, None, other)) == (one == other)


@pytest.mark.parametrize("seed", ["0", "1"])
def test_another_process_finds_the_same_name(seed):
    # fixed by value: whoever changes the recipe of fingerprints has every corpus built anew
    program = "from storage.fingerprint import fingerprint; print(fingerprint('score', 1, None, ['a', ['b']]))"
    environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}
    found = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "5833d6f36364ccd591d8a7e366859c28"


def test_settings_are_frozen_and_refuse_unknown_names():
    with pytest.raises(ValidationError, match="frozen"):
        Filter().minimum = 0.1
    with pytest.raises(ValidationError, match="maximum"):
        Filter(maximum=1)


def test_a_digest_is_128_bits_of_the_content():
    assert digest(b"a") != digest(b"b")
    assert len(bytes.fromhex(digest(b""))) == 16
