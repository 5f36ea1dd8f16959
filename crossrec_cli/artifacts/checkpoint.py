"""The state of a training, from which a killed run continues: one safetensors file, replaced as a whole."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.optim import Optimizer

from crossrec_cli.artifacts.store import sync

FACTS = "facts"


@dataclass
class Checkpoint:
    """The file of a training's state, and how often it is written."""

    path: Path
    every: str
    """``5 minutes`` or ``100 steps``."""
    _since: float = field(default_factory=time.monotonic)
    _steps: int = 0

    def due(self) -> bool:
        """Whether to save now; call it once a step."""
        number, unit = self.every.split()
        self._steps += 1
        passed = (time.monotonic() - self._since) / 60 if unit.startswith("minute") else self._steps
        return passed >= int(number)

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Replace the saved state. A kill at any moment leaves the old or the new one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(".draft")
        save_tensors(draft, tensors, {FACTS: json.dumps(facts)})
        sync(draft)
        draft.replace(self.path)
        self._since, self._steps = time.monotonic(), 0

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The last state; None if there is none or it cannot be read."""
        try:
            with safe_open(self.path, "pt") as file:
                facts: dict[str, Any] = json.loads(file.metadata()[FACTS])
                # Copies, since Windows cannot replace a file that is mapped into memory.
                return {name: file.get_tensor(name).clone() for name in file.keys()}, facts  # noqa: SIM118  no mapping
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return None


def save_tensors(path: Path, tensors: Mapping[str, Tensor], facts: dict[str, str] | None = None) -> None:
    """Write tensors by name as safetensors, wherever they are and however they lie, with facts in the file's header."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    safetensors.torch.save_file(contiguous, path, facts)


def add_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies, each with a prefix before its name."""
    return {f"{prefix}.{name}": tensor.clone() for name, tensor in tensors.items()}


def strip_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names have the prefix, without it."""
    return {
        name.removeprefix(f"{prefix}."): tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")
    }


def moments(optimizer: Optimizer) -> dict[str, Tensor]:
    """The state that an optimizer keeps from earlier steps."""
    state: dict[str, Tensor] = {}
    for number, tensors in optimizer.state_dict()["state"].items():
        state |= add_prefix(f"optimizer.{number}", tensors)
    return state


def restore_moments(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Load into an optimizer what ``moments`` returned; ``tensors`` may have others too."""
    numbers = sorted({int(name.split(".")[1]) for name in tensors if name.startswith("optimizer.")})
    state = optimizer.state_dict()
    optimizer.load_state_dict(
        state | {"state": {number: strip_prefix(f"optimizer.{number}", tensors) for number in numbers}}
    )
