"""Config fields of ``crossrec federate``: meaning, unit, bound, default."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from crossrec_cli.config.field_types import Count, Section


class Federate(Section):
    """federate: learn together with other platforms, whose purchases, ids and lists stay with them.

    The first fields are the coordinator's and hold for all platforms; ``weights``, ``epsilon`` and ``delta`` are each
    platform's own.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = "federation"
    """Of the federation; the coordinator keeps its state under this name and continues from it."""
    rounds: Annotated[int, Field(ge=0, le=1000)] = 10
    """Rounds in which weights of the text map and the user encoder are exchanged among the platforms with ``weights:
    true``; 0, or too few of these: only sums are."""
    epochs: Count = 1
    """Epochs of each platform in a round."""
    proximal: Annotated[float, Field(ge=0)] = 0.0
    """How strongly a platform's weights are pulled to the shared ones (FedProx's µ), where platforms differ much."""
    platforms: Annotated[int, Field(ge=2, le=1000)] = 3
    """A federation begins when so many have joined, and goes on with answers of two thirds of them. A platform with
    ``secure`` answers among no fewer. Of two, each learns the other's answers: the mean less its own."""
    secure: bool = True
    """Secure aggregation: the coordinator learns the sum of the platforms' answers, and none of them."""
    directions: Annotated[int, Field(ge=1, le=4096)] = 32
    """The sums are of so many directions of the whitened texts, those of largest variance: few keep the noise of an
    ``epsilon`` small, and without it up to 256 are of use."""
    weights: bool = False
    """Whether this platform takes part in the rounds of weights; no ``epsilon`` covers them."""
    epsilon: Annotated[float, Field(gt=0, le=100)] | None = 8.0
    """The budget of differential privacy for one user's purchases, spent on the sums; null: no noise is added. It
    needs ``weights: false``."""
    delta: Annotated[float, Field(gt=0, lt=0.5)] = 1e-6
    """The probability with which ``epsilon`` may not hold."""

    @model_validator(mode="after")
    def _budget_covers_all(self) -> Federate:
        if self.epsilon is not None and self.weights:
            raise ValueError("'epsilon' does not cover weights: set 'epsilon: null', or leave 'weights: false'")
        return self
