"""K-shot curves of the published weights and of what they are compared with, over a gang.

The joint start is trained by one rank while the others measure points; what it costs is told to
each beforehand, so that all end at about the same time. A start that was measured is kept by the
job: a resumed Attempt does not measure it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import PreTrainedModel

from orchestrator.specs import FineTuneSpec, FullMethod, MetaMethod
from orchestrator.storage.objectstore import open_store
from orchestrator.storage.scores import ScoreCache, score_key
from orchestrator.worker.data.splits import Splits
from orchestrator.worker.evaluation.adaptation import Adaptation, HeldOut, Point, at_most
from orchestrator.worker.evaluation.curves import PUBLISHED, curves
from orchestrator.worker.evaluation.passes import EvaluationPass
from orchestrator.worker.gang import Gang
from orchestrator.worker.models.learner import FewSteps, Learner
from orchestrator.worker.models.loading import load_model
from orchestrator.worker.models.start import Start
from orchestrator.worker.training.joint import JointPlan, JointStart, joint_plan, train_jointly
from orchestrator.worker.training.methods import apply_method
from orchestrator.worker.training.reporting import Reporter
from orchestrator.worker.training.trainer import Run

PLAIN, JOINT = "plain", "joint"
_BACKWARD = 3  # passes forward that a row costs in training

Figures = dict[str, Any]
Weights = list[torch.Tensor]
Measured = dict[tuple[str, Point], Figures]


@dataclass(frozen=True, slots=True)
class Starts:
    """Where the weights of each start come from; learners are made when they are needed."""

    published: Callable[[], Learner]
    plain: Callable[[int], Learner]  # of a seed, from which its new head follows


@dataclass
class Watch:
    """Whether to stop, and who else is there."""

    gang: Gang
    reporter: Reporter
    _told: bool = False

    def should_stop(self) -> bool:
        """Whether this rank was told to."""
        self._told = self._told or self.reporter.should_stop
        return self._told

    def stopped(self) -> bool:
        """Whether any rank was told to; a collective."""
        return any(self.gang.gather(self.should_stop()))


def k_shot_curves(
    run: Run, published: torch.nn.Module, evaluation: EvaluationPass, splits: Splits
) -> Figures | None:
    """How a finished training's weights adapt; None where the gang was told to stop meanwhile.

    Args:
        run: The training.
        published: Its weights, as they will be published; they are changed.
        evaluation: Of rows as they are, whatever the training made of them.
        splits: With the rows that are lent.
    """
    return Curves(
        adaptation=adaptation_of(run.spec, splits, evaluation),
        starts=starts_of(run.spec, published, run.start, evaluation),
        spec=run.spec,
        splits=splits,
        watch=Watch(run.gang, run.reporter),
        cache=ScoreCache(open_store(run.launch.store)),
        follows_from={"job": run.launch.job},
        outer_steps=run.num_steps,
    ).measure()


def starts_of(
    spec: FineTuneSpec, published: torch.nn.Module, start: Start, evaluation: EvaluationPass
) -> Starts:
    """Learners of the published model and of the base with a new head, in fp32 on the device."""
    task, tokenizer = evaluation.task, evaluation.tokenizer

    def learner(model: torch.nn.Module) -> Learner:
        assert isinstance(model, PreTrainedModel), "`validate` refuses adapters"
        torch.nn.Module.to(model, evaluation.device, torch.float32)
        return Learner(
            model,
            task,
            tokenizer,
            in_bf16=spec.training.precision == "bf16",
            fresh_head=isinstance(spec.method, MetaMethod) and spec.method.head == "fresh",
        )

    def plain(seed: int) -> Learner:
        seed += spec.training.seed
        base = load_model(task, start.base, tokenizer, seed)
        return learner(apply_method(FullMethod(type="full"), base, start, seed))

    return Starts(published=lambda: learner(published), plain=plain)


def adaptation_of(spec: FineTuneSpec, splits: Splits, evaluation: EvaluationPass) -> Adaptation:
    """What the curves of a resolved spec are measured by."""
    how = spec.evaluation.adaptation
    assert how is not None
    assert how.domains is not None, "the plan resolves them"
    assert how.batch_size is not None, "likewise"
    assert spec.engine.micro_batch_size is not None, "likewise"
    return Adaptation(
        how=how,
        steps=FewSteps(
            steps=how.steps,
            learning_rate=how.learning_rate,
            optimizer=how.optimizer,
            batch_size=how.batch_size,
            micro_batch_size=spec.engine.micro_batch_size,
        ),
        domains={
            domain: HeldOut(
                splits.lent[domain],
                at_most(splits.test[domain], how.max_test_rows, spec.training.seed),
            )
            for domain in how.domains
        },
        digest=splits.train_digest,
        seed=spec.training.seed,
        evaluation=evaluation,
    )


@dataclass
class Curves:
    """The phase: every start at every point."""

    adaptation: Adaptation
    starts: Starts
    spec: FineTuneSpec
    splits: Splits
    watch: Watch
    cache: ScoreCache
    follows_from: dict[str, Any]  # what figures are kept by
    outer_steps: int
    _joint: dict[str, Any] = field(default_factory=dict)

    def measure(self) -> Figures | None:
        """The curves with how they were measured; None where the gang was told to stop."""
        how, gang = self.adaptation.how, self.watch.gang
        kept: Mapping[str, Any] = gang.from_first(self._kept() if gang.is_first else None)
        # 1. The starts whose weights are there; the joint one is trained beside them.
        missing = [name for name in (PUBLISHED, PLAIN) if name in self._names and name not in kept]
        plan = None
        if JOINT in how.compare_with and JOINT not in kept:
            plan = joint_plan(self.spec, how, self.outer_steps)
        found, joint = self._first_round(missing, plan)
        if self.watch.stopped():
            return None
        done = {**kept, **self._together(missing, found)}
        # 2. The joint one, by all.
        if plan is not None:
            joint = gang.from_first(joint)
            assert joint is not None, "it was trained, or the gang would have stopped"
            self._joint = joint.report
            found = dict(self._points(JOINT, self._mine(self._of(JOINT)), joint))
            if self.watch.stopped():
                return None
            done |= self._together([JOINT], found)
        return self._document(done)

    @property
    def _names(self) -> tuple[str, ...]:
        return (PUBLISHED, *self.adaptation.how.compare_with)

    def _of(self, start: str) -> list[Point]:
        return self.adaptation.points(alike=start != PLAIN)

    def _first_round(
        self, starts: Sequence[str], plan: JointPlan | None
    ) -> tuple[Measured, JointStart | None]:
        """This rank's share of the points; rank 0 trains the joint start first."""
        gang, joint = self.watch.gang, None
        points = [(start, point) for start in starts for point in self._of(start)]
        ahead = 0.0 if plan is None else _BACKWARD * plan.steps * plan.batch_size
        shares = dealt([self._cost(point) for _, point in points], gang.world_size, ahead)
        if plan is not None and gang.is_first:
            learner = self.starts.plain(0)
            joint = train_jointly(
                plan,
                self.spec,
                learner,
                self.splits,
                self.adaptation.evaluation,
                self.watch.should_stop,
            )
        mine = [points[index] for index in shares[gang.rank]]
        found: Measured = {}
        for start in starts:
            found |= dict(self._points(start, [p for name, p in mine if name == start], joint))
        return found, joint

    def _mine(self, points: Sequence[Point]) -> list[Point]:
        gang = self.watch.gang
        shares = dealt([self._cost(point) for point in points], gang.world_size)
        return [points[index] for index in shares[gang.rank]]

    def _cost(self, point: Point) -> float:
        """In rows of a pass forward."""
        held_out, steps = self.adaptation.domains[point.domain], self.adaptation.steps
        rows = min(steps.batch_size, point.shots * len(held_out.classes))
        return _BACKWARD * steps.steps * rows + len(held_out.test)

    def _points(
        self, start: str, points: Sequence[Point], joint: JointStart | None
    ) -> Iterator[tuple[tuple[str, Point], Figures]]:
        """Measures points of one start, seed by seed, until it is told to stop."""
        learner: Learner | None = None
        weights: Weights = []
        made_for: int | None = None
        for point in sorted(points):
            if self.watch.should_stop():
                return
            if learner is None or (start == PLAIN and made_for != point.seed):
                learner = self.starts.published() if start == PUBLISHED else None
                learner = learner or self.starts.plain(point.seed)
                weights = [parameter.detach().clone() for parameter in learner.parameters]
                if start == JOINT:
                    assert joint is not None
                    weights = [weight.to(learner.device) for weight in joint.weights]
                made_for = point.seed
            yield (start, point), self.adaptation.measure(learner, weights, point)

    def _together(self, starts: Sequence[str], found: Measured) -> dict[str, Any]:
        """start -> figures of all its points, as they are kept."""
        gathered: Measured = {}
        for part in self.watch.gang.gather(found):
            gathered |= part
        done = {}
        for start in starts:
            done[start] = {
                "points": [
                    [point.domain, point.shots, point.seed, gathered[start, point]]
                    for point in self._of(start)
                ],
                "report": self._joint if start == JOINT else {},
            }
            if self.watch.gang.is_first:
                self.cache.put(self._key(start), done[start])
        return done

    def _kept(self) -> dict[str, Any]:
        found = {start: self.cache.get(self._key(start)) for start in self._names}
        return {start: figures for start, figures in found.items() if figures is not None}

    def _key(self, start: str) -> str:
        return score_key({**self.follows_from, "curve": start})

    def _document(self, done: Mapping[str, Any]) -> Figures:
        """Of `metrics.json`."""
        how = self.adaptation.how
        names = shown_of(self.spec)
        by_point: dict[tuple[str, str, int], list[Figures]] = {}
        for start in self._names:
            figures = {(d, k, seed): found for d, k, seed, found in done[start]["points"]}
            for domain in self.adaptation.domains:
                for shots in how.shots:
                    by_point[start, domain, shots] = [
                        figures.get((domain, shots, seed)) or figures[domain, shots, 0]
                        for seed in range(how.seeds)
                    ]
        joint = done.get(JOINT, {}).get("report")
        return {
            "metrics": list(names),
            "starts": list(self._names),
            "how": how.model_dump(mode="json", exclude_none=True),
            **({"joint": joint} if joint else {}),
            "points": curves(by_point, names),
        }


def shown_of(spec: FineTuneSpec) -> tuple[str, ...]:
    """The metrics that curves are made of."""
    assert spec.evaluation.metrics is not None, "the plan resolves them"
    return spec.evaluation.metrics


def dealt(costs: Sequence[float], ranks: int, ahead: float = 0.0) -> list[list[int]]:
    """Indices for each rank, the dearest first to whoever has the least to do.

    Args:
        costs: Of each piece.
        ranks: Of the gang.
        ahead: What rank 0 has to do before.
    """
    loads = [ahead, *([0.0] * (ranks - 1))]
    shares: list[list[int]] = [[] for _ in range(ranks)]
    for index in sorted(range(len(costs)), key=lambda index: (-costs[index], index)):
        rank = min(range(ranks), key=lambda rank: (loads[rank], rank))
        loads[rank] += costs[index]
        shares[rank].append(index)
    return shares
