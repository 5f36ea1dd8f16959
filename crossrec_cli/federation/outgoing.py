"""What leaves a platform, written down before it does; and the privacy budget that it spends."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from crossrec_cli.artifacts.store import sync
from crossrec_cli.config.federation_fields import Federate
from crossrec_cli.errors import ArtifactError, ConfigError
from crossrec_cli.federation.steps import FederationStep, PlatformAnswer, Question
from crossrec_cli.models.vectors import Floats

LOG_FILE, ARRAYS_FOLDER, BUDGET_FILE, RELEASED_FOLDER = "outgoing.jsonl", "outgoing", "budget.json", "released"
NAMES: Mapping[FederationStep, Sequence[str]] = {
    FederationStep.MOMENTS: ("mean", "second"),
    FederationStep.SUMS: ("history", "next"),
}
"""Of the arrays in an answer; those of a round are the question's, after the whitening's two."""


class Outgoing:
    """The files in which a platform writes what it sends: a line for each answer, and the arrays themselves."""

    def __init__(self, folder: Path, chosen: Federate) -> None:
        self.folder, self.chosen = folder, chosen

    def record(self, question: Question, answer: PlatformAnswer, hidden: bool) -> None:
        """Write an answer down; it is sent only after that."""
        step = f"{question.step}-{question.number + 1}" if question.step == FederationStep.ROUND else str(question.step)
        names = NAMES.get(question.step) or question.names[2:]
        described = [_described(name, array) for name, array in zip(names, answer.arrays, strict=False)]
        line: dict[str, Any] = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "federation": question.terms.name,
            "step": step,
            "count": answer.count,
            "facts": dict(answer.facts),
            "arrays": described,
            "bytes": sum(array.nbytes for array in answer.arrays),
            "secure_aggregation": hidden,
        }
        if question.step == FederationStep.SUMS:
            line |= {"epsilon": self.chosen.epsilon, "delta": self.chosen.delta if self.chosen.epsilon else None}
        if answer.arrays:
            folder = self.folder / ARRAYS_FOLDER
            folder.mkdir(parents=True, exist_ok=True)
            arrays = {name: np.ascontiguousarray(array) for name, array in zip(names, answer.arrays, strict=True)}
            safetensors.numpy.save_file(arrays, folder / f"{step}.safetensors")
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / LOG_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def lines(self) -> list[dict[str, Any]]:
        """What ``record`` wrote, a mapping for each answer, the oldest first."""
        path = self.folder / LOG_FILE
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []

    def spend(self, key: str, federation: str) -> None:
        """Account for a release before it is made.

        Newer purchases are mostly of the same people, so that a further release adds to what is known of them: a person
        has to allow it.

        Args:
            key: of the question; the same question gets the same answer, which spends nothing.
            federation: its name.

        Raises:
            ConfigError: if there was a release before.
        """
        path = self.folder / BUDGET_FILE
        if path.exists():
            raise ConfigError([f"federate.epsilon: {path} says that it is spent; move that file to spend it once more"])
        now = datetime.now(UTC).isoformat(timespec="seconds")
        release: dict[str, Any] = {"time": now, "federation": federation, "key": key}
        release |= {"epsilon": self.chosen.epsilon, "delta": self.chosen.delta}
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / f".{BUDGET_FILE}"
        draft.write_text(json.dumps([release], indent=1), encoding="utf-8")
        sync(draft)
        draft.replace(path)

    def keep_release(self, key: str, arrays: Sequence[Floats]) -> None:
        """Keep the answer to a question, to give the same again."""
        path = self.folder / RELEASED_FOLDER / f"{key}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        safetensors.numpy.save_file(dict(zip(NAMES[FederationStep.SUMS], arrays, strict=True)), draft)
        draft.replace(path)

    def released(self, key: str) -> list[Floats] | None:
        """The answer that was given to a question; None if there was none."""
        path = self.folder / RELEASED_FOLDER / f"{key}.safetensors"
        if not path.is_file():
            return None
        try:
            arrays = safetensors.numpy.load_file(path)
            return [arrays[name] for name in NAMES[FederationStep.SUMS]]
        except (SafetensorError, KeyError, OSError) as error:
            raise ArtifactError(f"{path}: is damaged: {error}") from None


def _described(name: str, array: Floats) -> dict[str, Any]:
    return {
        "name": name,
        "shape": list(array.shape),
        "smallest": float(array.min(initial=0)),
        "largest": float(array.max(initial=0)),
    }
