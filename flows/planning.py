"""A build's settings in, what it would do and what that would take out, before anything is spent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact

from flows.corpus import Corpus
from flows.markup import table
from flows.progress import artifact_key
from flows.rates import Rates, load_rates, measured, save_rates, work_of
from flows.steps import PlainSteps
from storage.fingerprint import Settings
from storage.planning import PlanningStore, Step
from storage.records import manifests_of
from storage.store import Store

if TYPE_CHECKING:
    from flows.config import CorpusConfig, Crawl


_BEYOND = " Sentences and pairs come on top, in languages that are found only then; name them to have them planned."


class PlannedStage(Settings):
    """What a build would do in one stage."""

    stage: str
    done: int  # jobs that an earlier run has done
    to_do: int
    rows: int  # that would be written, as far as one can tell
    seconds: float  # of wall-clock time, on as many workers as there are
    cpu_seconds: float
    bytes: float  # that would be written
    memory_bytes: float  # of one process
    is_known: bool  # False: no run has measured this stage


class Plan(Settings):
    """What a build would do."""

    stages: list[PlannedStage]
    is_measured: bool  # by runs below this root; False: typical figures of another machine

    @property
    def to_do(self) -> int:
        """Jobs in all stages."""
        return sum(one.to_do for one in self.stages)

    @property
    def seconds(self) -> float:
        """Wall-clock time of all stages, one after another."""
        return sum(one.seconds for one in self.stages)

    def lines(self) -> list[dict[str, str]]:
        """Return the plan as a table for people."""
        return [
            {
                "stage": one.stage.replace("_", " "),
                "done before": f"{one.done:,}",
                "to do": f"{one.to_do:,}",
                "rows": f"{one.rows:,}" if one.to_do else "",
                "time": _time(one.seconds) if one.to_do and one.is_known else "",
                "bytes": _bytes(one.bytes) if one.to_do and one.is_known else "",
                "memory": _bytes(one.memory_bytes) if one.to_do and one.is_known else "",
            }
            for one in self.stages
        ]

    def summary(self) -> str:
        """Say in a sentence what would be done."""
        if not self.to_do:
            return "Everything is done: a build would compute nothing."
        source = "rates that runs below this root measured" if self.is_measured else "typical rates of another machine"
        beyond = "" if any(one.stage == "mine_pairs" for one in self.stages) else _BEYOND
        unknown = sorted(one.stage for one in self.stages if one.to_do and not one.is_known)
        without = f", without {', '.join(unknown)}, which no run has measured" if unknown else ""
        cost = f"{_time(self.seconds)} and {_bytes(sum(one.bytes for one in self.stages))}"
        return f"{self.to_do:,} jobs, about {cost}, by {source}{without}.{beyond}"


def plan_build(store: Store, config: CorpusConfig, crawls: list[Crawl]) -> Plan:
    """Walk through a build without doing it; what depends on work that is not done is forecast from earlier runs."""
    from flows.build_corpus import build  # which shows its plan first

    rates = load_rates(store)
    planning = PlanningStore.of(store, rates.forecast)
    build(planning, config, crawls, PlainSteps(checks=False))
    return plan_of(planning.steps, rates, store)


def plan_of(steps: Iterable[Step], rates: Rates, store: Store) -> Plan:
    """Sum up planned steps by stage, in the order in which stages come first."""
    stages: dict[str, list[Step]] = {}
    for step in (step for step in steps if step.job.outputs):
        stages.setdefault(step.job.stage.partition(".")[0], []).append(step)
    planned = [_planned(stage, of_stage, rates, store) for stage, of_stage in stages.items()]
    return Plan(stages=planned, is_measured=rates.measured)


def _planned(stage: str, steps: list[Step], rates: Rates, store: Store) -> PlannedStage:
    to_do = [step.job for step in steps if not step.done]
    at_once = max(1, min(len(to_do), store.engine.at_once(to_do[0].need))) if to_do else 1
    seconds = cpu = written = memory = 0.0
    for job in to_do:
        rate = rates.of(job.stage)
        if rate is not None and rate.work:
            work = work_of(job.stage, job.flat_inputs())
            seconds += work / rate.work * rate.seconds / at_once
            cpu += work / rate.work * rate.cpu_seconds
            written += work / rate.work * rate.bytes
            memory = max(memory, rate.peak_bytes * max(1.0, work / rate.peak_work))
    return PlannedStage(
        stage=stage,
        done=len(steps) - len(to_do),
        to_do=len(to_do),
        rows=sum(rates.forecast(job, slot) for job in to_do for slot in job.outputs),
        seconds=seconds,
        cpu_seconds=cpu,
        bytes=written,
        memory_bytes=memory,
        is_known=all(rates.of(job.stage) for job in to_do),
    )


def show_plan(plan: Plan, corpus: str) -> None:
    """Show a plan as the first artifact of a run."""
    markdown = "\n".join([f"# What this run will do for {corpus}", "", plan.summary(), "", *table(plan.lines())])
    create_markdown_artifact(
        key=artifact_key(f"{corpus} plan"), markdown=markdown, description="What this run will do: " + plan.summary()
    )
    get_run_logger().info("plan: %s", plan.summary())


def remember_rates(store: Store, corpus: Corpus) -> None:
    """Measure what this run did, for the plans of later ones."""
    manifests = manifests_of(store, corpus.things())
    save_rates(store, measured(one for one in manifests.values() if one.run == store.run))


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:,.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 5400 else f"{seconds / 3600:,.1f} h"


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:,.0f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"
