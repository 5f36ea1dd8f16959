"""The steps of a federation, what each exchanges, and the settings that hold for all platforms."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from crossrec_cli.config.schema import Config
from crossrec_cli.config.training_fields import Finetune, Interest

Arrays = Sequence[npt.NDArray[np.float32]]
ATTEMPTS = 3
"""A step that too few answer is asked so often."""
LARGEST_VALUE = 64.0
"""No value of an answer is farther from 0: the range of secure aggregation's integers."""


def least_of(platforms: int) -> int:
    """Two thirds of some platforms, and two."""
    return min(platforms, max(2, -(-2 * platforms // 3)))


def spread(width: int) -> np.float32:
    """What the mean products of vectors of length 1 are multiplied with, so that they use the range well.

    Their diagonal has the sum 1, so that no value gets larger than this.
    """
    return np.float32(np.sqrt(width))


class FederationStep(StrEnum):
    """What the coordinator asks; each answer is arrays that are averaged, weighted by a count."""

    JOIN = "join"
    """Who is there: nothing is averaged."""
    MOMENTS = "moments"
    """Mean and second moments of the texts' embeddings, weighted by items."""
    SUMS = "sums"
    """Products of text vectors of what the same users buy, weighted by users."""
    ROUND = "round"
    """Weights of the network after some epochs at home, weighted by purchases."""
    KEEP = "keep"
    """The shared model goes to all platforms: nothing is averaged."""


SECRET = (FederationStep.MOMENTS, FederationStep.SUMS, FederationStep.ROUND)
"""Steps whose answers secure aggregation hides."""


@dataclass(frozen=True)
class FederationTerms:
    """Settings that hold for all platforms of a federation."""

    name: str
    rounds: int
    epochs: int
    proximal: float
    platforms: int
    secure: bool
    directions: int
    seed: int
    interest: dict[str, Any]
    """As ``config.training_fields.Interest``."""
    training: dict[str, Any]
    """As ``config.training_fields.Finetune``."""

    @classmethod
    def of(cls, config: Config) -> FederationTerms:
        """The coordinator's settings."""
        own = {"weights", "epsilon", "delta"}  # of each platform
        return cls(
            **config.federate.model_dump(mode="json", exclude=own),
            seed=config.seed,
            interest=config.interest.model_dump(mode="json"),
            training=config.finetune.model_dump(mode="json"),
        )

    @classmethod
    def from_json(cls, text: str) -> FederationTerms:
        """What ``json`` wrote."""
        return cls(**json.loads(text))

    @property
    def json(self) -> str:
        """As text that fits into a message."""
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def least(self) -> int:
        """A step needs answers of so many platforms."""
        return least_of(self.platforms)

    def interest_of(self, user_encoder: str) -> Interest:
        """The network's sizes."""
        return Interest.model_validate_json(json.dumps(self.interest | {"user_encoder": user_encoder}))

    def training_of_round(self, number: int) -> Finetune:
        """The training at home in a round, from 0 on: the learning rate falls from round to round."""
        rate = self.training["lr"] * (1 - number / max(self.rounds, 1))
        return Finetune.model_validate_json(json.dumps(self.training | {"epochs": self.epochs, "lr": rate}))


@dataclass(frozen=True)
class Question:
    """What the coordinator sends to every platform."""

    step: FederationStep
    terms: FederationTerms
    number: int = 0
    """Of the round, from 0 on."""
    most: int = 0
    """The count with which an answer is weighted at most; 0: any."""
    encoder: str = ""
    """See ``text.encoders.identity``; empty: not known yet."""
    user_encoder: str = ""
    """The kind of the network's user encoder; empty: not known yet."""
    length: float = 1.0
    """The usual length of an embedding, by which embeddings are divided."""
    names: Sequence[str] = ()
    """Of the arrays."""
    arrays: Arrays = ()

    @property
    def facts(self) -> dict[str, str]:
        """All but the arrays."""
        return {
            "step": self.step,
            "terms": self.terms.json,
            "number": str(self.number),
            "most": str(self.most),
            "encoder": self.encoder,
            "user_encoder": self.user_encoder,
            "length": repr(self.length),
            "names": json.dumps(list(self.names)),
        }

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any], arrays: Arrays) -> Question:
        """What ``facts`` wrote, with the arrays."""
        return cls(
            FederationStep(facts["step"]),
            FederationTerms.from_json(facts["terms"]),
            int(facts["number"]),
            int(facts["most"]),
            str(facts["encoder"]),
            str(facts["user_encoder"]),
            float(facts["length"]),
            json.loads(facts["names"]),
            arrays,
        )

    @property
    def named(self) -> dict[str, npt.NDArray[np.float32]]:
        """The arrays by their names."""
        return dict(zip(self.names, self.arrays, strict=True))


@dataclass(frozen=True)
class PlatformAnswer:
    """What leaves a platform."""

    arrays: Arrays = ()
    count: int = 1
    """How much it weighs in the mean."""
    facts: Mapping[str, str | int | float] = field(default_factory=dict)
