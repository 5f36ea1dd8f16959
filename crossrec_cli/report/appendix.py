"""The sections behind the verdict: scorers, calibration, training, lists, cost, feedback, examples, sources."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts.files import EVALUATE, FINETUNE, PREPROCESS, PRETRAIN_ADAPT, RECOMMEND
from crossrec_cli.artifacts.store import Manifest
from crossrec_cli.evaluation.segments import ALL
from crossrec_cli.report import charts
from crossrec_cli.report.facts import Facts, Row
from crossrec_cli.report.formatting import NONE, between, duration, figure, measure
from crossrec_cli.report.render import Chart, PageSection, PageTable
from crossrec_cli.report.translator import Translator

LISTS = {
    "coverage": "coverage",
    "novelty": "novelty",
    "diversity": "diversity",
    "popularity": "popularity",
    "miscalibration": "miscalibration",
    "cold_items": "cold items",
}
"""The measures of lists, and how a table calls them."""
GROWTH = {PREPROCESS: 0.66, PRETRAIN_ADAPT: 1.0, FINETUNE: 0.86, EVALUATE: 0.91, RECOMMEND: 1.34}
"""Exponents: with n times the users, items and interactions a stage takes n to this power times as long. Measured by
benchmarks/growth.py from 100,000 to a million interactions, of preprocess from one to three million. That of
pretrain-adapt, 0.11, is mostly of distilling, which takes as long at all sizes: it is taken as 1."""
COST = "Time and memory"


def calibration(facts: Facts) -> PageSection:
    """Whether the score can be read as a probability."""
    translate = facts.translate
    names = ("auc", "log_loss", "base_log_loss", "brier", "expected_calibration_error")
    accuracy = facts.accuracy.to_pylist()
    domains = [row for row in accuracy if row[c.SEGMENT] == c.ALL]
    rows = [
        [
            translate.name(row[c.DOMAIN]) if row[c.SEGMENT] == c.ALL else row[c.SEGMENT],
            *(f"{row[name]:.4g}" for name in names),
            f"{row['bought']:,}",
            f"{row['pairs']:,}",
        ]
        for row in accuracy
    ]
    if len(domains) == 2:
        rows.append([translate("gap"), *(f"{domains[0][name] - domains[1][name]:+.4g}" for name in names), "", ""])
    text = (
        "The score is the probability that a user's next purchase in the target is this item. It was fitted on "
        "validation; here it is compared with the test purchases. AUC is the probability that a bought pair has a "
        "higher score than one that was not bought. The score is informative where its log-loss is below that of the "
        "base rate."
    )
    of_source = (
        "The row of the source is for purchases held out of the source, which the score is not made for. Compare the "
        "two by AUC only, as there are more purchases among the source's pairs."
    )
    columns = ["pairs of", "AUC", "log-loss", "base-rate log-loss", "Brier", "calibration error", "bought", "pairs"]
    bins = facts.calibration.to_pylist()
    drawings = [charts.reliability(bins, translate)] if any(row["observed"] > 0 for row in bins) else []
    return PageSection(
        translate("Can the score be read as a probability?"),
        translate.sentences([translate(text), translate(of_source) if len(domains) == 2 else ""]),
        [PageTable(translate("The score on pairs of a user and an item"), [*map(translate, columns)], rows)],
        drawings,
    )


def learning(facts: Facts) -> PageSection:
    """The loss by epoch."""
    drawings, translate = [], facts.translate
    for stage, table in facts.learning.items():
        data = [{"epoch": row[c.EPOCH], "value": row["loss"]} for row in table.to_pylist()]
        if data:
            text = "From {first:.4f} in the first epoch to {last:.4f} in the last."
            caption = translate(text, first=data[0]["value"], last=data[-1]["value"])
            title = translate("{stage}, loss", stage=stage)
            drawings.append(Chart(title, caption, charts.curve(data, translate("Loss"), translate)))
    text = (
        "Only the scorer neural is trained in epochs, on source and target together: first in pretrain-adapt, then "
        "in finetune. The loss is the mean over purchases of −log p, where p is the probability of what was bought "
        "among the items of its domain. It is summed over the user encoders."
    )
    if not drawings:
        text = "No scorer was trained in epochs."
    return PageSection(translate("Training loss"), translate(text), [], drawings)


def scorer_shares(facts: Facts) -> PageSection:
    """Each scorer's share in the ranking, by how much target history users have."""
    shares, translate = facts.scorer_shares, facts.translate
    labels = {length: f"{length}{'+' * (length == max(shares))}" for length in shares}
    scorers = list(next(iter(shares.values())))
    data = [
        {
            "label": translate("target history {length}", length=labels[length]),
            "part": name,
            "order": order,
            "share": share,
        }
        for length, of_scorer in shares.items()
        for order, (name, share) in enumerate(of_scorer.items())
    ]
    rows = [[labels[length], *(f"{share:.0%}" for share in by_name.values())] for length, by_name in shares.items()]
    text = (
        "The score is a weighted sum of several scorers. The weights were fitted on validation, at these numbers of "
        "target purchases; between two of them they change gradually. A scorer's share is its weights times how much "
        "its scores differ between the items that a user may be shown, divided by the sum over all scorers."
    )
    longest = max(shares)
    (first, share), (last, last_share) = (
        max(shares[of].items(), key=lambda pair: pair[1]) for of in (min(shares), longest)
    )
    caption = translate(
        "Without target purchases {first} ({share:.0%}) has the largest share; with {count} or more it is {last} "
        "({last_share:.0%}).",
        first=first,
        share=share,
        count=longest,
        last=last,
        last_share=last_share,
    )
    drawing = charts.shares(data, translate("Share"), translate)
    chart = Chart(translate("Scorer shares, by target purchases"), caption, drawing)
    table = PageTable(translate("Scorer shares"), [translate("target purchases"), *scorers], rows)
    return PageSection(translate("Share of each scorer"), translate(text), [table], [chart])


