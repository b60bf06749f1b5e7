"""Who runs where: a frozen snapshot in, decisions out. Pure; no clock, no I/O, no log."""

from orchestrator.control.scheduler.cycle import plan_cycle, standings
from orchestrator.control.scheduler.values import (
    Admit,
    Decisions,
    Node,
    Policy,
    Preempt,
    Reservation,
    Resources,
    Snapshot,
    Workload,
)

__all__ = [
    "Admit",
    "Decisions",
    "Node",
    "Policy",
    "Preempt",
    "Reservation",
    "Resources",
    "Snapshot",
    "Workload",
    "plan_cycle",
    "standings",
]
