"""What the system remembers: frozen records, states, reasons."""

from orchestrator.records.attempt import (
    REPORT_TOKEN_VARIABLE,
    CheckpointRef,
    ContinuedRef,
    GateResult,
    Identity,
    Launch,
    LaunchHead,
    Outcome,
    Placed,
    SelectionOutcome,
)
from orchestrator.records.base import Record
from orchestrator.records.event import Event
from orchestrator.records.job import (
    PRIORITIES,
    Attempt,
    AttemptState,
    Demand,
    Goal,
    Job,
    JobDocuments,
    Wait,
    WaitReason,
)
from orchestrator.records.queue import AccessToken, AuditEntry, Principal, Queue, Role
from orchestrator.records.report import Action, Directive, Phase, Point, Report
from orchestrator.records.states import TRANSITIONS, JobState, Reason, may_follow

__all__ = [
    "PRIORITIES",
    "REPORT_TOKEN_VARIABLE",
    "TRANSITIONS",
    "AccessToken",
    "Action",
    "Attempt",
    "AttemptState",
    "AuditEntry",
    "CheckpointRef",
    "ContinuedRef",
    "Demand",
    "Directive",
    "Event",
    "GateResult",
    "Goal",
    "Identity",
    "Job",
    "JobDocuments",
    "JobState",
    "Launch",
    "LaunchHead",
    "Outcome",
    "Phase",
    "Placed",
    "Point",
    "Principal",
    "Queue",
    "Reason",
    "Record",
    "Report",
    "Role",
    "SelectionOutcome",
    "Wait",
    "WaitReason",
    "may_follow",
]
