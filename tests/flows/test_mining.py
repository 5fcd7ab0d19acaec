from __future__ import annotations

import numpy as np
import pytest

from flows.mining_inputs import MineFilesConfig, map_vectors, places_of, read_lines, side_of_rows, unit_vectors
from storage.errors import ConfigError, SourceError

FAILED = 1
RETRIEVALS = {"fwd": "forward", "bwd": "backward", "intersect": "intersection", "max": "max", "union": "union"}


@pytest.fixture
def files(tmp_path):
    """Two texts of 40 lines, with the embeddings that LASER would write: raw float32 of 1024 numbers, of any length."""
    chance = np.random.default_rng(0)
    meaning = chance.normal(size=(40, 1024)) + 1
    paths = []
    for number, side in enumerate(("de", "en")):
        text, vectors = tmp_path / f"text.{side}", tmp_path / f"enc.{side}"
        text.write_text("".join(f"{side} {row}\n" for row in range(40)), "utf-8")
        noise = chance.normal(size=meaning.shape)
        (np.roll(meaning + noise, number, axis=0) * 3).astype(np.float32).tofile(vectors)
        paths.append((text, vectors))
    return paths


def beside(files):
    (source, left), (target, right) = files
    return source, target, "--src-embeddings", left, "--trg-embeddings", right


def rows_of(lines):
    return [line.split("\t") for line in lines]


def followers(rows):
    """Pairs in which line i stands beside line i + 1, where the vectors say that its translation is."""
    return sum((int(source[3:]) + 1) % 40 == int(target[3:]) for _, source, target in rows)


def test_mine_takes_the_command_line_of_laser_s_bucc_script(babelmill, files, tmp_path):
    (source, left), (target, right) = files
    line = f"{source} {target} --src-lang de --trg-lang en --src-embeddings {left} --trg-embeddings {right}"
    line += f" --unify --mode mine --retrieval max --margin ratio -k 4 --output {tmp_path / 'out'} --verbose --gpu"
    result = babelmill("mine", *line.split(), "--threshold", "0")
    assert result.exit_code == 0, result.output
    rows = rows_of((tmp_path / "out").read_text("utf-8").splitlines())
    assert followers(rows) == len(rows) == 40
    assert [float(row[0]) for row in rows] == sorted((float(row[0]) for row in rows), reverse=True)
    assert f"40 pairs: {tmp_path / 'out'}" in result.stdout
    assert rows_of(babelmill.lines("mine", *beside(files), "--threshold", "0")) == rows


@pytest.mark.parametrize("retrieval", RETRIEVALS)
def test_laser_s_names_of_retrievals_are_understood(babelmill, files, retrieval):
    def mine(name):
        return babelmill.lines("mine", *beside(files), "--threshold", "0", "--retrieval", name)

    assert mine(retrieval) == mine(RETRIEVALS[retrieval])


def test_search_writes_the_best_target_of_each_line(babelmill, files, tmp_path):
    expected = [f"en {(row + 1) % 40}" for row in range(40)]
    assert babelmill.lines("mine", *beside(files), "--mode", "search") == expected
    result = babelmill("mine", *beside(files), "--mode", "search", "-o", tmp_path / "out")
    assert "40 lines, of which 40 (100.00 %) are not those of the same number" in result.stdout


def test_score_writes_a_margin_for_each_two_lines(babelmill, files):
    rows = rows_of(babelmill.lines("mine", *beside(files), "--mode", "score"))
    assert [row[1:] for row in rows] == [[f"de {row}", f"en {row}"] for row in range(40)]
    (source, left), (target, right) = files
    np.roll(np.fromfile(right, np.float32).reshape(-1, 1024), -1, axis=0).tofile(right)
    better = rows_of(babelmill.lines("mine", *beside(files), "--mode", "score"))
    assert all(float(new[0]) > float(old[0]) + 0.1 for new, old in zip(better, rows, strict=True))
    lines = target.read_text("utf-8").splitlines()
    target.write_text("\n".join(["", *lines[1:]]) + "\n", "utf-8")
    assert rows_of(babelmill.lines("mine", *beside(files), "--mode", "score"))[0] == ["-inf", "de 0", ""]
    assert (
        babelmill.lines(
            "mine", target, source, *("--src-embeddings", right), *("--trg-embeddings", left), "--mode", "search"
        )[0]
        == ""
    )


