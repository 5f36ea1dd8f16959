"""Config fields of what is trained: meaning, unit, bound, default."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from crossrec_cli.config.field_types import (
    SCORERS,
    Count,
    Fraction,
    ScorerName,
    Section,
    at_least_one,
    distinct,
)


class Encoder(Section):
    """The pretrained language model that reads the item texts."""

    model: str = "all-MiniLM-L6-v2"
    """A packaged model's name, a folder, or a hub id."""
    revision: str = "main"
    """Commit or tag of a hub id; pin a commit and tomorrow's run reads the same weights."""
    offline: bool = False
    """Never ask a hub, use its local cache alone."""
    max_tokens: Annotated[int, Field(ge=4, le=8192)] = 48
    pooling: Literal["auto", "mean", "cls", "last"] = "auto"
    """How the tokens' vectors become the text's; ``auto``: as the model's folder says, else the last token's of a
    causal model, which alone has read the whole text, and the mean for others."""
    trust_remote_code: bool = False
    """Run the Python code that a model brings along. It can do all that you can: read it, and pin a revision."""
    allow_pickle_weights: bool = False
    """Read a model without safetensors from ``pytorch_model.bin``, a pickle. Torch lets it make tensors alone, and so
    keeps it from running code; safetensors can hold nothing else."""
    batch_size: Count = 64


class Rates(Section):
    """How fast the parts of the neural scorer learn, each a multiple of ``lr``; 0: it stays as it is."""

    text: Annotated[float, Field(ge=0)] = 1.0
    """The map from texts to item vectors."""
    ids: Annotated[float, Field(ge=0)] = 1.0
    """The items' own vectors and biases."""
    users: Annotated[float, Field(ge=0)] = 1.0
    """User encoders and tags."""

    @model_validator(mode="after")
    def _something_learns(self) -> Rates:
        if not (self.text or self.ids or self.users):
            raise ValueError("all are 0: nothing would learn")
        return self


class Training(Section):
    """One run of the training loop."""

    epochs: Annotated[int, Field(ge=0, lt=2**31)] = 15
    lr: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Learning rate at the start; it falls to zero along a straight line."""
    batch_size: Count = 128
    """Users per step."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    accumulate: Count = 1
    """Batches whose gradients make one step of the optimizer: memory of one batch, steps as with a larger one."""
    rates: Rates = Rates()
    candidates: Count = 4096
    """Items of a domain scored in a step. Where there are more to choose from, those asked for in the step and a random
    sample of the others, each of which then counts for as many as it stands for."""


class TextTraining(Section):
    """How the language model learns that the same people buy two things."""

    objective: Literal["pairs", "history"] = "pairs"
    """``pairs``: of two things that somebody bought each finds the other; ``history``: what somebody bought before, up
    to four things, finds what came next."""
    steps: Count = 300
    batch_size: Annotated[int, Field(ge=2, le=65536)] = 64
    """Users a step, one question each; the others' items are the negatives."""
    accumulate: Count = 1
    """Batches whose gradients make one step; the negatives stay those of a batch."""
    lr: Annotated[float, Field(gt=0, le=1)] = 1e-4
    warmup: Fraction = 0.1
    """Share of the steps in which the learning rate rises; then it falls to zero."""
    frozen_layers: Annotated[int, Field(ge=0, le=1024)] = 0
    """With ``full``: so many layers from below stay as they are; the word embeddings always do."""
    rank: Annotated[int, Field(ge=1, le=1024)] = 16
    """With ``lora``: of its matrices."""


class Adapt(Training):
    """pretrain-adapt: the neural scorer learns from what is bought in source and target."""

    language_model: Literal["frozen", "lora", "full"] = "frozen"
    """Whether the language model itself learns from the source. What it learned is kept only where it ranks the source
    purchases of users that it did not see better than before."""
    text: TextTraining = TextTraining()


class Finetune(Training):
    """finetune: the neural scorer goes on with both domains, which count alike; then all scorers are weighed."""

    init: Literal["adapted", "scratch"] = "adapted"
    """Start from what both domains taught, or untrained."""
    epochs: Annotated[int, Field(ge=0, lt=2**31)] = 10
    refit: bool = True
    """Once the scorers are weighed, have all of them learn from what validation held back as well: the newest that a
    shop has. The baselines of ``evaluate`` do the same."""


class Interest(Section):
    """What a score is made of, and the sizes of its trained part."""

    scorers: Annotated[tuple[ScorerName, ...], AfterValidator(at_least_one), AfterValidator(distinct)] = SCORERS
    """What is fused. ``neural`` alone is trained by gradients; ``crossrec run --quick`` leaves it out."""
    user_encoder: Literal["auto", "bag", "sequence", "hybrid"] = "auto"
    """How ``neural`` reads a history: as a set, in its order, or both; ``auto``: in its order where later purchases
    tell more, else as a set."""
    dim: Annotated[int, Field(ge=4, le=4096)] = 128
    dropout: Fraction = 0.3
    id_dropout: Fraction = 0.1
    """Share of items that must do without their id in a step, so that text alone finds its place."""
    max_sequence: Annotated[int, Field(ge=2, le=4096)] = 50
    """Latest interactions that the sequence encoder reads; the bag reads all."""
    layers: Count = 2
    heads: Count = 2

    @model_validator(mode="after")
    def _divisible(self) -> Interest:
        if self.dim % self.heads:
            raise ValueError(f"dim ({self.dim}) must be a multiple of heads ({self.heads})")
        return self


TUNED: tuple[tuple[type[Section], str], ...] = ((Adapt, "adapt"), (Finetune, "finetune"), (Interest, "interest"))
"""Sections whose fields may be tuned, with their names."""
