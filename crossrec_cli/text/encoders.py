"""The encoder of a run: which kind it is, and how later stages get the one that pretrain-adapt used."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError, safe_open

from crossrec_cli.artifacts.checkpoint import FACTS, save_tensors
from crossrec_cli.artifacts.files import LANGUAGE_MODEL
from crossrec_cli.config.training_fields import Encoder
from crossrec_cli.errors import ArtifactError
from crossrec_cli.runtime.device import Compute
from crossrec_cli.runtime.progress import Reporter
from crossrec_cli.text.encode import TextEncoder, TokenEncoder
from crossrec_cli.text.find import hash_settings, language_model, locate, package_of
from crossrec_cli.text.packaged import PackagedEncoder
from crossrec_cli.text.static import VECTORS, StaticEncoder
from crossrec_cli.text.transformer import TransformerEncoder, load_tokenizer

TOKENS_A_TEXT = 4
"""Reading a text costs as much as distilling so many tokens: a token is read as three, a title as some fifteen."""
FROZEN = "frozen"


def open_encoder(config: Encoder, texts: Sequence[str], compute: Compute, report: Reporter) -> TextEncoder:
    """The encoder that the config names, as it was published; ``auto`` takes the kind that costs less for these texts.

    Raises:
        UnavailableError: if there is no such model, or it cannot be loaded.
        ConfigError: if it cannot read as many tokens as the config says, or its package gives no tokens to distil.
    """
    folder, static, package = locate(config), config.kind == StaticEncoder.KIND, package_of(config.model)
    if package and package.reader:
        return as_it_came(config, compute)
    if config.kind == "auto":
        distinct, tokens = len(set(texts)), len(load_tokenizer(folder, config.trust_remote_code))
        static = TOKENS_A_TEXT * distinct > tokens
        if static:
            report.say(f"{distinct:,} texts are read by vectors of {tokens:,} tokens, distilled from {config.model}")
    if static:
        return StaticEncoder.distilled(folder, config, compute, texts, report)
    return TransformerEncoder(folder, config, compute)


def open_quick(config: Encoder, texts: Sequence[str], compute: Compute, report: Reporter) -> TextEncoder:
    """The encoder that reads many texts in the least time: the distilled one, where the model has tokens to distil.

    Raises:
        UnavailableError: as ``open_encoder``.
    """
    package = package_of(config.model)
    kind = "auto" if package and package.reader else StaticEncoder.KIND
    return open_encoder(config.model_copy(update={"kind": kind}), texts, compute, report)


def as_it_came(config: Encoder, compute: Compute) -> TextEncoder:
    """The language model as it was published, which reads each text."""
    folder, package = locate(config), package_of(config.model)
    if package and package.reader:
        return PackagedEncoder(folder, config, compute, package)
    return TransformerEncoder(folder, config, compute)


def identity(encoder: TextEncoder, config: Encoder) -> str:
    """A short name for an encoder, equal on two machines if the same model reads texts in the same way."""
    prefixes = [config.prefix or "", config.query_prefix or ""]
    return f"{encoder.KIND}-{hash_settings(language_model(config), config.max_tokens, config.pooling, prefixes)}"


def save_encoder(path: Path, encoder: TokenEncoder, adapted: str) -> None:
    """Write an encoder's weights as safetensors; ``adapted`` says how they were trained."""
    of_encoder = {"kind": encoder.KIND, "adapted": adapted}
    save_tensors(path, encoder.model.state_dict(), {FACTS: json.dumps(of_encoder)})  # several keys come in any order


def load_encoder(config: Encoder, inputs: Mapping[str, Path], compute: Compute) -> TextEncoder:
    """The encoder that pretrain-adapt used, for new texts.

    Raises:
        ArtifactError: if its weights cannot be read, or are of another model.
    """
    if LANGUAGE_MODEL not in inputs:
        return as_it_came(config, compute)
    path = inputs[LANGUAGE_MODEL]
    try:
        weights = safetensors.torch.load_file(path)
        if facts(path)["kind"] == StaticEncoder.KIND:
            return StaticEncoder(locate(config), config, compute, weights[VECTORS])
        encoder = TransformerEncoder(locate(config), config, compute)
        encoder.model.load_state_dict(weights)
        encoder.weights = path
    except (SafetensorError, RuntimeError, OSError, KeyError) as error:
        raise ArtifactError(f"{path}: not this language model's weights: {str(error).splitlines()[0]}") from None
    return encoder


def was_adapted(inputs: Mapping[str, Path]) -> bool:
    """Whether pretrain-adapt kept an adapted language model."""
    return LANGUAGE_MODEL in inputs and facts(inputs[LANGUAGE_MODEL])["adapted"] != FROZEN


def facts(path: Path) -> dict[str, str]:
    """What ``save_encoder`` wrote of an encoder in addition to its weights."""
    with safe_open(path, "pt") as file:
        of_encoder: dict[str, str] = json.loads(file.metadata()[FACTS])
        return of_encoder
