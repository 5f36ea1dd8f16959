"""What do platforms that may not share data gain from a federation, and what leaks? As Markdown.

    python benchmarks/federated.py benchmarks/long_tail.yaml --into runs/federated --cold-users 0.2
    python benchmarks/federated.py benchmarks/long_tail.yaml --into runs/federated --cut category

A shop's users are cut into three platforms, by a hash of their ids or by the category they buy most in; each platform
has all items for sale. NDCG@10 on test of all users: each platform alone; in a federation of sums; with rounds of
weights too; with the sums under a privacy budget; and of one platform with all users. Without the scorer neural also of
platforms that know exactly which items all platforms' users buy together, which no federation may exchange: the most
that statistics of items could bring. Scorers learn from what is before validation. "of the way" is the gain over alone,
as a share of what pooling gains. The platforms' answers are combined in this process, as Flower would deliver them.

Membership: an attacker knows all purchases of a user, and those of users like them, and is asked whether the user is
among those who were summed. The score is how far the sums lie in the direction of the user's own (Homer et al. 2008,
https://doi.org/10.1371/journal.pgen.1000167); the area under its ROC curve is .5 by chance. Once for the sums of one
platform, as the coordinator sees them without secure aggregation, once for the mean over platforms, as with it, and
with the noise of each budget.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.artifacts.files import CASES, USERS
from crossrec_cli.config.load import load_config
from crossrec_cli.config.schema import Config
from crossrec_cli.evaluation import metrics
from crossrec_cli.evaluation.significance import interval
from crossrec_cli.federation.coordinator import Coordinator
from crossrec_cli.federation.member import SHARED_FILE, Member, noise_of
from crossrec_cli.federation.outgoing import Outgoing
from crossrec_cli.federation.steps import FederationTerms
from crossrec_cli.federation.text_sums import Pairs, noisy
from crossrec_cli.models.base import Scorer, TrainingData
from crossrec_cli.models.dataset import target_of
from crossrec_cli.models.fused import Fitting, FusedModel
from crossrec_cli.models.histories import load_cases, tag_vocabulary
from crossrec_cli.models.learner import Learner, with_user_encoder
from crossrec_cli.models.neural import neural_scorer
from crossrec_cli.models.neural.tower import InterestModel
from crossrec_cli.models.ragged import Bools, Ints
from crossrec_cli.models.scorers import names_of
from crossrec_cli.models.shared_model import SharedModel
from crossrec_cli.models.vectors import Floats
from crossrec_cli.ranking.topk import ranked
from crossrec_cli.runtime import device
from crossrec_cli.runtime.progress import Silent

NDCG = metrics.name("ndcg", 10)
PLATFORMS = 3
DIRECTIONS, WIDTH = 32, 256
"""Of the sums under a budget, and of those without."""
ROUNDS = 10
WITHOUT_TEXTS = ("words", "attributes", "popularity", "neighbours")
KIND = "static"
"""Of the encoder: all platforms need the same."""
POOLED, ALONE, CEILING = "all pooled", "alone", "item statistics of all"
OF_ITEMS = ("popularity", "neighbours", "linear")
"""Scorers that learn who bought what, item by item."""


def main() -> None:
    """Read the command line, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--into", type=Path, required=True, help="the folder of the platforms' data and runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--cut", choices=["user", "category"], default="user")
    parser.add_argument("--budgets", type=float, nargs="*", default=[1.0, 4.0, 8.0], metavar="EPSILON")
    parser.add_argument("--rounds-alone", action="store_true", help="of the federations, only the one with weights")
    parser.add_argument("--cold-users", type=float, help="share of the users whose whole target is held out")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    chosen = parser.parse_args()
    config = load_config(chosen.config, chosen.overrides)
    if chosen.cold_users:
        chosen.overrides += ["split.strategy=given", "split.column=split"]
    measured: dict[str, list[pd.DataFrame]] = {}
    sent: dict[str, int] = {}
    leaks = []
    for seed in chosen.seeds:
        seeds = [f"seed={seed}", f"split.seed={seed}"]
        paths = cut(config, chosen.into / chosen.cut, chosen.cut, chosen.cold_users or 0.0, seed)
        shop = Shop(chosen.config, [*chosen.overrides, *seeds], paths, chosen.into / chosen.cut)
        for name, options in arms(config, chosen.budgets, chosen.rounds_alone).items():
            result, sent[name] = shop.arm(options)
            measured.setdefault(name, []).append(result.assign(seed=seed))
            print(f"seed {seed}, {name}: {result[NDCG].mean():.4f}", file=sys.stderr, flush=True)
        measured.setdefault(POOLED, []).append(shop.pooled.ndcg(None).assign(seed=seed))
        if neural_scorer.NAME not in config.interest.scorers:
            measured.setdefault(CEILING, []).append(shop.ceiling().assign(seed=seed))
        leaks.append(shop.membership(chosen.budgets))
    compared({name: pd.concat(frames) for name, frames in measured.items()}, sent)
    print("\n| membership: area under the ROC curve | |\n|---|---|")
    for name, values in pd.DataFrame(leaks).items():
        print(f"| {name} | {values.mean():.3f} ({values.min():.3f} to {values.max():.3f}) |")


