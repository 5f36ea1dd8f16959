"""What lies behind the verdict: scores, training, lists, cost, some users, and what it was made from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts.files import EVALUATE, FINETUNE, PREPROCESS, PRETRAIN_ADAPT, RECOMMEND
from crossrec_cli.artifacts.store import Manifest
from crossrec_cli.evaluation.segments import ALL
from crossrec_cli.report import charts
from crossrec_cli.report.facts import CROSSREC, Facts, Row
from crossrec_cli.report.formatting import NONE, duration, figure, measure
from crossrec_cli.report.render import Chart, PageSection, PageTable

LISTS = ("coverage", "novelty", "diversity", "popularity", "miscalibration", "cold_items")
GROWTH = {PREPROCESS: 0.66, PRETRAIN_ADAPT: 1.22, FINETUNE: 1.51, EVALUATE: 1.17, RECOMMEND: 1.13}
"""With n times the users, items and interactions a stage takes n to the power of this times as long, as measured from
one to three million interactions (benchmarks/growth.py)."""


def scores(facts: Facts) -> PageSection:
    """Whether the score can be read as a probability."""
    names = ("auc", "log_loss", "base_log_loss", "brier", "expected_calibration_error")
    every = facts.accuracy.to_pylist()
    found = [row for row in every if row[c.SEGMENT] == c.ALL]
    rows = [
        [
            row[c.DOMAIN] if row[c.SEGMENT] == c.ALL else row[c.SEGMENT],
            *(f"{row[name]:.4g}" for name in names),
            f"{row['bought']:,}",
            f"{row['pairs']:,}",
        ]
        for row in every
    ]
    if len(found) == 2:
        rows.append(["gap", *(f"{found[0][name] - found[1][name]:+.4g}" for name in names), "", ""])
    text = (
        "The score is the probability that a user's next purchase in the target is this item, fitted on validation. "
        "Here it is held against test, where nothing was fitted. AUC is the chance that of two pairs the one that was "
        "bought has the higher score. Probabilities tell something where their log-loss is below that of the base rate."
    )
    if len(found) == 2:
        text += (
            " The source's row is of purchases held out of the source, for which the score was not meant; of these "
            "figures AUC alone compares the two, as there are more purchases to find among the source's pairs."
        )
    columns = ["pairs of", "AUC", "log-loss", "of the base rate", "Brier", "calibration error", "bought", "pairs"]
    bins = facts.calibration.to_pylist()
    drawn = [charts.reliability(bins)] if any(row["observed"] > 0 for row in bins) else []
    return PageSection(
        "Can the score be believed?",
        text,
        [PageTable("The score on pairs of a user and an item", columns, rows)],
        drawn,
    )


def learning(facts: Facts) -> PageSection:
    """The loss by epoch."""
    drawn = []
    for stage, table in facts.learning.items():
        data = [{"epoch": row[c.EPOCH], "value": row["loss"]} for row in table.to_pylist()]
        if data:
            text = f"From {data[0]['value']:.4f} in the first epoch to {data[-1]['value']:.4f} in the last."
            drawn.append(Chart(f"{stage}, loss", text, charts.curve(data, "Loss")))
    text = (
        "Of the scorers neural alone learns by epochs, from source and target at once: in pretrain-adapt, and on in "
        "finetune. The loss is the mean over purchases of −log of the probability that it gave to what was bought "
        "among the items of the same domain, summed over its ways to read a history."
    )
    if not drawn:
        text = "No scorer learned by epochs here."
    return PageSection("How it learned", text, [], drawn)


def what_counts(facts: Facts) -> PageSection:
    """How much each scorer decides, by how much target history users have."""
    shares = facts.decides
    labels = dict(zip(shares, _lengths(list(shares)), strict=True))
    scorers = list(next(iter(shares.values())))
    data = [
        {"label": f"target history {labels[group]}", "part": name, "place": place, "share": share}
        for group, of_scorer in shares.items()
        for place, (name, share) in enumerate(of_scorer.items())
    ]
    rows = [[labels[group], *(f"{share:.0%}" for share in of_scorer.values())] for group, of_scorer in shares.items()]
    text = (
        "A score is the sum of what several scorers say, each weighed on validation for users with so many target "
        "purchases. What a scorer decides is its weights times how far its scores differ between the items that a user "
        "may be shown, as a share of all scorers' together."
    )
    first, last = min(shares), max(shares)
    seen = (
        f"Without target purchases {_most(shares[first])} decides the most; with {last} or more it is "
        f"{_most(shares[last])}."
    )
    chart = Chart("What decides, by target purchases", seen, charts.shares(data, "Share of what decides"))
    table = PageTable("What decides", ["target purchases", *scorers], rows)
    return PageSection("What counts, and for whom", text, [table], [chart])


def _lengths(least: Sequence[int]) -> list[str]:
    """``0``, ``1-2``, ``3-5``, ``6+``, from the least number of each group."""
    ends = [begin - 1 for begin in least[1:]]
    names = [f"{begin}" if begin == end else f"{begin}-{end}" for begin, end in zip(least, ends, strict=False)]
    return [*names, f"{least[-1]}+"]


def _most(shares: Mapping[str, float]) -> str:
    """The scorer that decides the most, and how much."""
    name = max(shares, key=lambda scorer: shares[scorer])
    return f"{name} ({shares[name]:.0%})"


def lists(facts: Facts) -> PageSection:
    """Beyond accuracy."""
    figures, ndcg = facts.figures, f"{measure(facts.ndcg)}@{facts.k}"
    models = list(dict.fromkeys(model for _, model, _ in figures))
    rows = [[model, *(figure(figures[ALL, model, name][c.VALUE], 3) for name in LISTS)] for model in models]
    data = [
        charts.point(model, model, figures[ALL, model, facts.ndcg])
        | {"coverage": figures[ALL, model, "coverage"][c.VALUE]}
        for model in models
    ]
    widest = max(data, key=lambda row: row["coverage"])
    text = (
        "Coverage: the share of the target's items that anybody is shown. Novelty: how few have bought what is shown, "
        "in bits. Diversity: 1 minus the likeness of two texts in a list. Popularity: the share of users who have "
        "bought what is shown; far above the others it is a bias. Miscalibration: how far a list's categories are from "
        "the user's own, in nats. Cold items: the share that nobody bought in training."
    )
    columns = ["model", *(name.replace("_", " ") for name in LISTS)]
    seen = f"{widest['label']} shows most of the catalogue: {widest['coverage']:.1%}."
    chart = Chart("Coverage and accuracy", seen, charts.reach(data, ndcg))
    return PageSection("What the lists are like", text, [PageTable(f"Lists of {facts.k}", columns, rows)], [chart])


def cost(facts: Facts) -> PageSection:
    """Time and memory by stage, and what ten times the data would take."""
    rows = [
        [
            made.stage,
            duration(made.wall_seconds),
            duration(made.cpu_seconds),
            _memory(made.peak_memory_bytes),
            _rate(made, facts),
            duration(made.wall_seconds * 10 ** GROWTH[made.stage]),
        ]
        for made in facts.manifests
    ]
    total = sum(made.wall_seconds for made in facts.manifests)
    parameters = next(made.summary["parameters"] for made in facts.manifests if "parameters" in made.summary)
    epochs = [held for table in facts.learning.values() for held in table["peak_memory_bytes"].drop_null().to_pylist()]
    training = f"; while training that was {_memory(max(epochs))}, of the GPU's where there is one" if epochs else ""
    text = (
        f"All in all {duration(total)}, for a model with {parameters:,} trained parameters. Memory is the most that "
        f"the process had held until then{training}. The last column is what ten times the users, items and "
        "interactions would take, by each stage's growth from one to three million interactions of a generated shop; "
        "with more, ranking grows faster, by users times items."
    )
    columns = ["stage", "time", "processor", "memory", "a second", "ten times the data"]
    return PageSection("What it costs", text, [PageTable("Cost by stage", columns, rows)])


def _memory(count: int | None) -> str:
    return NONE if count is None else f"{count / 1e9:.1f} GB"


def _rate(made: Manifest, facts: Facts) -> str:
    """How much a stage gets done in a second."""
    if made.stage in facts.learning:
        rates = sorted(filter(None, facts.learning[made.stage]["users_per_second"].to_pylist()))
        return f"{rates[len(rates) // 2]:,.0f} users" if rates else NONE
    if made.stage == PREPROCESS:
        done, what = made.files["interactions.parquet"].rows or 0, "interactions"
    else:
        done, what = facts.metrics[c.N][0].as_py() if made.stage == EVALUATE else made.summary["users"], "users"
    return f"{done / max(made.wall_seconds, 1e-3):,.0f} {what}"


def satisfaction(facts: Facts) -> PageSection:
    """What users thought of what they were shown, and would think of these lists."""
    title = "What users think"
    rows = [row for row in facts.feedback.to_pylist() if row[c.K] == facts.k]
    if not rows:
        return PageSection(title, "It was not measured: no feedback file was given (evaluate.feedback).")
    told = [
        [
            f"{row['reward']}, {row[c.SEGMENT]}",
            row[c.MEASURE],
            figure(row[c.VALUE], 4),
            f"{figure(row[c.LOW], 4)} to {figure(row[c.HIGH], 4)}",
            f"{row['effective']:,.0f}",
            f"{row['impressions']:,}",
        ]
        for row in rows
    ]
    text = (
        f"Logged is the mean over what users were shown then. IPS and SNIPS estimate from it what an impression would "
        f"bring in crossrec's lists of {facts.k}, each weighed by how much more likely it would be seen there; where "
        "few of those logged stand in crossrec's lists, the effective number is small and the figure means little."
    )
    columns = ["of, by", "measure", "value", "95 %", "effective impressions", "of"]
    return PageSection(title, text, [PageTable("Feedback", columns, told)])


def people(facts: Facts) -> PageSection:
    """Some users' lists beside their histories, as ``report`` wants them named."""
    by_user: dict[str, dict[str, list[Row]]] = defaultdict(lambda: {"history": [], "list": []})
    for row in facts.examples.to_pylist():
        by_user[row[c.USER_ID]][row["kind"]].append(row)
    columns = ["", "did, newest first", f"{CROSSREC} shows, best first"]
    some = [*by_user.items()][: facts.shown.examples]
    tables = [
        PageTable(
            f"User {user if facts.shown.ids == 'real' else number}",
            columns,
            _side_by_side(kinds["history"], kinds["list"]),
            words=True,
        )
        for number, (user, kinds) in enumerate(some, 1)
    ]
    text = "Test users drawn at random, as they were before the test purchase. ✓ marks what they bought next."
    return PageSection("Some users", text, tables)


def _side_by_side(history: Sequence[Row], shown: Sequence[Row]) -> list[list[str]]:
    pairs = enumerate(zip_longest(history, shown), 1)
    rows = [[str(place), *(_item(row) if row else "" for row in pair)] for place, pair in pairs]
    if rows and not history:
        rows[0][1] = "nothing yet"
    return rows


def _item(row: Row) -> str:
    bought = row["kind"] == "list" and row["hit"]
    return f"{'✓ ' if bought else ''}{row[c.TEXT]}"


def made_from(facts: Facts) -> PageSection:
    """Artifacts, versions and config."""
    config = {key: value for made in facts.manifests for key, value in made.config.items()}
    tables = [
        PageTable(
            "Artifacts", ["stage", "id", "begun"], [[m.stage, m.id, m.started] for m in facts.manifests], words=True
        ),
        PageTable("Versions", ["of", "version"], list(map(list, facts.manifests[-1].versions.items())), words=True),
        PageTable(
            "Config", ["field", "value"], [[key, _plain(value)] for key, value in sorted(config.items())], words=True
        ),
    ]
    return PageSection("What it was made from", f"Seed {facts.manifests[-1].seed}.", tables)


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
