"""What user code works with: a script of a custom task imports `current_session` from here."""

from orchestrator.worker.custom.session import Session, current_session

__all__ = ["Session", "current_session"]
