"""The model card: what an export holds, how to use it, how well it ranks, for which users, and its limits."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.artifacts.files import (
    ADDED,
    FINETUNE,
    INTERACTIONS,
    ITEM_VECTORS,
    PREPROCESS,
    PRETRAIN_ADAPT,
    TAG_NAMES,
)
from crossrec_cli.artifacts.store import Manifest
from crossrec_cli.config.schema import Config
from crossrec_cli.evaluation.segments import ALL
from crossrec_cli.export.folder import GRAPH
from crossrec_cli.models.dataset import Dataset
from crossrec_cli.models.neural import neural_scorer
from crossrec_cli.report import appendix
from crossrec_cli.report.facts import CROSSREC, Facts
from crossrec_cli.report.formatting import SMALL, figure, gain, join_names, measure
from crossrec_cli.report.page import BY_SEGMENT, COMPARED, FEW, TITLE, sections
from crossrec_cli.report.render import PageTable, markdown_table, markdown_text
from crossrec_cli.report.verdict import verdict
from crossrec_cli.text.find import WEIGHTS, package_of

SHOWN = 3
"""How many items the example's user has bought."""
SNIPPET = """\
import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq

items = pa.concat_tables(pq.read_table(file, columns=["item_id", "domain"]) for file in {files}).to_pydict()
bought = [items["item_id"].index(item) for item in {bought}]  # oldest first
candidates = [row for row, domain in enumerate(items["domain"]) if domain == "target" and row not in bought]
inputs = {{
    "items": np.array([bought], np.int64),
    "weights": np.ones((1, len(bought)), np.float32),
    "tags": np.zeros((1, {tags}), np.float32),
    "candidates": np.array(candidates, np.int64),
}}
(score,) = onnxruntime.InferenceSession("{graph}").run(None, inputs)[0]
for index in np.argsort(-score)[:{k}]:
    print(items["item_id"][candidates[index]], f"{{score[index]:.4f}}")
"""


def card(
    config: Config, inputs: Mapping[str, Path], dataset: Dataset, manifests: Sequence[Manifest], facts: Facts | None
) -> str:
    """The card as Markdown.

    Args:
        config: the run's, without passwords.
        inputs: the files that recommend reads.
        dataset: the run's users and items.
        manifests: of preprocess, pretrain-adapt and finetune.
        facts: the evaluation's results; None if the run was not evaluated.
    """
    by_stage = {manifest.stage: manifest for manifest in manifests}
    parts = [
        f"# Recommendations of {markdown_text(_target(config))}",
        _what_it_is(config, dataset, by_stage[FINETUNE]),
        "## How to use it",
        _use(config, inputs, dataset),
        *(_measured(facts) if facts else ["## How well it ranks", "Not measured: the run was not evaluated."]),
        "## Limits",
        _limits(config),
        "## Sources",
        *map(markdown_table, _sources(config, dataset, by_stage, _days(inputs[INTERACTIONS]))),
    ]
    return "\n\n".join(parts) + "\n"


def _target(config: Config) -> str:
    return join_names(config.domains.target.category)


def _what_it_is(config: Config, dataset: Dataset, finetuned: Manifest) -> str:
    """In one paragraph."""
    return (
        f"A crossrec model that ranks {len(dataset.target_items):,} items of {markdown_text(_target(config))} for "
        f"{dataset.users.num_rows:,} users, and for other users by what they bought. The score is the probability "
        "that a user's next purchase there is this item. Its log-odds are a weighted sum of several scorers, with "
        f"these shares: {_shares(finetuned)}. Trained on {finetuned.started[:10]}."
    )


def _shares(finetuned: Manifest) -> str:
    """Each scorer's share in the ranking, the largest first."""
    shares: dict[str, float] = finetuned.summary["scorers"]
    return join_names([f"{name} {share:.0%}" for name, share in sorted(shares.items(), key=lambda pair: -pair[1])])


