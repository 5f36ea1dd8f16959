"""Train RecTools' SASRec and UniSRec on a crossrec run's split, and compare them with crossrec user by user.

In a virtual environment of their own, since UniSRec wants an older numpy and pandas. The run's preprocess and
pretrain-adapt must be up to date, without ``--ours`` its finetune and evaluate too.

    python -m venv rivals
    rivals/bin/pip install torch==2.13.0 'rectools[torch]==0.19.0' 'numpy<2' 'pandas<3' 'pyarrow<22'
    rivals/bin/python benchmarks/rivals.py runs/amazon-beauty --models sasrec --epochs 40 --lr 1e-3 3e-3 --dropout .2 .4
    rivals/bin/python benchmarks/rivals.py runs/amazon-beauty --ours runs/controls  # the mean of controls.py's seeds
    rivals/bin/python benchmarks/rivals.py runs/amazon-beauty --time   # one epoch of SASRec with crossrec's sizes

Both learn from the target's training histories, with a softmax over all its items, and are validated every few epochs;
of all settings and epochs, the one that ranks validation best is tested. Neither learns from validation's
purchases, so the run should have ``finetune.refit: false``. UniSRec reads the texts' embeddings that crossrec reads.
"""

from __future__ import annotations

import argparse
import logging
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from rectools import Columns
from rectools.dataset import Dataset
from rectools.fast_transformers.unisrec import UniSRecModel
from rectools.models import SASRecModel

K = 10
Scores: TypeAlias = pd.DataFrame
Lists = Callable[[str], pd.DataFrame]
"""Gives the lists for ``valid`` or ``test``."""
Watch = Callable[[int, Lists], None]
"""Called after some epochs with the epoch and a way to get lists."""


@dataclass
class Split:
    """The target's part of a run's data."""

    train: pd.DataFrame
    """The training part: user, item and position; items are numbered from 1, as rows of ``texts``."""
    histories: dict[str, pd.DataFrame]
    """The same of what is given at validation and at test."""
    truth: dict[str, pd.DataFrame]
    texts: torch.Tensor
    """float32 (items + 1, width); row 0 is padding."""

    @classmethod
    def of(cls, run: Path) -> Split:
        """Read it from the run's current artifacts."""
        read = {
            name: pd.read_parquet(run / "preprocess" / "current" / f"{name}.parquet")
            for name in ("interactions", "items", "cases")
        }
        target = np.flatnonzero(read["items"].sort_values("item_index")["domain"] == "target")
        number = pd.Series(np.arange(1, len(target) + 1), index=target)
        rows = read["interactions"][["user_index", "item_index", "position", "split"]]
        rows = rows[rows["item_index"].isin(target)].assign(item=lambda part: number[part["item_index"]].to_numpy())
        histories, truth = {}, {}
        for split in ("valid", "test"):
            cases = read["cases"][read["cases"]["split"] == split]
            given = rows.merge(cases[["user_index", "history_length"]].drop_duplicates("user_index"), on="user_index")
            histories[split] = given[given["position"] < given["history_length"]]
            asked = cases[cases["item_index"].isin(target)]
            truth[split] = asked.assign(item=number[asked["item_index"]].to_numpy())[["user_index", "item"]]
        vectors = pd.read_parquet(run / "pretrain-adapt" / "current" / "item_text.parquet").sort_values("item_index")
        texts = torch.from_numpy(np.stack(vectors["embedding"].to_numpy())[target])
        texts = torch.cat([torch.zeros(1, texts.shape[1]), texts])
        return cls(rows[rows["split"] == "train"], histories, truth, texts)


def scores(lists: pd.DataFrame, truth: pd.DataFrame) -> Scores:
    """HR@10 and NDCG@10 of every user; 0 without a list. One item is hidden."""
    hits = truth.merge(lists, on=["user_index", "item"], how="left")
    gain = (1 / np.log2(1 + hits["rank"])).fillna(0.0)
    return pd.DataFrame({"user_index": hits["user_index"], "hr@10": (gain > 0).astype(float), "ndcg@10": gain})


def dataset_of(rows: pd.DataFrame) -> Dataset:
    """RecTools' dataset; positions stand in for times."""
    start = pd.Timestamp("2000-01-01")
    return Dataset.construct(
        pd.DataFrame(
            {
                Columns.User: rows["user_index"],
                Columns.Item: rows["item"],
                Columns.Weight: 1.0,
                Columns.Datetime: start + pd.to_timedelta(rows["position"], unit="min"),
            }
        )
    )


