"""Pieces of work in, all done out: side by side, each on one thread that calls on no others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Piece = TypeVar("Piece")


def on_one_thread_each(work: Callable[[Piece], None], pieces: Sequence[Piece]) -> None:
    """Work off the pieces on as many threads as torch may use, none of which calls on others.

    A product that is shared among threads may add in another order than one that is not.
    """
    threads = torch.get_num_threads()
    if threads == 1:
        for piece in pieces:
            work(piece)
        return
    try:
        with ThreadPoolExecutor(min(threads, max(1, len(pieces))), initializer=_alone) as pool:
            for _ in pool.map(work, pieces):
                pass
    finally:
        torch.set_num_threads(threads)  # workers set their own number, and with it what later threads begin with


def _alone() -> None:
    torch.set_num_threads(1)
