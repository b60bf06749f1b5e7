"""Who may ask, and who has asked."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from orchestrator.control.controller.places import is_team
from orchestrator.control.controller.submission import require
from orchestrator.errors import InvalidInput, NotFound, Problem
from orchestrator.interfaces.api.authentication import digest_of, new_token
from orchestrator.interfaces.api.dependencies import PageAsked, ServiceHere, Who
from orchestrator.interfaces.wire import Deleted, NewToken, Page, TokenRequest
from orchestrator.records import AccessToken, AuditEntry, Principal, Role

router = APIRouter(tags=["admin"])


@router.get("/whoami")
def whoami(who: Who) -> Principal:
    """Whom this server takes the caller for."""
    return who


@router.post("/tokens", status_code=201)
def create_token(asked: TokenRequest, request: Request, service: ServiceHere, who: Who) -> NewToken:
    """Makes a token. Its secret is in this answer and nowhere else."""
    require(who, Role.ADMIN)
    if not is_team(asked.team):
        raise InvalidInput([Problem(f"no token can be of team {asked.team}", path="team")])
    now, lifetime = service.clock(), asked.expires_in_seconds
    token, secret = new_token(
        AccessToken(
            id="",
            name=asked.name,
            team=asked.team,
            role=asked.role,
            created_at=now,
            created_by=who.name,
            expires_at=None if lifetime is None else now + lifetime,
        )
    )
    service.tokens.create(token, digest_of(secret))
    request.state.target = token.id
    return NewToken(token=token, secret=secret)


@router.get("/tokens")
def tokens(service: ServiceHere, who: Who, team: str | None = None) -> list[AccessToken]:
    """All tokens, the oldest first, without their secrets."""
    require(who, Role.ADMIN)
    return service.tokens.list(team)


@router.delete("/tokens/{id}")
def revoke_token(id: str, service: ServiceHere, who: Who) -> Deleted:
    """Refuses a token from now on."""
    require(who, Role.ADMIN)
    if not service.tokens.revoke(id, service.clock()):
        raise NotFound(f"there is no token {id} that is still good")
    return Deleted(id=id)


@router.get("/audit")
def audit(
    service: ServiceHere,
    who: Who,
    page: PageAsked,
    team: Annotated[str | None, Query(description="Of others: admins only.")] = None,
) -> Page[AuditEntry]:
    """Who asked for what and how it was answered, the newest first."""
    require(who, Role.LEAD)
    shown = team if who.role is Role.ADMIN else who.team
    if team not in (None, shown):
        return Page(items=())
    found, following = service.audit.list(page, shown)
    return Page(items=tuple(found), next=following)
