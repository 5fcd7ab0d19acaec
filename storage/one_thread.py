"""A new process in, one in which every numeric library keeps to one thread; the processes are the parallelism."""

from __future__ import annotations

import os

NAMES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS", "NUMBA_NUM_THREADS")

# an import with an effect, on purpose: BLAS reads its variable when it is loaded, and the fork server loads it
os.environ.update(dict.fromkeys(NAMES, "1"))
