"""The language model that embedded the items, for new texts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError

from crossrec_cli.artifacts.files import LANGUAGE_MODEL
from crossrec_cli.config.training_fields import Encoder
from crossrec_cli.errors import ArtifactError
from crossrec_cli.runtime.device import Compute
from crossrec_cli.text.encode import TextEncoder
from crossrec_cli.text.find import locate


def load_encoder(config: Encoder, inputs: Mapping[str, Path], compute: Compute) -> TextEncoder:
    """The language model, with adapted weights if pretrain-adapt kept some.

    Raises:
        ArtifactError: if the weights cannot be read, or are of another model.
    """
    encoder = TextEncoder(locate(config), config, compute)
    if LANGUAGE_MODEL in inputs:
        path = inputs[LANGUAGE_MODEL]
        try:
            encoder.model.load_state_dict(safetensors.torch.load_file(path))
        except (SafetensorError, RuntimeError, OSError) as error:
            raise ArtifactError(f"{path}: not this language model's weights: {str(error).splitlines()[0]}") from None
    return encoder
