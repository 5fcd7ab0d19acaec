from __future__ import annotations

import numpy as np

FAILED = 1


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
