"""How fast sentences are embedded: beside the module of `laser_encoders`, with the same weights and sentences.

    python benchmarks/embedding.py SENTENCES [--sentences 20000] [--laser-encoders SITE_PACKAGES] [--encoder FOLDER]

SENTENCES is a text file, or a Parquet file with columns text and eng, translations of each other: then half of the
sentences are from each, and the similarity error (xsim) between the halves is shown for each way to embed them.
Weights are drawn at random in LASER's shape unless a trained BiLSTM is given; subwords are those of the default
encoder or of the given one. `pip install --no-deps --target SITE_PACKAGES laser_encoders` makes the module available;
what it imports for its LASER3 class, tokenizer and downloads need not be there.

The ways take turns on parts of the sentences, so that a machine that is busy for a while is busy for all of them.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import time
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from encoder.bilstm import BiLstmConfig, BiLstmModel, draw_weights
from encoder.evaluation import xsim
from encoder.inference import Encoder, unit_rows
from encoder.precision import offered
from encoder.registry import load_encoder
from encoder.vocabulary import EOS, PAD, Ragged

SEED, MAX_TOKENS, THEIR_TOKENS = 1, 256, 12_000  # 12,000 tokens a batch is what LASER's embed.py asks for
THEIRS = "laser_encoders"
# What the package imports for its LASER3 class, its tokenizer and its downloads; here it is given weights and numbers.
NOT_NEEDED: dict[str, dict[str, object]] = {
    "fairseq.data.dictionary": {"Dictionary": object},
    "fairseq.models.transformer": {"Embedding": object, "TransformerEncoder": object},
    "fairseq.modules": {"LayerNorm": object},
    "sacremoses": {"MosesDetokenizer": object, "MosesPunctNormalizer": object},
    "unicategories": {"categories": MagicMock()},
    "requests": {},
    "tqdm": {"tqdm": object},
}
_NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")

Matrix = npt.NDArray[np.float32]
Way = Callable[[Ragged], Matrix]


def read(path: Path, number: int) -> tuple[list[str], int]:
    """Return sentences, and how many of them are the sources of the rest (0 if nothing is known of translations)."""
    if path.suffix != ".parquet":
        lines = [line for line in path.read_text("utf-8").splitlines() if line.strip()]
        return lines[:number], 0
    pairs = pl.read_parquet(path).select("text", "eng").unique(maintain_order=True)
    drawn = pairs.sample(min(number // 2, pairs.height), seed=SEED, shuffle=True)
    return drawn["text"].to_list() + drawn["eng"].to_list(), drawn.height


def laser_shape(size: int) -> BiLstmModel:
    """Make LASER's encoder with random weights."""
    model = BiLstmModel(BiLstmConfig(), size)
    draw_weights(model, torch.Generator().manual_seed(SEED))
    return model.eval().requires_grad_(requires_grad=False)


def their_way(model: BiLstmModel, site: str | None) -> Way:
    """Give the weights to the package's SentenceEncoder, which sorts, batches, pads and packs as it does."""
    if site:
        sys.path.append(site)
    for name, parts in NOT_NEEDED.items():
        if importlib.util.find_spec(name.partition(".")[0]) is None:
            sys.modules[name] = types.ModuleType(name)
            sys.modules[name].__dict__.update(parts)
    from laser_encoders.models import SentenceEncoder

    weights = {"embed_tokens.weight": model.embedding.weight}
    for layer in range(model.config.layers):
        for side, suffix in ((model.rightward, ""), (model.leftward, "_reverse")):
            for name in _NAMES:
                weights[f"lstm.{name}_l{layer}{suffix}"] = getattr(side[layer], f"{name}_l0")
    params = {
        "num_embeddings": model.size,
        "padding_idx": PAD,
        "embed_dim": model.config.embedding,
        "hidden_size": model.config.hidden,
        "num_layers": model.config.layers,
        "bidirectional": True,
        "left_pad": False,
    }
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "weights.pt"
        torch.save({"params": params, "model": weights, "dictionary": {}}, checkpoint)
        theirs = SentenceEncoder(checkpoint, max_tokens=THEIR_TOKENS, cpu=True, sort_kind="mergesort")
    # A word is the number of our subword; its special subwords are given our numbers.
    theirs.dictionary = {str(number): number for number in range(model.size)}
    theirs.pad_index, theirs.eos_index = PAD, EOS
    rows = partial(map, lambda row: " ".join(map(str, row.tolist())))
    return lambda tokens: theirs.encode_sentences(list(rows(np.split(tokens.ids, tokens.offsets[1:-1]))))


@dataclass(frozen=True)
class Turns:
    """By the name of a way: unit vectors of all sentences, and the seconds of every part; and GFLOP/s by type."""

    vectors: dict[str, Matrix]
    seconds: dict[str, list[float]]
    rates: dict[str, list[float]]


