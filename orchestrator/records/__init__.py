"""What the system remembers: frozen records, states, reasons."""

from orchestrator.records.attempt import (
    REPORT_TOKEN_VARIABLE,
    CheckpointRef,
    Identity,
    Launch,
    Outcome,
    SelectionOutcome,
)
from orchestrator.records.base import Record
from orchestrator.records.event import Event
from orchestrator.records.report import Action, Directive, Phase, Report
from orchestrator.records.states import TRANSITIONS, JobState, Reason, may_follow

__all__ = [
    "REPORT_TOKEN_VARIABLE",
    "TRANSITIONS",
    "Action",
    "CheckpointRef",
    "Directive",
    "Event",
    "Identity",
    "JobState",
    "Launch",
    "Outcome",
    "Phase",
    "Reason",
    "Record",
    "Report",
    "SelectionOutcome",
    "may_follow",
]