def test_half_precision_and_numpy_files_say_the_same(babelmill, files, tmp_path):
    expected = {tuple(row[1:]) for row in rows_of(babelmill.lines("mine", *beside(files), "--threshold", "0"))}
    paths = []
    for text, vectors in files:
        array = np.fromfile(vectors, np.float32).reshape(-1, 1024)
        array.astype(np.float16).tofile(vectors)
        np.save(tmp_path / f"{text.suffix[1:]}.npy", array.astype(np.float64))
        paths.append((text, tmp_path / f"{text.suffix[1:]}.npy"))
    half = rows_of(babelmill.lines("mine", *beside(files), "--threshold", "0", "--fp16", "--dim", "1024"))
    double = rows_of(babelmill.lines("mine", *beside(paths), "--threshold", "0"))
    assert {tuple(row[1:]) for row in half} == {tuple(row[1:]) for row in double} == expected
    alone = rows_of(
        babelmill.lines("mine", *(vectors for _, vectors in files), *("--dim", "1024", "--fp16"), "--threshold", "0")
    )
    assert {(f"de {row[1]}", f"en {row[2]}") for row in alone} == expected
    told = babelmill.refused("mine", *beside(files))
    assert "text.de has 40 lines, but" in told
    assert "has 20 rows of 1024 float32 numbers; check --dim and --fp16" in told


def test_equal_lines_count_once_unless_asked_otherwise(babelmill, files):
    source = files[0][0]
    lines = source.read_text("utf-8").splitlines()
    lines[39] = lines[3] = lines[0]
    source.write_text("\n".join(lines), "utf-8")  # the last line has no end, which LASER takes for another text
    few = rows_of(babelmill.lines("mine", *beside(files), "--threshold", "0"))
    many = rows_of(babelmill.lines("mine", *beside(files), "--threshold", "0", "--no-unify"))
    assert (len(few), len(many)) == (38, 40)
    assert sorted(row[1] for row in many) == sorted(lines)
    searched = babelmill.lines("mine", *beside(files), "--mode", "search")
    assert len(searched) == 40
    assert searched[39] == searched[3] == searched[0] == "en 1"


def test_a_copy_does_not_take_the_place_of_a_translation(babelmill, files):
    (source, _), (target, _) = files
    lines = target.read_text("utf-8").splitlines()
    copied = "This sentence is in English on both sides."
    lines[1] = copied
    target.write_text("\n".join(lines), "utf-8")
    source.write_text("\n".join([copied, *source.read_text("utf-8").splitlines()[1:]]), "utf-8")
    result = babelmill("mine", *beside(files), "--threshold", "0", "--retrieval", "forward")
    assert [copied, copied] not in [row[1:] for row in rows_of(result.stdout.splitlines())]
    assert "40 pairs, and 1 candidates that are copies" in result.stderr
    free = rows_of(babelmill.lines("mine", *beside(files), "--threshold", "0", "--retrieval", "forward", "--no-guards"))
    assert [copied, copied] in [row[1:] for row in free]


def test_control_characters_cannot_end_a_field_or_play_tricks(babelmill, files, tmp_path):
    source = files[0][0]
    lines = source.read_text("utf-8").splitlines()
    lines[0] = "one\ttwo\x1b[31m\x0bthree\u2028four\x9b"
    source.write_text("\n".join(lines), "utf-8")
    rows = rows_of(babelmill.lines("mine", *beside(files), "--threshold", "0"))
    assert all(len(row) == 3 for row in rows)
    assert "one two [31m three four " in {row[1] for row in rows}
    assert len((tmp_path / "text.de").read_text("utf-8").split("\n")) == len(rows)


def test_texts_and_output_have_the_encoding_that_is_asked_for(babelmill, files, tmp_path):
    for text, _ in files:
        text.write_text(text.read_text("utf-8").replace("e", "é"), "utf-16")
    babelmill.lines("mine", *beside(files), "--threshold", "0", "--encoding", "utf-16", "-o", tmp_path / "out")
    rows = rows_of((tmp_path / "out").read_text("utf-16").splitlines())
    assert {row[1] for row in rows} == {f"dé {row}" for row in range(40)}
    told = babelmill.refused("mine", *beside(files))
    assert "if it is not utf-8, say so by --encoding" in told
    assert "--encoding utf-99: there is no such encoding" in babelmill.refused(
        "mine", *beside(files), "--encoding", "utf-99"
    )


