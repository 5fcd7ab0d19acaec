"""A Python function over numpy arrays in, its machine code out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., object])


def compiled(function: Kernel) -> Kernel:
    """Compile a function with numba: without the GIL, without reordered floating point, and kept for the next process.

    Where no cache folder can be written (a read-only image without NUMBA_CACHE_DIR) each process compiles anew.
    """
    return _compiled(function, reordered=False)


def compiled_in_any_order(function: Kernel) -> Kernel:
    """As `compiled`, but sums may be in any order: several times as fast, and other last bits on other machines."""
    return _compiled(function, reordered=True)


def _compiled(function: Kernel, *, reordered: bool) -> Kernel:
    settings: dict[str, Any] = {"nogil": True, "fastmath": {"reassoc", "nsz", "contract"} if reordered else False}
    try:
        return cast("Kernel", numba.njit(function, cache=True, **settings))
    except RuntimeError:  # numba: "cannot cache function: no locator available"
        return cast("Kernel", numba.njit(function, **settings))
