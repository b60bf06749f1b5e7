"""A bag of words, trained by every worker of the gang: what a script of one's own looks like.

Each worker takes its rows of every batch, DistributedDataParallel averages the gradients. Batches
follow from seed and step alone, so that a run that was killed goes on as if nothing had happened.
"""

import argparse
import hashlib
import json
from pathlib import Path

import torch
from features import hashed
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from orchestrator.worker.custom import Session, current_session

LABELS = ("negative", "positive")
BUCKETS = 4096
BATCH = 64


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--steps", type=int, default=400)
    options.add_argument("--every", type=int, default=50, help="steps between checkpoints")
    asked = options.parse_args()
    session = current_session()
    training = session.spec.training
    torch.manual_seed(training.seed)
    # 1. Rows, model and optimizer; where to go on, if this job was here before.
    rows = read(session, "train")
    net = torch.nn.Linear(BUCKETS, len(LABELS)).to(session.device)
    model = DistributedDataParallel(net)
    optimizer = torch.optim.Adam(model.parameters(), lr=training.learning_rate)
    step = session.resume_step or 0
    if session.resume_folder is not None:
        saved = torch.load(session.resume_folder / "state.pt", weights_only=True)
        net.load_state_dict(saved["net"])
        optimizer.load_state_dict(saved["optimizer"])
    # 2. Train; save now and then, and when the job is asked to stop.
    while step < asked.steps:
        texts, labels = batch(rows, training.seed, step, session)
        loss = cross_entropy(model(texts), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        session.report(step=step, max_steps=asked.steps, metrics={"loss": loss.item()})
        stop = session.should_stop()
        if stop or step % asked.every == 0:
            save(session, step, net, optimizer)
        if stop:
            return
    # 3. Measure, and hand the model over.
    if session.rank == 0:
        figures = {name: measure(net, session, name) for name in session.spec.data.domains}
        session.publish(export(session, net), metrics=figures)


def read(session: Session, split: str, domain: str | None = None) -> list[dict[str, str]]:
    """Rows of one domain, or of all."""
    names = [domain] if domain is not None else list(session.spec.data.domains)
    files = [file for name in names for file in session.files(name, split)]
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def batch(
    rows: list[dict[str, str]], seed: int, step: int, session: Session
) -> tuple[torch.Tensor, torch.Tensor]:
    """This worker's rows of a step."""
    key = hashlib.sha256(f"{seed}/{step}".encode()).digest()
    drawn = torch.Generator().manual_seed(int.from_bytes(key[:7], "big"))
    chosen = torch.randint(len(rows), (BATCH,), generator=drawn)[session.rank :: session.world_size]
    return encoded([rows[int(number)] for number in chosen], session.device)


def encoded(rows: list[dict[str, str]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    texts = torch.stack([hashed(row["text"], BUCKETS) for row in rows])
    labels = torch.tensor([LABELS.index(row["label"]) for row in rows])
    return texts.to(device), labels.to(device)


def save(
    session: Session, step: int, net: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    """Every worker calls `save_checkpoint`; all states are equal here, so one has files."""
    folder = None
    if session.rank == 0:
        folder = session.scratch / "state"
        folder.mkdir(exist_ok=True)
        state = {"net": net.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save(state, folder / "state.pt")
    session.save_checkpoint(folder, step)


def measure(net: torch.nn.Module, session: Session, domain: str) -> dict[str, float]:
    texts, labels = encoded(read(session, "test", domain), session.device)
    with torch.no_grad():
        found = net(texts).argmax(dim=1)
    return {"accuracy": (found == labels).float().mean().item()}


def export(session: Session, net: torch.nn.Module) -> Path:
    folder = session.scratch / "model"
    folder.mkdir(exist_ok=True)
    weights = {name: tensor.cpu().contiguous() for name, tensor in net.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"buckets": BUCKETS, "labels": LABELS}))
    return folder


if __name__ == "__main__":
    main()
