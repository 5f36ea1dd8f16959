"""The coordinator of a federation: what it asks next, and what it makes of the answers. It sees no platform's data."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from crossrec_cli.artifacts.checkpoint import Checkpoint
from crossrec_cli.errors import ArtifactError, UnavailableError
from crossrec_cli.federation.steps import (
    ATTEMPTS,
    LARGEST_VALUE,
    FederationStep,
    FederationTerms,
    PlatformAnswer,
    Question,
    spread,
)
from crossrec_cli.federation.text_sums import whitening_of
from crossrec_cli.models.histories import ItemStats
from crossrec_cli.models.neural.tower import InterestModel
from crossrec_cli.models.vectors import Floats
from crossrec_cli.runtime.progress import Reporter

STATE_FILE = "state.safetensors"
LARGEST_SHARE = 2
"""A platform weighs at most so many times the median one, so that a false count cannot lead the others."""
COUNTED = {FederationStep.MOMENTS: "items", FederationStep.SUMS: "users", FederationStep.ROUND: "purchases"}


@dataclass
class Coordinator:
    """A federation's state, which is on the disk after each step: a killed one goes on from there."""

    terms: FederationTerms
    folder: Path
    report: Reporter
    joined: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """What the platforms said of themselves, by their node; asked again by each process."""
    arrays: dict[str, Floats] = field(default_factory=dict)
    """What is shared so far: the whitening, the sums, and the network's weights."""
    number: int = 0
    """Rounds that are done."""
    encoder: str = ""
    user_encoder: str = ""
    kept: bool = False
    failed: int = 0
    """Attempts at the next step."""

    @classmethod
    def of(cls, terms: FederationTerms, folder: Path, report: Reporter) -> Coordinator:
        """One that goes on from the state in the folder, if that is of the same terms."""
        coordinator = cls(terms, folder, report)
        if (folder / STATE_FILE).is_file():
            coordinator._load()
        return coordinator

    @property
    def step(self) -> FederationStep | None:
        """What is next; None: all is done."""
        if not self.joined:
            return FederationStep.JOIN
        if "mean" not in self.arrays:
            return FederationStep.MOMENTS
        if "history" not in self.arrays:
            return FederationStep.SUMS
        if self.number < self.terms.rounds and len(self.participants(FederationStep.ROUND)) >= self.terms.least:
            return FederationStep.ROUND
        return None if self.kept else FederationStep.KEEP

    def participants(self, step: FederationStep) -> list[str]:
        """The nodes that are asked: those that read texts alike, and in a round those that exchange weights."""
        alike = [node for node, facts in self.joined.items() if facts["encoder"] == self.encoder]
        return [node for node in alike if step != FederationStep.ROUND or self.joined[node]["weights"]]

    def question(self) -> Question:
        """What is asked next; there must be a next step."""
        step = self.step
        assert step is not None
        if step == FederationStep.ROUND and not self._network():
            self._begin_rounds()
        names = {
            FederationStep.JOIN: [],
            FederationStep.MOMENTS: [],
            FederationStep.SUMS: ["mean", "matrix"],
            FederationStep.ROUND: ["mean", "matrix", *self._network()],
            FederationStep.KEEP: list(self.arrays),
        }[step]
        most = 0
        if step in COUNTED:
            counts = [int(self.joined[node][COUNTED[step]]) for node in self.participants(step)]
            most = max(int(LARGEST_SHARE * median(counts)), 1)
        arrays = [self.arrays[name] for name in names]
        kinds = (self.encoder, self.user_encoder)
        return Question(step, self.terms, self.number, most, *kinds, self._length, names, arrays)

    @property
    def _length(self) -> float:
        """The median of the lengths that the platforms' embeddings have."""
        lengths = [float(self.joined[node]["length"]) for node in self.participants(FederationStep.MOMENTS)]
        return max(median(lengths), 1e-6) if lengths else 1.0

    def _network(self) -> list[str]:
        return [name for name in self.arrays if name not in ("mean", "matrix", "history", "next")]

    def _begin_rounds(self) -> None:
        """Untrained weights of the network, the same from every start."""
        torch.manual_seed(self.terms.seed)
        texts = np.zeros((1, self.arrays["matrix"].shape[1]), np.float32)
        item_stats = ItemStats(np.ones(1, bool), np.zeros(1, np.int64))
        model = InterestModel(self.terms.interest_of(self.user_encoder), texts, item_stats, 1)
        self.arrays |= {name: np.atleast_1d(weight.detach().numpy()) for name, weight in model.exchanged().items()}

    def accept(self, answers: Mapping[str, PlatformAnswer]) -> None:
        """Combine the answers to ``question``, by node, and go on to the next step.

        Answers that cannot be right are left out. If too few are left the step stays, to be asked again.

        Raises:
            UnavailableError: if too few platforms answered several times.
        """
        question = self.question()
        usable = {node: answer for node, answer in answers.items() if self._is_usable(node, question, answer)}
        needed = self.terms.platforms if question.step == FederationStep.JOIN else self.terms.least
        if len(usable) < needed:
            self.failed += 1
            if self.failed == ATTEMPTS:
                few = f"{question.step}: {len(usable)} of {needed} platforms gave a usable answer"
                raise UnavailableError(f"{few}; each platform's own log says why it gave none")
            self.report.warn(f"{question.step}: {len(usable)} of {needed} answers can be used; it is asked again")
            return
        self.failed = 0
        if question.step == FederationStep.JOIN:
            self._join(usable)
        elif question.step == FederationStep.KEEP:
            self.kept = True
        else:
            weights = [min(answer.count, question.most) for answer in usable.values()]
            arrays = [answer.arrays for answer in usable.values()]
            means = [np.average(same, axis=0, weights=weights) for same in zip(*arrays, strict=True)]
            self._take(question, means, weights)
        self._save()

    def _is_usable(self, node: str, question: Question, answer: PlatformAnswer) -> bool:
        reason = ""
        if question.step == FederationStep.JOIN and not _introduces(answer.facts):
            reason = "does not say what it is"
        if question.step in COUNTED:
            shapes = self._shapes(question, answer)
            if [array.shape for array in answer.arrays] != shapes:
                reason = "has other shapes"
            elif not all(np.isfinite(array).all() for array in answer.arrays):
                reason = "is not finite"
            elif any(abs(array).max(initial=0) > LARGEST_VALUE * (1 + 1e-3) for array in answer.arrays):
                reason = f"is beyond {LARGEST_VALUE:g}"
            elif answer.count < 1:
                reason = "counts nothing"
        if reason:
            self.report.warn(f"{question.step}: an answer of platform {node} {reason}, and is left out")
        return not reason

    def _shapes(self, question: Question, answer: PlatformAnswer) -> list[tuple[int, ...]]:
        if question.step == FederationStep.ROUND:
            return [self.arrays[name].shape for name in self._network()]
        if question.step == FederationStep.SUMS:
            width = min(self.terms.directions, self.arrays["matrix"].shape[1])
            return [(width, width)] * 2
        width = len(answer.arrays[0]) if answer.arrays else 0
        return [(width,), (width, width)]

    def _join(self, answers: Mapping[str, PlatformAnswer]) -> None:
        facts = {node: answer.facts for node, answer in answers.items()}
        common = Counter(str(each["encoder"]) for each in facts.values())
        self.joined, self.encoder = dict(facts), self.encoder or common.most_common(1)[0][0]
        for node in facts.keys() - set(self.participants(FederationStep.JOIN)):
            self.report.warn(f"platform {node} reads texts with {facts[node]['encoder']} and takes no part")
        if len(self.participants(FederationStep.JOIN)) < self.terms.least:
            raise UnavailableError(f"join: fewer than {self.terms.least} platforms read texts alike; see encoder")
        if not self.user_encoder:
            asked = self.participants(FederationStep.ROUND) or self.participants(FederationStep.JOIN)
            kinds = Counter(str(facts[node]["user_encoder"]) for node in asked)
            chosen = str(self.terms.interest["user_encoder"])
            self.user_encoder = kinds.most_common(1)[0][0] if chosen == "auto" else chosen

    def _take(self, question: Question, means: list[Floats], counts: list[int]) -> None:
        """The mean answers to one step become part of what is shared."""
        if question.step == FederationStep.MOMENTS:
            mean, second = (array.astype(np.float64) for array in means)
            whitening = whitening_of(mean, second / spread(len(mean)), sum(counts))
            length = np.float32(question.length)
            self.arrays |= {"mean": whitening.mean * length, "matrix": whitening.matrix / length}
        elif question.step == FederationStep.SUMS:
            history, following = (array.astype(np.float32) / spread(len(array)) for array in means)
            self.arrays |= {"history": history, "next": following}
        else:
            self.arrays |= dict(zip(self._network(), (mean.astype(np.float32) for mean in means), strict=True))
            self.number += 1

    @property
    def _key(self) -> str:
        return hashlib.sha256(self.terms.json.encode()).hexdigest()

    def _save(self) -> None:
        facts = {"key": self._key, "number": self.number, "encoder": self.encoder, "user_encoder": self.user_encoder}
        facts |= {"kept": self.kept, "names": list(self.arrays)}
        tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in self.arrays.items()}
        self._state.save(tensors, facts)

    @property
    def _state(self) -> Checkpoint:
        return Checkpoint(self.folder / STATE_FILE, "1 step")

    def _load(self) -> None:
        saved = self._state.load()
        try:
            tensors, facts = saved or ({}, {})
            arrays = {name: tensors[name].numpy() for name in facts["names"]}
            key, number, kept = facts["key"], int(facts["number"]), bool(facts["kept"])
            kinds = str(facts["encoder"]), str(facts["user_encoder"])
        except (KeyError, TypeError, ValueError):
            path = self._state.path
            raise ArtifactError(f"{path}: not the state of a federation; remove it to begin anew") from None
        if key != self._key or kept or not arrays:
            return  # another federation, or one that ended: this one begins anew
        self.arrays, self.number, (self.encoder, self.user_encoder) = arrays, number, kinds
        rounds = f"{self.number} of {self.terms.rounds} rounds" if self.number else "the sums"
        self.report.say(f"continuing after {rounds}")


def _introduces(facts: Mapping[str, Any]) -> bool:
    """Whether what a platform says of itself when it joins can be used."""
    numbers = [facts.get(name) for name in ("items", "users", "purchases", "weights", "length")]
    known = all(isinstance(one, int | float) and np.isfinite(one) and one >= 0 for one in numbers)
    return known and bool(facts.get("encoder")) and facts.get("user_encoder") in ("bag", "sequence", "hybrid")
