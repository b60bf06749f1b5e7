"""Methods: how the weights change."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from orchestrator.specs.base import SpecError, SpecModel

ModuleName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*$")
]
"""A module of a model, or the end of its path: `query`, `attention.self.query`."""


class FullMethod(SpecModel):
    """Every weight learns."""

    type: Literal["full"] = Field(description="Every weight learns.")


class FreezeMethod(SpecModel):
    """The lower part of the base stays as it is."""

    type: Literal["freeze"] = Field(description="The lower part of the base stays as it is.")
    num_layers: int | None = Field(
        default=None,
        ge=0,
        description="Freeze the embeddings and the first n layers; 0 freezes the embeddings only.",
    )
    all_layers: bool = Field(
        default=False, description="Freeze the whole base and train the head: feature extraction."
    )

    @model_validator(mode="after")
    def _one_choice(self) -> FreezeMethod:
        if self.all_layers == (self.num_layers is not None):
            raise SpecError(
                "give either `num_layers: n` or `all_layers: true`",
                hint="`all_layers: true` trains the head only: feature extraction",
            )
        return self


class PretrainMethod(SpecModel):
    """Every weight learns from unlabelled texts; what is published is the base of other jobs.

    On texts of a domain, or of a task's own training split (Gururangan et al. 2020,
    arXiv:2004.10964).
    """

    type: Literal["pretrain"] = Field(
        description="Every weight learns from unlabelled texts; the result is a base."
    )
    split_texts: bool = Field(
        default=True,
        description=(
            "A text longer than training.max_length becomes several rows; false: it is cut."
        ),
    )


class AdapterMethod(SpecModel):
    """What all methods have in common that train small matrices beside a frozen base.

    Hu et al. 2021, arXiv:2106.09685. What is absent is the plan's choice: the adapter's own where
    the base is one that is trained further.
    """

    type: str = Field(description="Which kind of adapter.")
    rank: int | None = Field(
        default=None,
        ge=1,
        le=4096,
        description="Rank of each update; absent: 16, or that of the adapter to go on with.",
    )
    alpha: float | None = Field(
        default=None,
        gt=0,
        description="Updates are scaled by alpha / rank; absent: twice the rank.",
    )
    dropout: float = Field(
        default=0.05, ge=0, lt=1, description="Dropout on what goes into the updates."
    )
    target_modules: tuple[ModuleName, ...] | None = Field(
        default=None,
        min_length=1,
        description=(
            "Linear modules that get an update, by name or by the end of it, e.g. query; "
            "absent: all of the base's layers."
        ),
    )
    modules_to_save: tuple[ModuleName, ...] = Field(
        default=(),
        description="More modules that learn whole; what is new for the task (its head) does.",
    )
    use_dora: bool | None = Field(
        default=None,
        description="Also learn the length of each weight's columns (DoRA); absent: no.",
    )
    use_rslora: bool | None = Field(
        default=None,
        description="Scale by alpha / sqrt(rank) (rsLoRA), for large ranks; absent: no.",
    )
    merge: bool = Field(
        default=False,
        description="Publish whole weights with the updates added, not the adapter alone.",
    )


class LoraMethod(AdapterMethod):
    """Small matrices learn beside the frozen base, and are published as an adapter."""

    type: Literal["lora"] = Field(
        description="Low-rank updates learn beside the frozen base (LoRA, DoRA, rsLoRA)."
    )


class QloraMethod(AdapterMethod):
    """As lora, over a base that is held in 4 bits; needs GPUs."""

    type: Literal["qlora"] = Field(
        description="As lora, over a base that is held in 4 bits on the GPU."
    )
    quantization: Literal["nf4", "fp4"] = Field(
        default="nf4", description="The 4-bit numbers that the base is held in."
    )
    double_quantization: bool = Field(
        default=True, description="Also quantize the scales: 0.4 bits less a weight."
    )


class MultiTaskMethod(SpecModel):
    """Every weight learns from several tasks at once: one base, a head for each or one for all."""

    type: Literal["multi_task"] = Field(
        description="Every weight learns from several tasks at once; with `tasks`."
    )
    sampling: Literal["proportional", "temperature", "equal", "weights"] = Field(
        default="proportional",
        description=(
            "How often rows of each task are drawn: proportional: every row once an epoch; "
            "temperature: rows ** (1 / temperature); equal: as often; weights: by `weights`."
        ),
    )
    temperature: float | None = Field(
        default=None,
        gt=0,
        description="Of the sampling temperature: 1 is proportional, large ones near equal.",
    )
    weights: dict[str, Annotated[float, Field(gt=0)]] | None = Field(
        default=None,
        min_length=1,
        description="Of the sampling weights: a task's share of the rows that an epoch draws.",
    )
    balancing: Literal["static", "uncertainty"] = Field(
        default="static",
        description=(
            "static: losses count as the tasks' `weight` says; uncertainty: an uncertainty of each "
            "task is learned too, and its loss divided by it."
        ),
    )
    balancing_learning_rate: float = Field(
        default=1.0e-2,
        gt=0,
        le=10,
        description="Peak learning rate of the uncertainties; other weights learn at training's.",
    )

    @model_validator(mode="after")
    def _of_the_sampling(self) -> MultiTaskMethod:
        for field in ("temperature", "weights"):
            given = getattr(self, field) is not None
            if field == self.sampling and not given:
                hint = "e.g. 2.0" if field == "temperature" else "e.g. {sentiment: 2, topic: 1}"
                raise SpecError(f"sampling {field} needs `{field}`", field=field, hint=hint)
            if field != self.sampling and given:
                raise SpecError(
                    f"`{field}` is the sampling {field}'s, and sampling is {self.sampling}",
                    field=field,
                    hint=f"remove it, or write sampling: {field}",
                )
        return self


MethodSpec = Annotated[
    FullMethod | FreezeMethod | LoraMethod | QloraMethod | PretrainMethod | MultiTaskMethod,
    Field(discriminator="type", description="How the weights change."),
]


def splits_texts(method: MethodSpec) -> bool:
    """Whether a text that is too long becomes several rows."""
    return isinstance(method, PretrainMethod) and method.split_texts