def test_wrong_combinations_name_the_option_and_the_cure(babelmill, files, tmp_path):
    (source, left), (target, _) = files
    told = babelmill.refused("mine", source, target, "--src-embeddings", left)
    assert "--trg-embeddings: give the vectors of both sides or of neither" in told
    for mode in ("search", "score"):
        told = babelmill.refused("mine", *beside(files), "--mode", mode, "--threshold", "1.1")
        assert f"--mode {mode} writes every line; leave them out" in told
    short = tmp_path / "short"
    short.write_text("one\n", "utf-8")
    np.ones((1, 1024), np.float32).tofile(tmp_path / "short.emb")
    told = babelmill.refused("mine", *beside([files[0], (short, tmp_path / "short.emb")]), "--mode", "score")
    assert "has 40 and" in told
    assert "--mode mine finds which belong together" in told
    damaged = np.fromfile(left, np.float32)
    damaged[5000] = np.inf
    damaged.tofile(left)
    assert "numbers that are not finite; check --dim and --fp16" in babelmill.refused("mine", *beside(files))
    whole = tmp_path / "whole.npy"
    np.save(whole, np.ones((3, 4), np.int64))
    assert f"{whole} holds int64 of shape (3, 4)" in babelmill.refused("mine", whole, whole)


def test_embeddings_are_mapped_and_never_whole_in_memory(files):
    vectors = files[0][1]
    stored = map_vectors(vectors, 1024)
    assert isinstance(stored, np.memmap)
    unit = unit_vectors(stored, np.array([7, 3]), vectors)
    assert isinstance(unit, np.memmap)
    assert unit.dtype == np.float32
    expected = stored[[7, 3]] / np.linalg.norm(stored[[7, 3]], axis=1, keepdims=True)
    assert np.allclose(unit, expected, atol=1e-6)
    assert isinstance(side_of_rows(vectors, MineFilesConfig(dim=1024)).vectors, np.memmap)


def test_a_last_line_may_end_with_the_file(tmp_path):
    with_end, without, windows = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    with_end.write_text("one\ntwo\none\n", "utf-8")
    without.write_text("one\ntwo\none", "utf-8")
    windows.write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\none\r\n")
    assert read_lines(with_end) == read_lines(without) == read_lines(windows) == ["one", "two", "one"]
    used, vector_of = places_of(read_lines(without), unify=True)
    assert (used.tolist(), vector_of.tolist()) == ([0, 1], [0, 1, 0])


@pytest.mark.parametrize("unify", [True, False])
def test_each_vector_is_of_a_line_and_an_empty_line_has_none(unify):
    lines = ["b", "", "a", "b", "", "c", "a"]
    used, vector_of = places_of(lines, unify=unify)
    assert [lines[line] for line in used] == (["b", "a", "c"] if unify else ["b", "a", "b", "c", "a"])
    assert [lines[used[vector]] if vector >= 0 else "" for vector in vector_of] == lines


def test_the_order_of_sentences_does_not_depend_on_the_hash_seed():
    class Seeded(str):
        __slots__ = ()

        def __hash__(self):
            return hash(self[::-1] + "another seed")

    lines = [f"sentence {number % 7}" for number in range(30)]
    for one, other in zip(
        places_of(lines, unify=True), places_of([Seeded(line) for line in lines], unify=True), strict=True
    ):
        assert np.array_equal(one, other)


