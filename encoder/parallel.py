"""A training and a number of processes in, what its first process tells out."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import queue
import socket
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

from encoder.world import Processes, World

LOOK_SECONDS = 5.0

Work = Callable[[str, World], Iterable[Any]]  # of a device's name and the process's place; it must be picklable


def run(work: Work, processes: int) -> Iterator[Any]:
    """Do the work in so many processes at once, and yield what the one of rank 0 yields.

    With one it is done here. Several meet each other through this machine's loopback; under `torchrun`, which sets the
    same variables, `encoder.world.Processes` meets those of other machines in the same way.

    Raises:
        Exception: what the process that failed has raised, or RuntimeError with its trace if that cannot travel.
    """
    if processes == 1:
        yield from work("cuda" if torch.cuda.is_available() else "cpu", World())
        return
    context = multiprocessing.get_context("spawn")
    told = context.Queue(maxsize=64)
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": str(processes)}
    places = [shared | {"RANK": str(rank)} for rank in range(processes)]
    children = [context.Process(target=_child, args=(work, place, told), daemon=True) for place in places]
    for child in children:
        child.start()
    try:
        yield from _listen(told, children)
    finally:
        for child in children:
            child.terminate()
            child.join()


def _listen(told: Any, children: list[Any]) -> Iterator[Any]:
    while True:
        try:
            kind, value = told.get(timeout=LOOK_SECONDS)
        except queue.Empty:
            if dead := [child.exitcode for child in children if child.exitcode]:
                raise RuntimeError(f"a process of the training ended with {dead[0]}") from None
            continue
        if kind == "failed":
            raise value
        if kind == "done":
            return
        yield value


def _child(work: Work, place: dict[str, str], told: Any) -> None:
    os.environ |= place
    rank, size = int(place["RANK"]), int(place["WORLD_SIZE"])
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // size))
    device = f"cuda:{rank % torch.cuda.device_count()}" if torch.cuda.is_available() else "cpu"
    if device != "cpu":
        torch.cuda.set_device(device)
    try:
        world = Processes(device)
        for value in work(device, world):
            if rank == 0:
                told.put(("told", value))
        world.leave()
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent has to hear of it
        told.put(("failed", _travelling(error)))
        return
    if rank == 0:
        told.put(("done", None))


def _travelling(error: Exception) -> Exception:
    try:
        copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own, a moment ago
    except Exception:  # noqa: BLE001 - its constructor may do anything
        return RuntimeError(traceback.format_exc())
    return copy if isinstance(copy, Exception) else RuntimeError(traceback.format_exc())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
