"""One scheduling cycle as the controller runs it. Called by `loop`, and timed by `benchmarks`."""

from __future__ import annotations

import gc

from orchestrator.control.scheduler import Decisions, Snapshot, plan_cycle


def plan(snapshot: Snapshot) -> Decisions:
    """`plan_cycle` with the collector of cycles paused.

    Planning makes tens of thousands of objects that all live until its end, which makes the
    collector look through everything the process has again and again, for nothing: a third of the
    time of a large cycle.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return plan_cycle(snapshot)
    finally:
        if was_enabled:
            gc.enable()