def trainer(epochs: int, callback: pl.Callback, device: str) -> pl.Trainer:
    """Lightning's, silent."""
    return pl.Trainer(
        max_epochs=epochs,
        callbacks=[callback],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator=device,
        gradient_clip_val=1.0,
    )


class Look(pl.Callback):
    """Calls back after every so many epochs."""

    def __init__(self, every: int, then: Callable[[int, pl.LightningModule], None]) -> None:
        self.every, self.then = every, then

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Lightning's hook."""
        if (trainer.current_epoch + 1) % self.every == 0:
            self.then(trainer.current_epoch + 1, pl_module)


def common(sizes: argparse.Namespace) -> dict[str, Any]:
    """What both models are made with."""
    return {
        "n_factors": sizes.dim,
        "n_blocks": sizes.layers,
        "n_heads": sizes.heads,
        "session_max_len": sizes.length,
        "epochs": sizes.epochs,
        "loss": "softmax",
        "batch_size": sizes.batch,
    }


def sasrec(split: Split, sizes: argparse.Namespace, watch: Watch) -> None:
    """Train SASRec."""

    def look(epoch: int, module: pl.LightningModule) -> None:
        model.is_fitted = True  # or it would give no lists yet
        watch(epoch, lists)
        module.train()

    callback = Look(sizes.every, look)
    model = SASRecModel(
        **common(sizes),
        dropout_rate=sizes.dropout,
        lr=sizes.lr,
        recommend_torch_device=sizes.device,
        get_trainer_func=lambda: trainer(sizes.epochs, callback, sizes.device),
    )

    def lists(part: str) -> pd.DataFrame:
        rows = split.histories[part]
        best = model.recommend(
            rows["user_index"].unique(), dataset_of(rows), K, filter_viewed=True, on_unsupported_targets="ignore"
        )
        return best.rename(columns={Columns.User: "user_index", Columns.Item: "item", Columns.Rank: "rank"})

    model.fit(dataset_of(split.train))


class Watched(UniSRecModel):
    """UniSRec with a callback while it trains."""

    callback: pl.Callback

    def _make_trainer(self, max_epochs: int, val_dl: Any = None) -> pl.Trainer:
        return trainer(max_epochs, self.callback, str(self.device))


def unisrec(split: Split, sizes: argparse.Namespace, watch: Watch) -> None:
    """The same for UniSRec."""
    model = Watched(split.texts, **common(sizes), dropout=sizes.dropout, lr=sizes.lr, device=sizes.device)

    def lists(part: str, net: Any) -> pd.DataFrame:
        rows = split.histories[part].sort_values(["user_index", "position"])
        internal = model.map_item_ids(torch.from_numpy(rows["item"].to_numpy())).numpy()
        back = np.concatenate([[0], model._unique_items.numpy()])
        users, starts = np.unique(rows["user_index"].to_numpy(), return_index=True)
        owned = np.split(internal, starts[1:])
        window = np.zeros((len(users), sizes.length), np.int64)
        for row, items in enumerate(owned):
            window[row, sizes.length - min(len(items), sizes.length) :] = items[-sizes.length :]
        net.eval()
        parts = []
        with torch.no_grad():
            items = net.project_all()
            for begin in range(0, len(users), 512):
                ranked = net.encode_last(torch.from_numpy(window[begin : begin + 512]).to(items.device)) @ items.T
                ranked[:, 0] = -torch.inf
                seen = owned[begin : begin + 512]
                rows_of = np.repeat(np.arange(len(seen)), [len(bought) for bought in seen])
                ranked[torch.from_numpy(rows_of), torch.from_numpy(np.concatenate(seen))] = -torch.inf
                parts.append(ranked.topk(K, dim=1).indices.cpu().numpy())
        net.train()
        best = back[np.concatenate(parts)]
        return pd.DataFrame(
            {"user_index": np.repeat(users, K), "item": best.ravel(), "rank": np.tile(np.arange(1, K + 1), len(users))}
        )

    model.callback = Look(sizes.every, lambda epoch, module: watch(epoch, lambda part: lists(part, module.net)))
    rows = split.train.sort_values(["user_index", "position"])
    model.fit(
        *(torch.from_numpy(rows[name].to_numpy().astype(np.int64)) for name in ("user_index", "item", "position"))
    )


MODELS = {"sasrec": sasrec, "unisrec": unisrec}


def settings(sizes: argparse.Namespace) -> list[argparse.Namespace]:
    """Each learning rate with each dropout."""
    return [
        argparse.Namespace(**{**vars(sizes), "lr": lr, "dropout": dropout})
        for lr, dropout in product(sizes.lr, sizes.dropout)
    ]


