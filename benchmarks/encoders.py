"""How fast does each kind of encoder read a shop's texts, and how well do the texts rank by it? As Markdown.

    crossrec run my.yaml --to pretrain-adapt
    python benchmarks/encoders.py my.yaml --texts 20000

Both kinds read in this process, one after the other: as many texts as given, drawn at random, for the time; all of them
for the figures, which are those of the scorer ``text`` with weights from validation. Distilling is measured by itself.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.artifacts.files import CASES, FINETUNE
from crossrec_cli.config.load import load_config
from crossrec_cli.evaluation import metrics
from crossrec_cli.evaluation.significance import interval
from crossrec_cli.evaluation.validation import scores
from crossrec_cli.models.dataset import load_dataset, texts_of, training_data
from crossrec_cli.models.fused import FusedModel
from crossrec_cli.models.histories import load_cases
from crossrec_cli.pipeline.current import inputs_of
from crossrec_cli.runtime import device
from crossrec_cli.runtime.progress import Silent
from crossrec_cli.text.encode import TextEncoder
from crossrec_cli.text.encoders import open_encoder
from crossrec_cli.text.find import locate
from crossrec_cli.text.static import distill
from crossrec_cli.text.transformer import TransformerEncoder

NDCG = metrics.name("ndcg", 10)


class Shop:
    """A run's data and cases."""

    def __init__(self, config_file: Path, overrides: Sequence[str]) -> None:
        self.config = load_config(config_file, overrides)
        self.compute = device.prepare(self.config.runtime, self.config.seed)
        inputs = inputs_of(self.config, FINETUNE)
        cases = parquet.read_table(inputs[CASES])
        self.valid, self.test = (load_cases(cases, split) for split in (c.VALID, c.TEST))
        self.dataset = load_dataset(inputs)
        self.data = training_data(inputs, self.dataset)
        self.texts = texts_of(self.dataset.items)

    def encoder(self, kind: str) -> TextEncoder:
        """The config's language model as one kind of encoder."""
        config = self.config.encoder.model_copy(update={"kind": kind})
        return open_encoder(config, self.texts, self.compute, Silent())

    def ndcg(self, embeddings: npt.NDArray[np.float32]) -> metrics.Floats:
        """NDCG@10 of each test case by texts alone."""
        data, candidates, mask_seen = self.data, self.dataset.target_items, self.config.evaluate.mask_seen
        data = replace(data, embeddings=embeddings)
        fused = FusedModel.fitted(["text"], data, self.valid, candidates, mask_seen, self.config.seed)
        return scores(fused.candidate_scorer(candidates), data.histories, self.test, mask_seen)[NDCG]


def seconds(encoder: TextEncoder, texts: Sequence[str]) -> float:
    """How long it takes to embed some texts."""
    encoder.embed(texts[:64], lambda done, detail="": None)
    begin = time.perf_counter()
    encoder.embed(texts, lambda done, detail="": None)
    return time.perf_counter() - begin


def main() -> None:
    """Read the command line, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    arguments = parser.parse_args()
    shop = Shop(arguments.config, arguments.overrides)
    distinct = sorted(set(shop.texts))
    drawn = [distinct[number] for number in np.random.default_rng(0).permutation(len(distinct))[: arguments.texts]]
    begin = time.perf_counter()
    config = shop.config.encoder
    distill(TransformerEncoder(locate(config), config, shop.compute), Silent())
    print(f"distilling takes {time.perf_counter() - begin:.0f} s, once; {len(distinct):,} distinct texts\n")
    print("| encoder | texts/s | NDCG@10 of text | over the transformer (95 %) |\n|---|---|---|---|")
    measured: list[metrics.Floats] = []
    for kind in ("transformer", "static"):
        encoder = shop.encoder(kind)
        speed = len(drawn) / seconds(encoder, drawn)
        ndcg = shop.ndcg(encoder.embed(shop.texts, lambda done, detail="": None))
        measured.append(ndcg)
        low, high = interval(ndcg - measured[0])
        gain = f"{metrics.mean(ndcg - measured[0]):+.4f} ({low:+.4f} to {high:+.4f})" if kind == "static" else ""
        print(f"| {kind} | {speed:,.0f} | {metrics.mean(ndcg):.4f} | {gain} |", flush=True)


if __name__ == "__main__":
    main()