def arms(config: Config, budgets: Sequence[float], rounds_alone: bool) -> dict[str, list[str] | None]:
    """By name: the options of a federation; None: there is none. Rounds of weights need the scorer ``neural``."""
    exact = ["federate.epsilon=null", f"federate.directions={WIDTH}"]
    few = ["federate.rounds=0", f"federate.directions={DIRECTIONS}"]
    named: dict[str, list[str] | None] = {ALONE: None}
    if not rounds_alone:
        named["sums"] = [*exact, "federate.rounds=0"]
        named |= {f"sums, ε {budget:g}": [*few, f"federate.epsilon={budget}"] for budget in budgets}
    if neural_scorer.NAME in config.interest.scorers:
        named[f"sums and {ROUNDS} rounds"] = [*exact, f"federate.rounds={ROUNDS}", "federate.weights=true"]
    return named


def cut(config: Config, into: Path, by: str, cold: float, seed: int) -> list[Path]:
    """Write the interactions of each platform, then those of all.

    Of a share of the users the target purchases are held out, with source purchases first: for validation those of as
    many others. They are the same users whether platforms are pooled or not.
    """
    (platform,) = config.data.platforms
    rows, columns = pd.read_parquet(platform.interactions.path), platform.interactions.columns
    users = rows[columns.user_id].astype(str)
    items = pd.read_parquet(platform.items.path).set_index(platform.items.columns.item_id)
    category = (
        items[platform.items.columns.category].reindex(rows[columns.item_id]).astype(str).str.split(c.PATH).str[0]
    )
    if by == "category":
        favourite = category.groupby(users.to_numpy()).agg(lambda values: values.mode()[0])
        numbers = {name: number % PLATFORMS for number, name in enumerate(favourite.value_counts().index)}
        part = users.map(favourite).map(numbers)
    else:
        part = users.map(lambda user: int(PLATFORMS * drawn(f"platform {user}")))
    if cold:
        draw, target = users.map(lambda user: drawn(f"{seed} {user}")), category.isin(config.domains.target.category)
        split = np.select([draw < cold, draw < 2 * cold], ["test", "valid"], "train")
        rows["split"] = np.where(target, split, "train")
        rows = rows.assign(is_target=target.to_numpy() & (draw < 2 * cold))
        rows = rows.sort_values([columns.user_id, "is_target", columns.order], kind="stable").drop(columns="is_target")
        rows[columns.order] = rows.groupby(columns.user_id).cumcount()
        part = part.loc[rows.index]
    into.mkdir(parents=True, exist_ok=True)
    paths = [into / f"interactions-{name}.parquet" for name in (*range(PLATFORMS), "all")]
    for number, path in enumerate(paths):
        some = rows[part == number] if number < PLATFORMS else rows
        some.reset_index(drop=True).to_parquet(path)
    return paths