def lists(facts: Facts) -> PageSection:
    """Coverage, novelty and the like."""
    figures, translate = facts.figures, facts.translate
    ndcg = f"{measure(facts.ndcg, translate)}@{facts.k}"
    models = list(dict.fromkeys(model for _, model, _ in figures))
    rows = [[model, *(figure(figures[ALL, model, name][c.VALUE], 3) for name in LISTS)] for model in models]
    data = [
        charts.point(model, model, figures[ALL, model, facts.ndcg])
        | {"coverage": figures[ALL, model, "coverage"][c.VALUE]}
        for model in models
    ]
    widest = max(data, key=lambda row: row["coverage"])
    text = (
        "Coverage: the share of the target's items that are in any list. Novelty: how few users have bought the "
        "listed items, in bits. Diversity: 1 minus the mean cosine between the texts of a list. Popularity: the share "
        "of users who have bought a listed item; far above the other models it is a bias. Miscalibration: how far a "
        "list's categories are from the user's own, in nats. Cold items: the share of listed items that nobody bought "
        "in training."
    )
    columns = ["model", *LISTS.values()]
    caption = translate(
        "{model} has the largest coverage: {coverage:.1%}.", model=widest["label"], coverage=widest["coverage"]
    )
    chart = Chart(translate("Coverage and accuracy"), caption, charts.reach(data, ndcg, translate))
    table = PageTable(translate("Lists of {k}", k=facts.k), [*map(translate, columns)], rows)
    return PageSection(translate("Beyond accuracy"), translate(text), [table], [chart])


def cost(facts: Facts) -> PageSection:
    """Time and memory by stage, and what ten times the data would take."""
    translate = facts.translate
    rows = [
        [
            manifest.stage,
            duration(manifest.wall_seconds),
            duration(manifest.cpu_seconds),
            _memory(manifest.peak_memory_bytes),
            _rate(manifest, facts),
            duration(manifest.wall_seconds * 10 ** GROWTH[manifest.stage]),
        ]
        for manifest in facts.manifests
    ]
    total = sum(manifest.wall_seconds for manifest in facts.manifests)
    parameters = next(each.summary["parameters"] for each in facts.manifests if "parameters" in each.summary)
    peaks = [peak for table in facts.learning.values() for peak in table["peak_memory_bytes"].drop_null().to_pylist()]
    text = (
        "In total {duration}, for a model with {parameters:,} trained parameters. Memory is the peak of the process up "
        "to the end of the stage."
    )
    training = "In training the peak was {memory}, of the GPU if there is one."
    estimate = (
        "The last column is an estimate for ten times the users, items and interactions, from each stage's growth "
        "between one and three million interactions of a generated shop. Beyond that, ranking grows faster: with users "
        "times items."
    )
    sentences = [
        translate(text, duration=duration(total), parameters=parameters),
        translate(training, memory=_memory(max(peaks))) if peaks else "",
        translate(estimate),
    ]
    columns = ["stage", "time", "CPU time", "memory", "per second", "ten times the data"]
    table = PageTable(translate("Cost by stage"), [*map(translate, columns)], rows)
    return PageSection(translate(COST), translate.sentences(sentences), [table])