def _use(config: Config, inputs: Mapping[str, Path], dataset: Dataset) -> str:
    """The command, the Python code, and the graph's inputs."""
    popularity, ids = dataset.histories.item_stats.popularity, dataset.items[c.ITEM_ID]
    bought = [ids[int(item)].as_py() for item in np.argsort(-popularity, kind="stable")[:SHOWN]]
    user, tags = _example_user(dataset.users), pq.read_metadata(inputs[TAG_NAMES]).num_rows
    files = [inputs[file].name for file in (ITEM_VECTORS, ADDED) if file in inputs]
    snippet = SNIPPET.format(files=files, graph=GRAPH, bought=bought, tags=tags, k=config.recommend.k)
    return f"""With crossrec, neither the raw data nor the language model is needed:

```bash
crossrec recommend --from . --user {user}
crossrec recommend --from . --events new.csv  # user_id,item_id: newer events, also of new users
```

The lists are in `recommend/current/recommendations.parquet`, or under another directory with `--set run_dir=DIR`.
`--set` changes `recommend` and `runtime` only.

Without crossrec, with onnxruntime, numpy and pyarrow, for a user who bought three items:

```python
{snippet}```

It gives the list of `crossrec recommend` without `recommend.rules`. `{GRAPH}` holds all items' vectors:

| | shape | type | meaning |
|---|---|---|---|
| `items` | users, positions | int64 | each history, oldest first, padded on the right with -1 |
| `weights` | users, positions | float32 | how much each counts, usually 1; below 0: a dislike; 0 where padded |
| `tags` | users, {tags} | float32 | 1 for each tag of the user, in the order of `tags.parquet`, else 0 |
| `candidates` | items | int64 | the items to score |
| output `scores` | users, items | float32 | the probabilities |

An item's number is its row, from 0, in {" and, after these, ".join(f"`{file}`" for file in files)}.
Time and memory grow with the number of users in a call: score them in batches."""


def with_example(text: str, ids: Collection[str], users: pa.Table) -> str:
    """A card whose example is another user of the table, where it was one of these ids."""
    other = f"--user {_example_user(users)}\n"
    for user in ids:
        text = text.replace(f"--user {shlex.quote(user)}\n", other)
    return text


def _example_user(users: pa.Table) -> str:
    """The id of the first user who has one, for a shell."""
    ids = users[c.USER_ID].drop_null()
    return shlex.quote(ids[0].as_py()) if len(ids) else "ID"


def _measured(facts: Facts) -> list[str]:
    """The test's figures, and the page's text about them, in English like the rest of the card."""
    facts = facts.in_english
    titled = {section.title: section for section in sections(facts)}
    compared, calibration = titled[COMPARED], appendix.calibration(facts)
    (segments,) = titled[BY_SEGMENT].tables
    large = replace(segments, rows=[row for row in segments.rows if not row[0].endswith(FEW)])
    return [
        "## How well it ranks",
        markdown_text(f"{TITLE} {verdict(facts)}"),
        markdown_text(compared.text),
        markdown_table(_all_models(facts)),
        f"## {BY_SEGMENT}",
        f"Segments of fewer than {SMALL} users are not listed: their figures are mostly chance.",
        markdown_table(large),
        f"## {calibration.title}",
        markdown_text(calibration.text),
        *map(markdown_table, calibration.tables),
        *([markdown_table(_reliability(facts))] if facts.calibration.num_rows else []),
    ]


def _all_models(facts: Facts) -> PageTable:
    """Every model's figures with their intervals, and crossrec's gain over it."""
    hit_rate = next(name for _, _, name in facts.figures if name.startswith("hr"))
    models = sorted(
        {model for _, model, _ in facts.figures}, key=lambda model: -facts.figures[ALL, model, facts.ndcg][c.VALUE]
    )
    rows = [
        [
            model,
            *(_with_interval(facts, model, name) for name in (facts.ndcg, hit_rate)),
            gain(facts.gains[model]) if model != CROSSREC else "",
        ]
        for model in models
    ]
    names = [f"{measure(name)}@{facts.k} (95 %)" for name in (facts.ndcg, hit_rate)]
    users = facts.figures[ALL, CROSSREC, facts.ndcg][c.N]
    return PageTable(f"Test, {users:,} users", ["model", *names, f"crossrec's gain in {measure(facts.ndcg)}"], rows)


