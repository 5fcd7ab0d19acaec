"""A version that is about to be made in, a person's word for it out."""

from __future__ import annotations

from prefect import get_run_logger, runtime
from prefect.artifacts import create_markdown_artifact
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput

from flows.config import CorpusConfig
from flows.progress import artifact_key
from storage.errors import ConfigError, CorpusError
from storage.snapshots import Draft, Snapshot
from storage.store import Store

_WEEK = 7 * 24 * 3600


class Approval(RunInput):
    """What the form in Prefect's UI asks before a version is made."""

    approve: bool = True


def check_approval(config: CorpusConfig) -> None:
    """Refuse before any work what would have to wait for a person and could not.

    Raises:
        ConfigError: if nothing could start the run again.
    """
    if config.approval and runtime.deployment.id is None:
        raise ConfigError("approval: only a run of a deployment can wait for a person; set it to false to run here")


def await_approval(store: Store, config: CorpusConfig, base: Snapshot | None, draft: Draft) -> None:
    """Suspend the run until somebody approves; the process ends meanwhile, and the run finds its work done afterwards.

    Suspending, not pausing: a paused run loses its slot of the deployment's concurrency limit, and crashes for it.

    Raises:
        CorpusError: if approval is refused.
    """
    if not config.approval or (base is not None and not changed(base, draft)):
        return
    [release] = [store.url(one) for one in draft.things if one.name == "release"]
    create_markdown_artifact(
        key=artifact_key(f"{config.corpus} approval"),
        markdown=f"The next version of **{config.corpus}** is `{release}`.\n\nResume the run to make it the newest.",
        description="What is to be approved",
    )
    told = suspend_flow_run(wait_for_input=Approval, timeout=_WEEK, key="approval")
    if not told.approve:
        raise CorpusError(f"the new version of {config.corpus} was not approved; nothing points to it")
    get_run_logger().info("the new version was approved")


def changed(base: Snapshot, draft: Draft) -> bool:
    """Say whether a draft differs from the version before in anything but its settings."""
    return {(one.folder, one.content) for one in base.things} != {(one.folder, one.content) for one in draft.things}
