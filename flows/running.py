"""A flow and its settings in, a finished run out: on the user's Prefect server, or on a private one."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import StateType
from prefect.settings import get_current_settings

from flows.build_corpus import build_corpus, in_order, places
from flows.config import CorpusConfig, RemoveConfig
from flows.opening import all_crawls, named_encoder, open_store, sources_of
from flows.planning import Plan, plan_build
from flows.remove_documents import remove_documents
from flows.report import BuildReport
from flows.terminal import WithoutTraceback, say, show_table
from storage.errors import SourceError
from storage.snapshots import latest
from storage.store import Store
from tasks.judge_candidates import check_alignment
from tasks.similarity.judging import EncoderJudge

_SETTLE_SECONDS = 20.0


def run_build(config: CorpusConfig) -> BuildReport:
    """Build a corpus, after a look whether its settings can work at all.

    Raises:
        CorpusError: what the flow raised.
    """
    check_build(config)
    return _run_to_report(build_corpus, config)


def run_removal(config: RemoveConfig) -> BuildReport:
    """Take documents out of a corpus.

    Raises:
        CorpusError: what the flow raised.
    """
    return _run_to_report(remove_documents, config)


def _run_to_report(flow: Flow[Any, Any], config: CorpusConfig | RemoveConfig) -> BuildReport:
    report: BuildReport = run_flow(flow, config)
    if report.flow_run:
        settle(report.flow_run)
    return report


def planned(config: CorpusConfig) -> Plan:
    """Say what a build would do; nothing is written, and no Prefect server is needed but for credentials.

    Raises:
        ConfigError: if a build could not begin.
    """
    with open_store(config.root, config.resources.model_copy(update={"cluster": None}), config.credentials) as store:
        base = latest(store, config.corpus)
        return plan_build(replace(store, earlier=places(base)), config, in_order(all_crawls(config), base))


def check_build(config: CorpusConfig) -> None:
    """Refuse what cannot work, before a server is started.

    Raises:
        ConfigError: naming the field.
    """
    if config.credentials:
        return  # only the server knows how to log in to where the crawls are
    store = Store(config.root)
    store.check_writable()
    sources_of(store, all_crawls(config))
    names = [name for name in (config.encoder, *config.encoders.values()) if isinstance(name, str)]
    encoders = [named_encoder(name, config.embed.precision) for name in names]
    if isinstance(config.mine.judge, EncoderJudge):
        named_encoder(config.mine.judge.encoder, config.embed.precision)
    elif config.mine.judge:
        for encoder in encoders:
            check_alignment(encoder, "mine.judge")


def run_flow(flow: Flow[Any, Any], config: Any) -> Any:
    """Run a flow in this process with its one parameter.

    Raises:
        CorpusError: what the flow raised.
        SourceError: if there is no Prefect server to run it on.
    """
    reach_server()
    for handler in logging.getLogger("prefect").handlers + logging.getLogger("prefect.flow_runs").handlers:
        if not any(isinstance(one, WithoutTraceback) for one in handler.filters):
            handler.addFilter(WithoutTraceback())
    return flow(config)


def reach_server() -> None:
    """Make sure that a Prefect server answers: the user's, or else a private one, which is started.

    Raises:
        SourceError: if none does.
    """
    url = get_current_settings().api.url
    try:
        with get_client(sync_client=True) as client:
            failure = client.api_healthcheck()
    except RuntimeError as error:
        raise SourceError(f"Prefect's private server did not start: {error}") from error
    if failure is not None:
        raise SourceError(
            f"no Prefect server answers at {url}: start it with `prefect server start`, or run with a private one "
            "by unsetting PREFECT_API_URL; `prefect config view` shows where it is set"
        ) from failure


def settle(flow_run: str) -> None:
    """Wait until the private server, which ends with this process, has recorded every task run."""
    if get_current_settings().api.url is not None:
        return  # the user's own server goes on without us
    deadline = time.monotonic() + _SETTLE_SECONDS
    with get_client(sync_client=True) as client:
        while time.monotonic() < deadline:
            runs = client.read_task_runs(
                flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[UUID(flow_run)])), limit=200
            )
            if runs and all(run.state_type in (StateType.COMPLETED, StateType.FAILED) for run in runs):
                return
            time.sleep(0.5)


def show_counts(report: BuildReport) -> None:
    """Print what a build made, and what it left out and why."""
    show_table("From records to pairs", [{"step": step, "rows": rows} for step, rows in report.funnel.items()])
    left_out = [
        {"what": what, "reason": reason, "rows": rows}
        for what, reasons in (
            ("document", report.rejected_documents),
            ("sentence", report.dropped_sentences),
            ("pair", report.rejected_pairs),
        )
        for reason, rows in reasons.items()
    ]
    show_table("Left out", left_out)
    show_table("Quarantined files", [{"file": file, "reason": why} for file, why in report.quarantined.items()])
    show_table("Sentences", [{"language": label, "unique": rows} for label, rows in report.sentences.items()])
    show_table("Sentence pairs", [{"pair": pair, "rows": rows} for pair, rows in report.pairs.items()])


def show_places(report: BuildReport, config: CorpusConfig) -> None:
    """Print where the corpora are and how to look further."""
    news = "is new" if report.is_new else "was there already; nothing was written"
    say(f"Version {report.version} of {report.corpus} {news}.")
    say(f"Corpora:      {report.release}")
    say(f"Status:       babelmill status --root {config.root}")
    if report.flow_run:
        say(f"Prefect page: {page_of(report.flow_run)}")


def page_of(flow_run: str) -> str:
    """Return the command that shows a run's page, or its address on the user's server."""
    ui = get_current_settings().ui_url
    if ui and get_current_settings().api.url is not None:
        return f"{ui}/runs/flow-run/{flow_run}"
    return f"prefect server start, then http://127.0.0.1:4200/runs/flow-run/{flow_run}"
