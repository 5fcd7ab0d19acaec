"""What orchestration costs: one build as plain calls in one process, and as a flow on a Prefect server.

    python benchmarks/overhead.py CONFIG.yaml --workdir FOLDER [--repetitions 3] [--workers 0] [--threads 1]

CONFIG is what `babelmill build` takes; its root and resources are replaced. Both ways run the same stages with the same
settings, workers and threads from nothing, in roots of their own, taking turns as to which comes first. The flow runs
on a server that this script starts, and makes what a user's run makes: a plan, task runs, artifacts, a report. CPU
seconds are those of all processes of a build; the server's own stand beside them, since it usually runs somewhere else
and is there for many runs. As both share this machine's cores here, what it does is also part of the wall seconds.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
from pathlib import Path

from measuring import Server, measured, prefect_server

from flows.build_corpus import build, build_corpus, drafted, in_order
from flows.config import CorpusConfig, Resources
from flows.loading import load_config
from flows.opening import all_crawls, open_store
from flows.steps import PlainSteps
from storage.snapshots import commit, latest
from storage.store import Store

_LEAST_SECONDS = 300  # below this, starting and ending weigh more than what lies between
_WAYS = ("plain", "flow")


def run_once(way: str, config: CorpusConfig) -> None:
    """Build a corpus in one of the two ways."""
    if way == "flow":
        build_corpus(config)
        return
    with open_store(config.root, config.resources, config.credentials) as store:
        corpus = build(store, config, in_order(all_crawls(config), None), PlainSteps())
        commit(store, None, drafted(config, corpus, "build"))


def compare(arguments: argparse.Namespace, config: CorpusConfig, server: Server) -> list[dict[str, object]]:
    """Run both ways so many times; return a row for each run."""
    rows: list[dict[str, object]] = []
    for repetition in range(arguments.repetitions):
        contents = set()
        for way in _WAYS if repetition % 2 == 0 else _WAYS[::-1]:
            root = arguments.workdir / f"root-{way}"
            shutil.rmtree(root, ignore_errors=True)
            given = arguments.workdir / f"{way}.json"
            given.write_text(config.model_copy(update={"root": str(root)}).model_dump_json(), "utf-8")
            recorded, busy = server.task_runs(), server.cpu()
            command = [sys.executable, __file__, str(given), "--once", way]
            cost = measured(command, arguments.workdir / f"{way}-{repetition}.log", server.environment)
            busy = server.cpu() - busy
            rows.append(
                {"repetition": repetition, "way": way, "wall": cost.wall, "cpu": cost.cpu, "server_cpu": busy}
                | {"task_runs": server.task_runs() - recorded}
            )
            print(json.dumps(rows[-1]), flush=True)
            contents.add(_content(str(root), config.corpus))
        if len(contents) != 1:
            raise SystemExit(f"repetition {repetition}: the two ways made different corpora")
    return rows


def show(rows: list[dict[str, object]]) -> None:
    """Print the medians and their ratios."""
    names = ("wall", "cpu", "server_cpu", "task_runs")
    middle = {
        way: {name: statistics.median(float(str(row[name])) for row in rows if row["way"] == way) for name in names}
        for way in _WAYS
    }
    print(f"\n| median of {len(rows) // 2} | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for way, values in middle.items():
        print(f"| {way} | {' | '.join(f'{values[name]:,.1f}' for name in names)} |")
    for name in ("wall", "cpu"):
        print(f"{name}: flow / plain = {middle['flow'][name] / middle['plain'][name]:.4f}")
    more = middle["flow"]["server_cpu"] - middle["plain"]["server_cpu"]  # than an idle server
    print(f"cpu with the server's: flow / plain = {(middle['flow']['cpu'] + more) / middle['plain']['cpu']:.4f}")
    if middle["plain"]["wall"] < _LEAST_SECONDS:
        print(f"Too short to count: a plain build took {middle['plain']['wall']:.0f} s of at least {_LEAST_SECONDS} s.")


def _content(root: str, corpus: str) -> frozenset[tuple[str, str, str]]:
    """Return what a corpus holds: name, partition and content of all things."""
    snapshot = latest(Store(root), corpus)
    return frozenset((one.name, one.partition, one.content) for one in (snapshot.things if snapshot else []))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--workdir", type=Path, help="for roots, logs and the server's database")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--workers", type=int, default=0, help="processes for text stages; 0 works in the build's own")
    parser.add_argument("--threads", type=int, default=1, help="for encoder and search")
    parser.add_argument("--once", choices=_WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.once:
        run_once(arguments.once, CorpusConfig.model_validate_json(arguments.config.read_text("utf-8")))
        return
    if arguments.workdir is None:
        parser.error("--workdir is needed")
    resources = Resources(workers=arguments.workers, threads=arguments.threads)
    config = load_config(arguments.config, CorpusConfig).model_copy(update={"resources": resources})
    arguments.workdir.mkdir(parents=True, exist_ok=True)
    with prefect_server(arguments.workdir / "prefect") as server:
        rows = compare(arguments, config, server)
    (arguments.workdir / "overhead.json").write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
    show(rows)


if __name__ == "__main__":
    main()