def _memory(count: int | None) -> str:
    return NONE if count is None else f"{count / 1e9:.1f} GB"


def _rate(manifest: Manifest, facts: Facts) -> str:
    """What a stage processes in a second, in its own unit."""
    if manifest.stage in facts.learning:
        rates = sorted(filter(None, facts.learning[manifest.stage]["users_per_second"].to_pylist()))
        return facts.translate("{count:,.0f} users", count=rates[len(rates) // 2]) if rates else NONE
    seconds = max(manifest.wall_seconds, 1e-3)
    if manifest.stage == PREPROCESS:
        interactions = manifest.files["interactions.parquet"].rows or 0
        return facts.translate("{count:,.0f} interactions", count=interactions / seconds)
    users = facts.metrics[c.N][0].as_py() if manifest.stage == EVALUATE else manifest.summary["users"]
    return facts.translate("{count:,.0f} users", count=users / seconds)


def user_feedback(facts: Facts) -> PageSection:
    """Users' feedback on what they were shown, and an estimate for crossrec's lists."""
    translate, title = facts.translate, facts.translate("User feedback")
    rows = [row for row in facts.feedback.to_pylist() if row[c.K] == facts.k]
    if not rows:
        return PageSection(title, translate("Not measured: no feedback file was given (evaluate.feedback)."))
    cells = [
        [
            f"{row['reward']}, {row[c.SEGMENT]}",
            row[c.MEASURE],
            figure(row[c.VALUE], 4),
            between(figure(row[c.LOW], 4), figure(row[c.HIGH], 4), translate),
            f"{row['effective']:,.0f}",
            f"{row['impressions']:,}",
        ]
        for row in rows
    ]
    text = (
        "Logged is the mean over the impressions of the file. IPS and SNIPS estimate from them what an impression in "
        "crossrec's lists of {k} would bring. Each impression is weighted by how much more likely it would be "
        "seen there. If few logged impressions are in crossrec's lists, their effective number is small and the figure "
        "means little."
    )
    columns = ["reward, segment", "measure", "value", "95 %", "effective impressions", "impressions"]
    table = PageTable(translate("Feedback"), [*map(translate, columns)], cells)
    return PageSection(title, translate(text, k=facts.k), [table])


def example_users(facts: Facts) -> PageSection:
    """Some users' histories and lists, named as ``report.ids`` sets it."""
    translate = facts.translate
    by_user: dict[str, dict[str, list[Row]]] = defaultdict(lambda: {"history": [], "list": []})
    for row in facts.examples.to_pylist():
        by_user[row[c.USER_ID]][row["kind"]].append(row)
    columns = ["", translate("history, newest first"), translate("crossrec's list, best first")]
    examples = [*by_user.items()][: facts.shown.examples]
    tables = [
        PageTable(
            translate("User {name}", name=user if facts.shown.ids == "real" else number),
            columns,
            _side_by_side(kinds["history"], kinds["list"], translate),
            words=True,
        )
        for number, (user, kinds) in enumerate(examples, 1)
    ]
    text = "Test users drawn at random, before their test purchase. ✓ marks what they bought next."
    return PageSection(translate("Example users"), translate(text), tables)


def _side_by_side(history: Sequence[Row], shown: Sequence[Row], translate: Translator) -> list[list[str]]:
    pairs = enumerate(zip_longest(history, shown), 1)
    rows = [[str(number), *(_item(row) if row else "" for row in pair)] for number, pair in pairs]
    if rows and not history:
        rows[0][1] = translate("nothing yet")
    return rows


def _item(row: Row) -> str:
    bought = row["kind"] == "list" and row["hit"]
    return f"{'✓ ' if bought else ''}{row[c.TEXT]}"


def sources(facts: Facts) -> PageSection:
    """Artifacts, versions and config."""
    translate = facts.translate
    config = {key: value for manifest in facts.manifests for key, value in manifest.config.items()}
    tables = [
        PageTable(translate(title), [*map(translate, columns)], rows, words=True)
        for title, columns, rows in (
            ("Artifacts", ["stage", "id", "started"], [[m.stage, m.id, m.started] for m in facts.manifests]),
            ("Versions", ["software", "version"], [[*pair] for pair in facts.manifests[-1].versions.items()]),
            ("Config", ["field", "value"], [[key, _plain(value)] for key, value in sorted(config.items())]),
        )
    ]
    return PageSection(translate("Sources"), translate("Seed {seed}.", seed=facts.manifests[-1].seed), tables)


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
