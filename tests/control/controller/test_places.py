"""Where an adapter of a team may lead: its lineage is written by whoever may write to a store."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.control.controller.places import TeamPlaces, may_lead_to

TEAM = TeamPlaces("s3://models/red", ("s3://models/red", "s3://bases"))


@pytest.mark.parametrize(
    ("base", "may"),
    [
        ("hf://org/name", True),
        ("package://some_package/model", True),
        ("models://sentiment@2", True),
        ("s3://bases/encoder", True),
        ("s3://models/red/uploads/x", True),
        ("s3://models/blue/sentiment/1", False),
        ("s3://models/red/.checkpoints/x", False),
        ("/etc", False),
        ("file:///etc", False),
    ],
)
def test_of_a_team_with_an_object_store(base: str, may: bool) -> None:
    assert may_lead_to(base, TEAM) is may


def test_of_a_team_with_a_folder(tmp_path: Path) -> None:
    team = TeamPlaces(str(tmp_path / "store"), ())
    assert may_lead_to(str(tmp_path / "store" / "base"), team)
    assert not may_lead_to(str(tmp_path / "store" / ".." / "secrets"), team)
    assert not may_lead_to(str(tmp_path / "storehouse"), team)