def take_turns(ways: dict[str, Way], tokens: Ragged, parts: int, clock: Callable[[], float]) -> Turns:
    """Embed every part in every way, each time beginning with another."""
    turns = Turns({}, {name: [] for name in ways}, {"float32": [], "bfloat16": []})
    names = list(ways)
    for place, rows in enumerate(np.array_split(np.random.default_rng(SEED).permutation(len(tokens)), parts)):
        part = tokens.take(rows)
        for name in names[place % len(names) :] + names[: place % len(names)]:
            for kind, measured in turns.rates.items():
                measured.append(product_rate(getattr(torch, kind), clock))
            begun = clock()
            vectors = ways[name](part)
            turns.seconds[name].append(clock() - begun)
            whole = turns.vectors.setdefault(name, np.empty((len(tokens), vectors.shape[1]), np.float32))
            whole[rows] = unit_rows(vectors)
            speed = len(part) / turns.seconds[name][-1]
            print(f"part {place + 1} of {parts}: {name} {speed:,.1f} sentences/s", file=sys.stderr, flush=True)
    return turns


def product_rate(kind: torch.dtype, clock: Callable[[], float]) -> float:
    """GFLOP/s of the best of a few products of 1024 x 1024 and 1024 x 4096 numbers."""
    a, b, out = (torch.randn(*shape).to(kind) for shape in ((1024, 1024), (1024, 4096), (1024, 4096)))
    best = float("inf")
    for _ in range(4):
        begun = clock()
        torch.mm(a, b, out=out)
        best = min(best, clock() - begun)
    return 2 * 1024 * 1024 * 4096 / best / 1e9


def flops(config: BiLstmConfig) -> int:
    """Floating-point operations of the matrix products for one token: LASER's shape has 57 million."""
    inputs = [config.embedding, *[2 * config.hidden] * (config.layers - 1)]
    return sum(2 * 2 * 4 * config.hidden * (width + config.hidden) for width in inputs)


def report(model: BiLstmModel, tokens: Ragged, turns: Turns, texts: tuple[Sequence[str], Sequence[str]]) -> None:
    """Print the table; the share of the machine's rate is of torch.mm in bfloat16 for bfloat16, else in float32."""
    per_token = flops(model.config)
    every = int(tokens.lengths.sum() + len(tokens))
    medians = {kind: float(np.median(values)) for kind, values in turns.rates.items()}
    print(f"{len(tokens):,} sentences, {every:,} tokens with end marks, {per_token / 1e6:.1f} MFLOP a token;", end=" ")
    print(f"{torch.get_num_threads()} threads;", end=" ")
    print(*(f"torch.mm in {kind}: {value:,.0f} GFLOP/s (median);" for kind, value in medians.items()))
    print("| way | sentences/s | tokens/s | of torch.mm | times the first (each part) | lowest cosine | xsim |")
    print("|---|---|---|---|---|---|---|")
    half = len(texts[0])
    for name, vectors in turns.vectors.items():
        spent, first = np.array(turns.seconds[name]), np.array(turns.seconds[THEIRS])
        rate = medians["bfloat16" if name == "bfloat16" else "float32"]
        cosine = float((vectors * turns.vectors[THEIRS]).sum(1).min())
        cells = (
            name,
            f"{len(tokens) / spent.sum():,.1f}",
            f"{every / spent.sum():,.0f}",
            f"{every * per_token / 1e9 / spent.sum() / rate:.0%}",
            f"{first.sum() / spent.sum():.2f} ({', '.join(f'{ratio:.2f}' for ratio in first / spent)})",
            f"{cosine:.6f}",
            f"{100 * xsim(vectors[:half], vectors[half:], *texts):.2f}" if half else "",
        )
        print(f"| {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, metavar="SENTENCES")
    parser.add_argument("--sentences", type=int, default=20_000)
    parser.add_argument("--parts", type=int, default=4)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--laser-encoders", help="folder into which the package was installed, if not here")
    parser.add_argument("--encoder", help="a trained BiLSTM in place of random weights")
    parser.add_argument(
        "--cpu-time", action="store_true", help="count CPU seconds: for one thread on a machine that others use"
    )
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16", "int8"])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    sentences, half = read(arguments.file, arguments.sentences)
    default, given = load_encoder("default"), load_encoder(arguments.encoder or "default")
    if not isinstance(given, Encoder):
        raise SystemExit(f"{arguments.encoder} is no encoder of this library")
    vocabulary = given.vocabulary
    model = given.model if isinstance(given.model, BiLstmModel) else laser_shape(vocabulary.size)
    cpu = torch.device("cpu")
    ways = {THEIRS: their_way(model, arguments.laser_encoders)}
    for precision in arguments.precisions:
        if precision in offered(cpu, int8=True):
            ways[precision] = model.runner(precision, cpu).embed
        else:
            print(f"{precision} is not to be had here")
    tokens = vocabulary.encode(sentences)
    tokens = tokens.take(np.arange(len(tokens)), MAX_TOKENS)
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    turns = take_turns(ways, tokens, arguments.parts, clock)
    report(model, tokens, turns, (sentences[:half], sentences[half : 2 * half]))
    begun = time.perf_counter()
    default.encode(sentences)
    print(f"static (the default encoder), from text: {len(sentences) / (time.perf_counter() - begun):,.0f} sentences/s")


if __name__ == "__main__":
    main()