def test_no_room_for_unit_vectors_is_told(files, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(SourceError, match="TMPDIR names another place"):
        unit_vectors(map_vectors(files[0][1], 1024), np.arange(40), files[0][1])


def test_an_array_without_rows_is_refused(tmp_path):
    np.save(tmp_path / "empty.npy", np.ones((0, 4), np.float32))
    (tmp_path / "empty.emb").touch()
    with pytest.raises(ConfigError, match=r"not rows of vectors|cannot read"):
        map_vectors(tmp_path / "empty.npy", None)
    with pytest.raises(ConfigError, match="does not hold whole rows"):
        map_vectors(tmp_path / "empty.emb", 4)


def test_mine_writes_margins_and_pairs_best_first(babelmill, texts, tiny_encoder, tmp_path):
    def mine(*more):
        return babelmill.lines("mine", *texts, "--encoder", tiny_encoder, *more)

    every = mine("--threshold", "0")
    rows = [line.split("\t") for line in every]
    sides = [set(path.read_text("utf-8").splitlines()) for path in texts]
    assert all(len(row) == 3 and row[1] in sides[0] and row[2] in sides[1] for row in rows)
    margins = [float(margin) for margin, _, _ in rows]
    assert margins == sorted(margins, reverse=True)
    middle = margins[len(margins) // 2]
    assert mine("--threshold", middle + 1e-5) == [
        line for line, one in zip(every, margins, strict=True) if one > middle
    ]
    assert mine("--threshold", "1000") == []
    assert len(mine("--threshold", "0", "--retrieval", "forward")) == 60
    assert mine("--threshold", "-1", "--margin", "absolute", "-k", "1") != every

    output = tmp_path / "pairs.tsv"
    result = babelmill("mine", *texts, "--encoder", tiny_encoder, "--threshold", "0", "-o", output)
    assert f"{len(every)} pairs: {output}" in result.stdout
    assert output.read_text("utf-8").splitlines() == every


def test_mine_takes_embeddings_as_numpy_and_as_laser_write_them(babelmill, texts, tiny_encoder, tmp_path):
    arrays = [tmp_path / f"{path.stem}.npy" for path in texts]
    for text, array in zip(texts, arrays, strict=True):
        result = babelmill("embed", text, array, "--encoder", tiny_encoder)
        assert f"60 vectors of 64 dimensions: {array}" in result.stdout
    vectors = [np.load(array) for array in arrays]
    for side in vectors:
        assert (side.shape, side.dtype) == ((60, 64), np.float16)
        assert np.allclose(np.linalg.norm(side.astype(np.float32), axis=1), 1, atol=1e-3)
    mined = babelmill.lines("mine", *arrays, "--threshold", "0")
    raw = [tmp_path / f"{path.stem}.emb" for path in texts]
    for side, path in zip(vectors, raw, strict=True):
        (2 * side.astype(np.float32)).tofile(path)  # of any length: mining is about directions
    assert babelmill.lines("mine", *raw, "--dim", "64", "--threshold", "0") == mined

    lines = [path.read_text("utf-8").splitlines() for path in texts]
    by_text = babelmill.lines("mine", *texts, "--encoder", tiny_encoder, "--threshold", "0")
    pairs = {tuple(line.split("\t")[1:]) for line in by_text}
    rows = (line.split("\t")[1:] for line in mined)
    found = {(lines[0][int(row)], lines[1][int(column)]) for row, column in rows}
    assert len(found & pairs) > 0.9 * len(pairs)  # float16 may turn a tie


def test_embed_gives_an_empty_line_a_row_of_zeros(babelmill, tiny_encoder, tmp_path):
    (tmp_path / "text").write_text("One sentence.\n\nAnother one.\n", "utf-8")
    assert babelmill("embed", tmp_path / "text", tmp_path / "out.npy", "--encoder", tiny_encoder).exit_code == 0
    assert np.load(tmp_path / "out.npy").any(axis=1).tolist() == [True, False, True]


def test_mine_and_embed_refuse_what_they_cannot_read(babelmill, texts, tiny_encoder, tmp_path):
    encoder = ("--encoder", tiny_encoder)
    text, other = texts
    empty, binary, odd, flat, objects, wide = (
        tmp_path / name for name in ("empty.txt", "binary.txt", "odd.emb", "flat.npy", "objects.npy", "wide.npy")
    )
    empty.write_text("\n \n")
    binary.write_bytes(b"\xff\xfe\x00")
    odd.write_bytes(b"1234" * 10 + b"5")
    np.save(flat, np.ones(5, np.float32))
    np.save(objects, np.array([{}], object), allow_pickle=True)
    np.save(wide, np.ones((2, 7), np.float32))
    six = tmp_path / "six.npy"
    np.save(six, np.ones((2, 6), np.float32))
    assert "has no sentences in it" in babelmill.refused("mine", text, empty, *encoder)
    assert f"cannot read {binary}" in babelmill.refused("mine", binary, other, *encoder)
    assert "cannot read" in babelmill.refused("mine", tmp_path / "none.txt", other, *encoder)
    assert "does not hold whole rows of 3 float32 numbers; check --dim" in babelmill.refused(
        "mine", odd, odd, "--dim", "3"
    )
    assert "rows of vectors" in babelmill.refused("mine", flat, flat)
    assert f"cannot read {objects}" in babelmill.refused("mine", objects, objects)
    assert "has vectors of 6 dimensions" in babelmill.refused("mine", six, wide)
    assert f"{text} is no .npy file" in babelmill.refused("mine", six, text)
    assert "mine:\n  margin: " in babelmill.refused("mine", text, other, *encoder, "--margin", "cosine")
    assert "mine:\n  k: " in babelmill.refused("mine", text, other, *encoder, "-k", "0")
    assert "encoder: " in babelmill.refused("mine", text, other, "--encoder", tmp_path / "no-encoder")
    assert "encoder: " in babelmill.refused("embed", text, tmp_path / "out.npy", "--encoder", "nowhere://x")
    assert "cannot read" in babelmill.refused("embed", tmp_path / "none.txt", tmp_path / "out.npy", *encoder)
    assert not (tmp_path / "out.npy").exists()


def test_an_output_that_cannot_be_written_is_a_failure(babelmill, texts, tiny_encoder):
    result = babelmill("embed", texts[0], texts[1] / "out.npy", "--encoder", tiny_encoder)
    assert result.exit_code == FAILED
    assert result.stderr.startswith(f"babelmill: cannot write {texts[1]}/out.npy: ")