def best_of(name: str, split: Split, sizes: argparse.Namespace) -> Scores:
    """Test scores of the setting and epoch that rank validation best."""
    best: dict[str, Any] = {"valid": -1.0}
    for tried in settings(sizes):
        setting, started = f"lr {tried.lr:g}, dropout {tried.dropout:g}", time.perf_counter()

        def watch(epoch: int, lists: Lists, setting: str = setting, started: float = started) -> None:
            valid = scores(lists("valid"), split.truth["valid"])["ndcg@10"].mean()
            passed = time.perf_counter() - started
            print(f"{name}: {setting}, epoch {epoch}, validation NDCG@10 {valid:.4f}, {passed:.0f} s", flush=True)
            if valid > best["valid"]:
                test = scores(lists("test"), split.truth["test"])
                best.update(valid=valid, kept=f"{setting}, epoch {epoch}", test=test)

        pl.seed_everything(sizes.seed, verbose=False)
        MODELS[name](split, tried, watch)
    print(f"{name}: {best['kept']} kept, validation NDCG@10 {best['valid']:.4f}", flush=True)
    return best["test"]


def of_run(run: Path) -> Scores:
    """Crossrec's scores of every test user, as evaluate wrote them."""
    rows = pd.read_parquet(run / "evaluate" / "current" / "per_user.parquet")
    users = pd.read_parquet(run / "preprocess" / "current" / "users.parquet")[["user_id", "user_index"]]
    return rows[rows["model"] == "crossrec"].merge(users, on="user_id")[["user_index", "hr@10", "ndcg@10"]]


def of_controls(folder: Path) -> Scores:
    """The same, the mean of the seeds that controls.py trained."""
    seeds = [pd.DataFrame(dict(np.load(file))) for file in sorted(folder.glob("*/crossrec.npz"))]
    return pd.concat(seeds).groupby("user_index", as_index=False).mean()


def interval(differences: np.ndarray) -> tuple[float, float]:
    """95 % bootstrap interval of the mean; this environment does not have crossrec's own."""
    rng = np.random.default_rng(0)
    means = [rng.choice(differences, len(differences)).mean() for _ in range(2000)]
    return tuple(np.percentile(means, [2.5, 97.5]))


def main() -> None:
    """Read the command line, train, print the table."""
    parser = argparse.ArgumentParser(description="RecTools' models on a crossrec run's split.")
    parser.add_argument("run", type=Path, help="the run directory")
    parser.add_argument("--ours", type=Path, help="controls.py's folder, whose seeds' mean is compared, not the run")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--lr", nargs="+", type=float, default=[1e-3], help="learning rates to choose among")
    parser.add_argument("--dropout", nargs="+", type=float, default=[0.2], help="dropouts to choose among")
    for name, value in {
        "epochs": 20,
        "every": 2,
        "dim": 128,
        "layers": 2,
        "heads": 2,
        "length": 50,
        "batch": 256,
        "seed": 1,
    }.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--time", action="store_true", help="time an epoch of SASRec and stop")
    sizes = parser.parse_args()
    warnings.filterwarnings("ignore")
    for name in ("pytorch_lightning", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.ERROR)
    split = Split.of(sizes.run)
    if sizes.time:
        sizes.epochs = sizes.every = 1
        started = time.perf_counter()
        sasrec(split, settings(sizes)[0], lambda *_: None)
        print(f"RecTools SASRec: {time.perf_counter() - started:.1f} s an epoch")
        return
    mine = of_controls(sizes.ours) if sizes.ours else of_run(sizes.run)
    print("| model | HR@10 | NDCG@10 | crossrec's gain in NDCG@10 |\n|---|---|---|---|")
    print(f"| crossrec | {mine['hr@10'].mean():.4f} | {mine['ndcg@10'].mean():.4f} | |", flush=True)
    for name in sizes.models:
        theirs = best_of(name, split, sizes)
        both = mine.merge(theirs, on="user_index", suffixes=("", " theirs"))
        gain = (both["ndcg@10"] - both["ndcg@10 theirs"]).to_numpy()
        low, high = interval(gain)
        print(
            f"| {name} | {both['hr@10 theirs'].mean():.4f} | {both['ndcg@10 theirs'].mean():.4f} "
            f"| {gain.mean():+.4f} ({low:+.4f} to {high:+.4f}) |",
            flush=True,
        )


if __name__ == "__main__":
    main()