def drawn(text: str) -> float:
    """A number from 0 to 1 that a text always has."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:12], 16) / 16**12


class BenchmarkPlatform:
    """A platform of one seed: what preprocess left of it, and its scorers."""

    def __init__(self, file: Path, overrides: Sequence[str]) -> None:
        command = [sys.executable, "-m", "crossrec_cli", "preprocess", str(file), "--quiet"]
        subprocess.run([*command, *(part for one in overrides for part in ("--set", one))], check=True)
        self.file, self.overrides = file, list(overrides)
        self.member = Member(load_config(file, overrides), Silent())
        cases, users = (parquet.read_table(self.member.inputs[name]) for name in (CASES, USERS))
        self.valid, self.test = (load_cases(cases, split) for split in (c.VALID, c.TEST))
        self.users, self.tags = users[c.USER_ID].to_pylist(), len(tag_vocabulary(users))
        self.chosen: dict[str, Scorer] = {}
        """Scorers that read no whitened texts, and are the same in every federation."""
        self.of_items: dict[str, Scorer] = {}
        """Those that ``ndcg`` learned last, of ``OF_ITEMS``."""

    def joining(self, options: Sequence[str]) -> Member:
        """The platform with these options, as if it had never been in a federation."""
        member = self.member
        member.config = load_config(self.file, [*self.overrides, *options])
        shutil.rmtree(member.folder, ignore_errors=True)
        member.outgoing = Outgoing(member.folder, member.config.federate)
        return member

    def ndcg(self, shared: SharedModel | None, given: Mapping[str, Scorer] | None = None) -> pd.DataFrame:
        """Each test user's NDCG@10; ``given`` are scorers that are not learned here."""
        data, config = replace(self.member.data, shared=shared), load_config(self.file, self.overrides)
        candidates, mask_seen = target_of(data.histories), config.evaluate.mask_seen
        fused = self._trained(data, config) if neural_scorer.NAME in config.interest.scorers else None
        if fused is None:
            chosen = self.chosen | dict(given or {})
            fitting = Fitting(data, self.valid, candidates, mask_seen, config.seed, chosen=chosen)
            fused = fitting.model(names_of(config.interest, data))
            self.of_items = {name: fitting.chosen[name] for name in OF_ITEMS if name in fitting.chosen}
            if given is None:
                self.chosen |= {name: fitting.chosen[name] for name in WITHOUT_TEXTS if name in fitting.chosen}
        ranks = ranked(fused.candidate_scorer(candidates), data.histories, self.test, candidates, mask_seen)
        users = [self.users[user] for user in self.test.users]
        return pd.DataFrame({c.USER_ID: users, NDCG: metrics.per_case(ranks, [10])[NDCG]})

    def _trained(self, data: TrainingData, config: Config) -> FusedModel:
        config = with_user_encoder(config, data, self.valid, config.seed)
        model = InterestModel(config.interest, data.texts, data.histories.item_stats, self.tags)
        if data.shared:
            model.take_over(data.shared.network)
        compute = device.prepare(config.runtime, config.seed)
        with tempfile.TemporaryDirectory() as folder:
            learner = Learner(config, config.seed, compute, Silent(), Path(folder) / "checkpoint")
            learner.from_both(model.to(compute.device), data.histories)
            return learner.fused(model, data, self.valid)[0]


class Shop:
    """The platforms of one seed."""

    def __init__(self, file: Path, overrides: Sequence[str], paths: Sequence[Path], into: Path) -> None:
        self.into = into
        *self.platforms, self.pooled = (
            BenchmarkPlatform(
                file,
                [
                    *overrides,
                    f"encoder.kind={KIND}",
                    f"run_dir={into / f'run-{number}'}",
                    f"data.platforms[0].interactions.path={json.dumps(str(path))}",
                ],
            )
            for number, path in enumerate(paths)
        )

    def arm(self, options: list[str] | None) -> tuple[pd.DataFrame, int]:
        """The test of all platforms, and the bytes that one of them sends."""
        if options is None:
            return pd.concat([one.ndcg(None) for one in self.platforms]), 0
        members = [one.joining(options) for one in self.platforms]
        shutil.rmtree(self.into / "coordinator", ignore_errors=True)
        coordinator = Coordinator(FederationTerms.of(members[0].config), self.into / "coordinator", Silent())
        while coordinator.step:
            question = coordinator.question()
            coordinator.accept({str(number): member.answer(question) for number, member in enumerate(members)})
        shared = SharedModel.load(members[0].folder / SHARED_FILE)
        sent = sum(line["bytes"] for line in members[0].outgoing.lines())
        return pd.concat([one.ndcg(shared) for one in self.platforms]), sent

    def ceiling(self) -> pd.DataFrame:
        """The test of all platforms with the scorers of ``OF_ITEMS`` that the pooled one learned last.

        All platforms have the same items, in the same order, and no tags.
        """
        return pd.concat([one.ndcg(None, self.pooled.of_items) for one in self.platforms])

    def membership(self, budgets: Sequence[float]) -> dict[str, float]:
        """How well an attacker tells users who were summed from users of the last platform, half of whom it knows.

        Returns:
            Areas under the ROC curve, by what the attacker sees: the sums of one platform, the mean over the others,
            and this mean with the noise of each budget.
        """
        shared = SharedModel.load(self.platforms[0].member.folder / SHARED_FILE)
        data = [replace(one.member.data, shared=shared) for one in self.platforms]
        areas = {}
        for name, members, width, budget in [
            ("sums of one platform", data[:1], WIDTH, None),
            ("mean over the platforms", data[:-1], WIDTH, None),
            *((f"mean over the platforms, ε {budget:g}", data[:-1], DIRECTIONS, budget) for budget in budgets),
        ]:
            known = summed(data[-1], lambda user: user % 2 == 0, width)[0]
            sums = [summed(one, lambda user: user >= 0, width) for one in members]
            if budget:
                deviation, rng = noise_of(budget, 1e-6), np.random.default_rng(0)
                sums = [(np.array(noisy(tuple(mean), users, deviation, rng)), users) for mean, users in sums]
            difference = np.average([mean for mean, _ in sums], axis=0, weights=[users for _, users in sums]) - known
            inside, outside = scores(data[0], difference), scores(data[-1], difference)[1::2]
            areas[name] = area(inside[~np.isnan(inside)], outside[~np.isnan(outside)])
        return areas