def _with_interval(facts: Facts, model: str, name: str) -> str:
    row = facts.figures[ALL, model, name]
    return f"{figure(row[c.VALUE], 4)} ({figure(row[c.LOW], 4)} to {figure(row[c.HIGH], 4)})"


def _reliability(facts: Facts) -> PageTable:
    bins = facts.calibration.to_pylist()
    rows = [[f"{row['predicted']:.3%}", f"{row['observed']:.3%}", f"{row['pairs']:,}"] for row in bins]
    return PageTable("Calibration: score and share bought", ["score", "bought", "pairs"], rows)


def _limits(config: Config) -> str:
    """What its next user should know."""
    adapted = (
        "- The language model was adapted to the source. Its weights, if they were saved, are not in this folder.\n"
        if config.adapt.language_model != "frozen"
        else ""
    )
    return f"""- The folder holds every user's id, tags and purchases. Treat it like the data that it comes from.
- It was trained on purchases up to the last day below. Newer purchases (`--events`) change a user's list at once, but
  the model does not learn from them until it is trained again.
- The score is fitted on past purchases. When prices, the season or the shop change, test it again.
- Recommended items are bought more because they are recommended. The test cannot measure that effect: that takes an
  experiment.
- A user without purchases and tags gets what sells.
- New items are added where the model was trained: run `crossrec items add` there, and export again.
{adapted}- `config.yaml` is the run's config; names and passwords in addresses are replaced by ***."""


def _days(interactions: Path) -> str:
    """The first and the last day of the interactions."""
    ends = pc.min_max(parquet.read_table(interactions, [c.TIMESTAMP])[c.TIMESTAMP]).as_py()
    return f"{ends['min']:%Y-%m-%d} to {ends['max']:%Y-%m-%d}" if ends["min"] else "not known, only an order"


def _sources(config: Config, dataset: Dataset, manifests: Mapping[str, Manifest], days: str) -> list[PageTable]:
    """Data, language model, settings and versions."""
    counts, encoder, interest = manifests[PREPROCESS].summary, config.encoder, config.interest
    package = package_of(encoder.model)
    weights = [
        f"{name.rpartition('/')[2]} {sha}"
        for name, sha in manifests[PRETRAIN_ADAPT].inputs.items()
        if name.endswith((".safetensors", package.weights if package else WEIGHTS)) and name.startswith(encoder.model)
    ]
    data = [
        ["platforms", join_names([platform.name for platform in config.data.platforms])],
        ["users", f"{dataset.users.num_rows:,}"],
        *(
            [domain, f"{counts[f'{domain}_interactions']:,} interactions with {counts[f'{domain}_items']:,} items"]
            for domain in (c.SOURCE, c.TARGET)[config.domains.same :]
        ),
        ["days", days],
        ["split", config.split.strategy],
    ]
    reads = f"{encoder.max_tokens} tokens, pooling {encoder.pooling}"
    if package and package.reader:
        reads = "whole texts"
    model = [
        ["language model", encoder.model],
        *([["revision", encoder.revision]] if not package else [["published as", package.hub_id]]),
        *(["sha256", sha] for sha in weights),
        ["licence", package.licence if package else "not known to crossrec; see its publisher"],
        ["encoder", str(manifests[PRETRAIN_ADAPT].summary["encoder"])],
        [
            "reads",
            f"{reads}, {config.adapt.language_model}",
        ],
    ]
    domains = "everything" if config.domains.same else "source and target"
    trained = [
        ["user encoder", interest.user_encoder],
        ["dim", str(interest.dim)],
        ["epochs", f"{config.adapt.epochs} in pretrain-adapt, {config.finetune.epochs} in finetune, both on {domains}"],
    ]
    settings = [
        ["scorers", _shares(manifests[FINETUNE])],
        *(trained if neural_scorer.NAME in interest.scorers else []),
        ["seed", str(config.seed)],
    ]
    versions = [list(pair) for pair in manifests[FINETUNE].versions.items()]
    tables = {"Data": data, "Language model": model, "Settings": settings, "Versions": versions}
    return [PageTable(title, ["", ""], rows, words=True) for title, rows in tables.items()]
