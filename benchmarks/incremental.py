"""What an update costs beside a rebuild, and a take-down beside a build without the documents; and that both are equal.

    python benchmarks/incremental.py CONFIG.yaml --workdir FOLDER [--documents 50] [--skip removal]

CONFIG is what `babelmill build` takes, with two crawls or more; its root is replaced, and the last crawl is the update.
Every step is a process of its own on a Prefect server that this script starts, and counts with all processes that it
starts; the server's CPU is told beside it.

    first      a build of all crawls but the last, from nothing
    full       a build of all crawls, from nothing
    update     a build of all crawls on a copy of `first`
    idle       the same once more, which finds everything done
    removal    a take-down of so many kept documents, chosen at random, on a copy of `update`
    idle-less  a build once more
    full-less  a build of all crawls without these documents, from nothing

The share of an update is (update - idle) / (full - idle), and that of a take-down likewise. The versions of `full` and
`update` must have the same things with the same bytes, and so must those of `full-less` and `removal`. A step that is
done stands in FOLDER/steps.json and is not done again; one that was broken off begins anew.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import asdict
from filecmp import cmp
from pathlib import Path

import numpy as np
from measuring import Server, measured, prefect_server

from flows.config import CorpusConfig, RemoveConfig
from flows.loading import load_config
from flows.removals import logged
from storage.manifest import Dataset
from storage.snapshots import latest
from storage.store import Store
from tasks.text.removals import Removals

_STEPS = ("first", "full", "update", "idle", "removal", "idle-less", "full-less")
_COPIED = {"update": "first", "removal": "update"}
_PLACE = {"idle": "update", "idle-less": "removal"}  # steps in the root of another one
_BUILD = (
    "import sys; from flows.build_corpus import build_corpus; from flows.config import CorpusConfig; "
    "build_corpus(CorpusConfig.model_validate_json(open(sys.argv[1]).read()))"
)
_REMOVE = (
    "import sys; from flows.remove_documents import remove_documents; from flows.config import RemoveConfig; "
    "remove_documents(RemoveConfig.model_validate_json(open(sys.argv[1]).read()))"
)


class Steps:
    """Steps in a folder, each done once.

    Args:
        folder: where roots, logs and results are kept.
        config: the settings with all crawls.
        documents: how many to take down.
        server: where the flows run.
    """

    def __init__(self, folder: Path, config: CorpusConfig, documents: int, server: Server) -> None:
        self.folder = folder
        self._config = config
        self._documents = documents
        self._server = server
        self._notes = folder / "steps.json"
        self.done: dict[str, dict[str, float]] = json.loads(self._notes.read_text()) if self._notes.exists() else {}

    def store(self, step: str) -> Store:
        """Return the store that a step worked on."""
        return Store(str(self.folder / _PLACE.get(step, step)))

    def run(self, step: str) -> None:
        """Do a step, unless it is done."""
        if step in self.done:
            return
        root = self.folder / _PLACE.get(step, step)
        if step not in _PLACE:
            shutil.rmtree(root, ignore_errors=True)
            if step in _COPIED:
                shutil.copytree(self.folder / _COPIED[step], root)
        given, settings = self.folder / f"{step}.json", self._settings(step, str(root))
        given.write_text(settings.model_dump_json(), "utf-8")
        code = _REMOVE if step == "removal" else _BUILD
        busy = self._server.cpu()
        cost = measured([sys.executable, "-c", code, str(given)], self.folder / f"{step}.log", self._server.environment)
        self.done[step] = asdict(cost) | {"server_cpu": self._server.cpu() - busy}
        self._notes.write_text(json.dumps(self.done, indent=1) + "\n", "utf-8")
        print(step, json.dumps(self.done[step]), flush=True)

    def _settings(self, step: str, root: str) -> CorpusConfig | RemoveConfig:
        config = self._config.model_copy(update={"root": root})
        if step == "first":
            return config.model_copy(update={"crawls": config.crawls[:-1]})
        if step == "removal":
            chosen, resources = self._chosen(), config.resources
            return RemoveConfig(
                root=root, corpus=config.corpus, documents=chosen, reason="benchmark", resources=resources
            )
        if step == "full-less":
            entries = logged(self.store("removal"), config.corpus)
            return config.model_copy(update={"removals": Removals() if not entries else entries[-1].removals})
        return config

    def _chosen(self) -> list[str]:
        """Return documents that were kept, at random but always the same."""
        store = self.store("update")
        snapshot = latest(store, self._config.corpus)
        kept = snapshot.find("kept_documents") if snapshot else []
        parts = [store.read(Dataset.model_validate(one.model_dump()), ["doc_id"]) for one in kept]
        ids = sorted(one.hex() for part in parts for one in part["doc_id"].to_pylist())
        places = np.random.default_rng(1).permutation(len(ids))[: self._documents].tolist()
        return sorted(ids[place] for place in places)


def differences(left: Store, right: Store, corpus: str) -> tuple[int, list[str]]:
    """Compare the newest versions of a corpus in two stores; return how many things they have, and which differ."""
    sides = []
    for store in (left, right):
        snapshot = latest(store, corpus)
        things = snapshot.things if snapshot else []
        sides.append({str(one): [one.rows, *store.paths(one)] for one in things})
    different = []
    for name in sorted({*sides[0], *sides[1]}):
        (rows, *files), (other_rows, *others) = (side.get(name, [None]) for side in sides)
        same = rows == other_rows and len(files) == len(others) and rows is not None
        if not same or not all(
            cmp(str(one), str(other), shallow=False) for one, other in zip(files, others, strict=True)
        ):
            different.append(name)
    return len({*sides[0], *sides[1]}), different


def report(steps: Steps, corpus: str) -> dict[str, object]:
    """Print a table of the steps and what follows from them; return the latter."""
    print("\n| step | wall | cpu | server_cpu |\n|---|---|---|---|")
    for step, cost in steps.done.items():
        print(f"| {step} | {cost['wall']:,.1f} | {cost['cpu']:,.1f} | {cost['server_cpu']:,.1f} |")
    found: dict[str, object] = {"steps": steps.done}
    for name, work, idle, full in (
        ("update", "update", "idle", "full"),
        ("take-down", "removal", "idle-less", "full-less"),
    ):
        if not {work, idle, full} <= set(steps.done):
            continue
        shares = {kind: _share(*(steps.done[step][kind] for step in (work, idle, full))) for kind in ("cpu", "wall")}
        things, different = differences(steps.store(work), steps.store(full), corpus)
        found[name] = {"shares": shares, "things": things, "different": different}
        equal = f"{things - len(different)} of {things} things have the same bytes"
        print(f"{name}: {shares['cpu']:.2%} of the CPU and {shares['wall']:.2%} of the time of a rebuild; {equal}")
        print("".join(f"  different: {thing}\n" for thing in different[:20]), end="")
    return found


def _share(work: float, idle: float, full: float) -> float:
    return (work - idle) / (full - idle)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--workdir", type=Path, required=True, help="everything is kept there")
    parser.add_argument("--documents", type=int, default=50, help="how many to take down")
    parser.add_argument("--skip", nargs="+", choices=_STEPS, default=[], help="steps to leave out")
    arguments = parser.parse_args()
    config = load_config(arguments.config, CorpusConfig)
    if len(config.crawls) < 2:
        parser.error("the settings name fewer than two crawls")
    arguments.workdir.mkdir(parents=True, exist_ok=True)
    with prefect_server(arguments.workdir / "prefect") as server:
        steps = Steps(arguments.workdir, config, arguments.documents, server)
        for step in _STEPS:
            if step not in arguments.skip:
                steps.run(step)
    found = report(steps, config.corpus)
    (arguments.workdir / "incremental.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