def summed(data: TrainingData, chosen: Callable[[Ints], Bools], width: int) -> tuple[Floats, int]:
    """The means of ``co_purchases`` of some users, (2, d, d), and the users' number."""
    width = min(width, data.texts.shape[1])
    total, users = np.zeros((2, width, width)), set[int]()
    for pairs in Pairs.of(data, width):
        some = chosen(pairs.user)
        shared = (pairs.history[some] * pairs.share[some, None]).T
        total += shared @ pairs.history[some], shared @ pairs.next[some]
        users |= set(pairs.user[some].tolist())
    return (total / max(len(users), 1)).astype(np.float32), len(users)


def scores(data: TrainingData, difference: Floats) -> Floats:
    """How far the published sums lie in the direction of each user's own, (users,); NaN for users without any."""
    score = np.full(data.histories.users, np.nan)
    for pairs in Pairs.of(data, len(difference[0])):
        along = ((pairs.history @ difference[0]) * pairs.history + (pairs.history @ difference[1]) * pairs.next).sum(
            axis=1
        )
        per_user = np.bincount(pairs.user, along * pairs.share, minlength=len(score))
        counted = np.unique(pairs.user)
        score[counted] = np.nan_to_num(score[counted]) + per_user[counted]
    return score


def area(inside: Floats, outside: Floats) -> float:
    """The area under the ROC curve: how often a member has the larger score."""
    ranks = rankdata(np.concatenate([inside, outside]))[: len(inside)]
    return float((ranks.sum() - len(inside) * (len(inside) + 1) / 2) / (len(inside) * len(outside)))


def compared(measured: dict[str, pd.DataFrame], sent: dict[str, int]) -> None:
    """Print the table: users' means over the seeds, and paired differences."""
    by_user = pd.DataFrame({name: frame.groupby([c.USER_ID, "seed"])[NDCG].mean() for name, frame in measured.items()})
    by_user = by_user.dropna()
    print(f"{by_user.index.get_level_values(0).nunique():,} test users, {len(by_user):,} cases\n")
    print("| | NDCG@10 | gain over alone | of the way to pooled | bytes sent |\n|---|---|---|---|---|")
    whole = by_user[POOLED].mean() - by_user[ALONE].mean()
    for name in by_user:
        gains = (by_user[name] - by_user[ALONE]).groupby(level=0).mean().to_numpy()
        low, high = interval(gains)
        way = f"{(by_user[name].mean() - by_user[ALONE].mean()) / whole:.2f}" if whole else ""
        gain = "" if name == ALONE else f"{gains.mean():+.4f} ({low:+.4f} to {high:+.4f})"
        print(f"| {name} | {by_user[name].mean():.4f} | {gain} | {way} | {sent.get(name, 0):,} |", flush=True)


if __name__ == "__main__":
    main()
