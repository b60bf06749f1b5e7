"""Gangs of 2, 1 and 4 ranks for `test_resize.py`, forked from one process that has imported all."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

from orchestrator.records import Launch
from orchestrator.worker.gang import Gang
from tests.worker.tiny import shard_everything
from tests.worker.training.resume_gang import attempt, store_of

SAVED_AT = 7
WORKERS = 2


def train(launches: list[Launch], gang: Gang) -> dict[str, Any]:
    """Each run to its end, from its checkpoint where it has one: the steps it took."""
    found = {}
    for launch in launches:
        outcome = attempt(launch, gang)
        rows = [row for row in store_of(launch).history(launch.attempt) if "loss" in row]
        found[launch.store] = {
            "state": outcome.state,
            "resumed_from_step": outcome.resumed_from_step,
            "steps": [row["step"] for row in rows],
            "losses": [row["loss"] for row in rows],
            "norms": [row["grad_norm"] for row in rows],
        }
    return found


def rank(number: int, size: int, port: int, folder: Path) -> None:
    os.environ.update(
        RANK=str(number),
        LOCAL_RANK=str(number),
        WORLD_SIZE=str(size),
        LOCAL_WORLD_SIZE=str(size),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
    )
    log = os.open(folder / f"log-{size}-{number}", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    gang = Gang.join()
    shard_everything()
    documents = json.loads((folder / f"launches-{size}.json").read_text())
    found = train([Launch.model_validate(document) for document in documents], gang)
    if gang.is_first:
        (folder / f"found-{size}.json").write_text(json.dumps(found))


def gang_of(size: int, folder: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    forked = multiprocessing.get_context("fork")
    ranks = [
        forked.Process(target=rank, args=(number, size, port, folder)) for number in range(size)
    ]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    codes = [process.exitcode for process in ranks]
    assert not any(codes), f"{size} ranks: {codes}"


def main() -> None:
    folder = Path(sys.argv[1])
    gang_of(WORKERS, folder)
    for here, there in json.loads((folder / "copies.json").read_text()):
        shutil.copytree(here, there)  # what was saved, where the others look for it
    for size in (1, 4):
        gang_of(size, folder)


if __name__ == "__main__":
    main()
