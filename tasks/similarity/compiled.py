"""A Python function over numpy arrays in, its machine code out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., object])


def compiled(function: Kernel) -> Kernel:
    """Compile a function with numba: without the GIL, without reordered floating point, and kept for the next process.

    Where no cache folder can be written (a read-only image without NUMBA_CACHE_DIR) each process compiles anew.
    """
    try:
        return cast("Kernel", numba.njit(function, nogil=True, cache=True))
    except RuntimeError:  # numba: "cannot cache function: no locator available"
        return cast("Kernel", numba.njit(function, nogil=True))
