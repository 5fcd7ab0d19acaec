"""A Prefect server in; a server that notices dead and stuck runs by itself out."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import CancelFlowRun, ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from pydantic import Field

from storage.fingerprint import Settings

TAG = "babelmill"  # of every deployment of prefect.yaml, and so of its runs
HEARTBEAT_SECONDS = 180  # PREFECT_FLOWS_HEARTBEAT_FREQUENCY in prefect.yaml

_FLOW_RUN = "prefect.flow-run."
_ANY_RUN: dict[str, str | list[str]] = {"prefect.resource.id": f"{_FLOW_RUN}*"}
_OURS = ResourceSpecification({"prefect.resource.id": f"prefect.tag.{TAG}", "prefect.resource.role": "tag"})
_BUILD = ResourceSpecification({"prefect.resource.name": "build-corpus", "prefect.resource.role": "deployment"})


class Patience(Settings):
    """How long a run may be silent, how often it is started again, how long a build may take."""

    silent_seconds: Annotated[
        float, Field(ge=10, description="A run that is silent for so long is dead; at least three heartbeats")
    ] = 3.0 * HEARTBEAT_SECONDS
    restart_seconds: Annotated[
        float, Field(ge=10, description="A run that has crashed is left alone for so long; then it is started again")
    ] = 30.0
    restarts: Annotated[int, Field(ge=1, le=20, description="So often a crashed run is started again")] = 3
    stuck_hours: Annotated[float, Field(gt=0, description="A build that takes so long is cancelled")] = 24.0


def automations(patience: Patience) -> list[AutomationCore]:
    """Return what the server does by itself."""
    return [silent_run_crashed(patience), crashed_run_again(patience), stuck_build_cancelled(patience)]


def silent_run_crashed(patience: Patience) -> AutomationCore:
    """Mark a run as crashed when its heartbeats end, for then its process and its worker are gone."""
    return AutomationCore(
        name="babelmill: a silent run has crashed",
        description=f"A run has sent no heartbeat for {patience.silent_seconds:g} s: its process is gone",
        trigger=EventTrigger(
            posture=Posture.Proactive,
            match=ResourceSpecification(_ANY_RUN),
            match_related=_OURS,
            for_each={"prefect.resource.id"},
            after={f"{_FLOW_RUN}heartbeat"},
            expect={f"{_FLOW_RUN}*"},
            within=timedelta(seconds=patience.silent_seconds),
        ),
        actions=[_change(StateType.CRASHED, "Crashed", "No heartbeat: its process is gone")],
    )


def crashed_run_again(patience: Patience) -> AutomationCore:
    """Start a crashed run again, but not for ever: the server counts a run's starts, and a trigger can read the count.

    A run that crashed before it began (no image, no worker) has the count 0 and is left to people.

    Not at once: the process that ran it reports the crash, and when that process has ended too, ten seconds later on a
    busy machine, the worker reports the same crash once more, which would strike down a run that is under way again. A
    trigger that waits also holds the server's SQLite while it acts; one that acts at once competes with its own action
    ("database is locked"), is repeated, and starts the run several times.
    """
    goes_on = ("Scheduled", "AwaitingRetry", "Pending", "Running", "Completed", "Failed", "Cancelling", "Cancelled")
    counts = [str(count) for count in range(1, patience.restarts + 1)]
    return AutomationCore(
        name="babelmill: a crashed run starts again",
        description=f"At most {patience.restarts} times; what the run had finished is not done again",
        trigger=EventTrigger(
            posture=Posture.Proactive,
            match=ResourceSpecification(_ANY_RUN | {"prefect.run-count": counts}),
            match_related=_OURS,
            for_each={"prefect.resource.id"},
            after={f"{_FLOW_RUN}Crashed"},
            expect={f"{_FLOW_RUN}{state}" for state in goes_on},
            within=timedelta(seconds=patience.restart_seconds),
        ),
        actions=[_change(StateType.SCHEDULED, "AwaitingRetry", "Again after a crash")],
    )


def stuck_build_cancelled(patience: Patience) -> AutomationCore:
    """Cancel a build that does not end: as builds of a deployment wait for each other, it would stop all later ones."""
    ends = ("Completed", "Failed", "Crashed", "Cancelling", "Cancelled", "Paused", "Suspended")
    return AutomationCore(
        name="babelmill: a stuck build is cancelled",
        description=f"A run of build-corpus that takes {patience.stuck_hours:g} h keeps later ones from starting",
        trigger=EventTrigger(
            posture=Posture.Proactive,
            match=ResourceSpecification(_ANY_RUN),
            match_related=_BUILD,
            for_each={"prefect.resource.id"},
            after={f"{_FLOW_RUN}Running"},
            # "Running" among what is expected: a run that starts again gets its whole time again
            expect={f"{_FLOW_RUN}{state}" for state in ("Running", *ends)},
            within=timedelta(hours=patience.stuck_hours),
        ),
        actions=[CancelFlowRun()],
    )


def ensure_automations(client: SyncPrefectClient, patience: Patience) -> list[str]:
    """Create the automations that are missing and update those that differ.

    One that is as it should be is left alone: an update would make the server forget for which runs it is waiting. One
    that a person has switched off stays off.

    Returns:
        The names of those that were created or updated.
    """
    changed = []
    for wanted in automations(patience):
        existing = client.read_automations_by_name(wanted.name)
        if not existing:
            client.create_automation(wanted)
        elif _does(existing[0]) != _does(wanted):
            # validated from plain values, in which every field is set: the client sends no others, and an action
            # without its `type` becomes one that does nothing
            whole = wanted.model_dump(exclude={"owner_resource"}) | {"enabled": existing[0].enabled}
            client.update_automation(existing[0].id, AutomationCore.model_validate(whole))
        else:
            continue
        changed.append(wanted.name)
    return changed


def _change(state: StateType, name: str, message: str) -> ChangeFlowRunState:
    return ChangeFlowRunState(state=state, name=name, message=message, force=False)


def _does(automation: AutomationCore) -> dict[str, object]:
    """Return what an automation does, without the ids that the server gives to its parts."""
    return automation.model_dump(mode="python", include={"description": True, "trigger": True, "actions": True})
