"""The model that the platforms of a federation share: a whitening, sums of co-purchases in text space, and weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from crossrec_cli.config.training_fields import Interest
from crossrec_cli.errors import ConfigError, InputError
from crossrec_cli.models.vectors import Floats
from crossrec_cli.models.whitening import Whitening

FACTS = "facts"
HISTORY, NEXT = "sums/history", "sums/next"
NETWORK = "network."


@dataclass(frozen=True)
class SharedModel:
    """What ``crossrec federate`` leaves on each platform."""

    encoder: str
    """Which encoder read the texts: ``text.encoders.identity``."""
    whitening: Whitening
    """Of the texts of all platforms."""
    history: Floats
    """The mean over users of h hᵀ, (d, d); h is the text vector of a user's purchases but one."""
    next: Floats
    """The mean over users of h xᵀ, (d, d); x is the text vector of the purchase that h leaves out."""
    network: Mapping[str, Floats]
    """Weights of the text map and the user encoder, by their names in ``InterestModel``; empty: none were exchanged."""
    user_encoder: str = ""
    """The kind of user encoder whose weights these are."""

    def fitting(self, interest: Interest) -> Interest:
        """The settings with the kind of user encoder whose weights were exchanged.

        Raises:
            ConfigError: if they say another kind, or another ``dim``.
        """
        if interest.user_encoder not in ("auto", self.user_encoder):
            raise ConfigError([f"interest.user_encoder: the federation learned a {self.user_encoder}; set auto"])
        dim = len(self.network["default_user"])
        if interest.dim != dim:
            raise ConfigError([f"interest.dim: {interest.dim}, and {dim} in the federation"])
        return interest.model_copy(update={"user_encoder": self.user_encoder})

    def save(self, path: Path) -> None:
        """Write it as safetensors."""
        tensors = {"whitening/mean": self.whitening.mean, "whitening/matrix": self.whitening.matrix}
        tensors |= {HISTORY: self.history, NEXT: self.next}
        tensors |= {f"{NETWORK}{name}": weights for name, weights in self.network.items()}
        facts = json.dumps({"encoder": self.encoder, "user_encoder": self.user_encoder})
        arrays = {name: np.ascontiguousarray(array, np.float32) for name, array in tensors.items()}
        safetensors.numpy.save_file(arrays, path, {FACTS: facts})

    @classmethod
    def load(cls, path: Path) -> SharedModel:
        """Read one.

        Raises:
            InputError: if it cannot be read, or is another file.
        """
        try:
            with safe_open(path, "numpy") as file:
                facts = json.loads(file.metadata()[FACTS])
                tensors = {name: np.array(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118  no mapping
            network = {name.removeprefix(NETWORK): tensors[name] for name in tensors if name.startswith(NETWORK)}
            whitening = Whitening(tensors["whitening/mean"], tensors["whitening/matrix"])
            history, following = tensors[HISTORY], tensors[NEXT]
            width, directions = whitening.matrix.shape
            if whitening.mean.shape != (width,) or history.shape != following.shape or len(history) > directions:
                raise ValueError("its arrays do not fit each other")
            return cls(facts["encoder"], whitening, history, following, network, str(facts["user_encoder"]))
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(f"{path}: not a model that 'crossrec federate' left: {reason}") from None
