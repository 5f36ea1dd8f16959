"""The model card: what an export holds, how to use it, how well it ranks, for whom, and what is known against it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
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
from crossrec_cli.report.formatting import SMALL, figure, gain, listed, measure
from crossrec_cli.report.page import FEW, TITLE, sections, verdict
from crossrec_cli.report.render import PageTable, markdown_table, markdown_text
from crossrec_cli.text.find import PACKAGES

SHOWN = 3
"""So many items are bought by the user of the example."""
SNIPPET = """\
import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq

items = pa.concat_tables(pq.read_table(file, columns=["item_id", "domain"]) for file in {files}).to_pydict()
bought = [items["item_id"].index(item) for item in {bought}]  # oldest first
candidates = [place for place, domain in enumerate(items["domain"]) if domain == "target" and place not in bought]
given = {{
    "items": np.array([bought], np.int64),
    "weights": np.ones((1, len(bought)), np.float32),
    "tags": np.zeros((1, {tags}), np.float32),
    "candidates": np.array(candidates, np.int64),
}}
(score,) = onnxruntime.InferenceSession("{graph}").run(None, given)[0]
for place in np.argsort(-score)[:{k}]:
    print(items["item_id"][candidates[place]], f"{{score[place]:.4f}}")
"""


def card(
    config: Config, inputs: Mapping[str, Path], dataset: Dataset, manifests: Sequence[Manifest], facts: Facts | None
) -> str:
    """The card as Markdown.

    Args:
        config: the run's, without what it should not tell.
        inputs: the files that recommend reads.
        dataset: the run's users and items.
        manifests: of preprocess, pretrain-adapt and finetune.
        facts: what the evaluation found; None if there is none.
    """
    made = {manifest.stage: manifest for manifest in manifests}
    parts = [
        f"# Recommendations of {markdown_text(_target(config))}",
        _what_it_is(config, dataset, made[FINETUNE]),
        "## How to use it",
        _use(config, inputs, dataset),
        *(_measured(facts) if facts else ["## How well it ranks", "It was not measured: the run was not evaluated."]),
        "## Limits",
        _limits(config),
        "## What it was made from",
        *map(markdown_table, _made_from(config, dataset, made, _days(inputs[INTERACTIONS]))),
    ]
    return "\n\n".join(parts) + "\n"


def _target(config: Config) -> str:
    return listed(config.domains.target.category)


def _what_it_is(config: Config, dataset: Dataset, finetuned: Manifest) -> str:
    """In one paragraph."""
    return (
        f"A crossrec model that ranks {len(dataset.target_items):,} items of {markdown_text(_target(config))} for "
        f"{dataset.users.num_rows:,} users, and for others by what they bought. The score is the probability that a "
        "user's next purchase there is this item. Its log-odds are the sum of what several scorers say, each of which "
        f"decides so much: {_shares(finetuned)}. Trained on {finetuned.started[:10]}."
    )


def _shares(finetuned: Manifest) -> str:
    """How much each scorer decides, the most first."""
    shares: dict[str, float] = finetuned.summary["scorers"]
    return listed([f"{name} {share:.0%}" for name, share in sorted(shares.items(), key=lambda pair: -pair[1])])


def _use(config: Config, inputs: Mapping[str, Path], dataset: Dataset) -> str:
    """The command, the lines of Python, and what goes into the graph."""
    popularity, ids = dataset.histories.item_stats.popularity, dataset.items[c.ITEM_ID]
    bought = [ids[int(item)].as_py() for item in np.argsort(-popularity, kind="stable")[:SHOWN]]
    user, tags = shlex.quote(dataset.users[c.USER_ID][0].as_py()), pq.read_metadata(inputs[TAG_NAMES]).num_rows
    files = [inputs[file].name for file in (ITEM_VECTORS, ADDED) if file in inputs]
    snippet = SNIPPET.format(files=files, graph=GRAPH, bought=bought, tags=tags, k=config.recommend.k)
    return f"""With crossrec, neither the raw data nor the language model is needed:

```bash
crossrec recommend --from . --user {user}
crossrec recommend --from . --events new.csv  # user_id,item_id: what happened since, of new users too
```

The lists lie in `recommend/current/recommendations.parquet`, or under another directory with `--set run_dir=DIR`.
`--set` changes `recommend` and `runtime` alone.

Without crossrec, with onnxruntime, numpy and pyarrow, for somebody who bought three things:

```python
{snippet}```

It gives what `crossrec recommend` gives without `recommend.rules`. `{GRAPH}` holds all items' vectors:

| | shape | type | is |
|---|---|---|---|
| `items` | users, places | int64 | each history, oldest first, filled up on the right with -1 |
| `weights` | users, places | float32 | how much each purchase counts, 1 as a rule; 0 where it was filled up |
| `tags` | users, {tags} | float32 | 1 for each tag that the user bears, in the order of `tags.parquet`, else 0 |
| `candidates` | items | int64 | what is to be scored |
| gives `scores` | users, items | float32 | the probabilities |

An item's number is its row, from 0, in {" and, behind these, ".join(f"`{file}`" for file in files)}.
Time and memory grow with the users of a call: ask for some at a time."""


def _measured(facts: Facts) -> list[str]:
    """The test's figures, and what the page says of them."""
    titled = {section.title: section for section in sections(facts)}
    others, scores = titled["Beside other ways"], appendix.scores(facts)
    (groups,) = titled["For whom?"].tables
    large = replace(groups, rows=[row for row in groups.rows if not row[0].endswith(FEW)])
    return [
        "## How well it ranks",
        markdown_text(f"{TITLE} {verdict(facts)}"),
        markdown_text(others.text),
        markdown_table(_beside_others(facts)),
        "## For whom it is good, and for whom not",
        f"Groups of fewer than {SMALL} users are left out: their figures are mostly chance.",
        markdown_table(large),
        f"## {scores.title}",
        markdown_text(scores.text),
        *map(markdown_table, scores.tables),
        *([markdown_table(_reliability(facts))] if facts.calibration.num_rows else []),
    ]


def _beside_others(facts: Facts) -> PageTable:
    """Every model's figures with their intervals, and what crossrec gains over it."""
    hit = next(name for _, _, name in facts.figures if name.startswith("hr"))
    models = sorted(
        {model for _, model, _ in facts.figures}, key=lambda model: -facts.figures[ALL, model, facts.ndcg][c.VALUE]
    )
    rows = [
        [
            model,
            *(_with_interval(facts, model, name) for name in (facts.ndcg, hit)),
            gain(facts.gains[model]) if model != CROSSREC else "",
        ]
        for model in models
    ]
    names = [f"{measure(name)}@{facts.k} (95 %)" for name in (facts.ndcg, hit)]
    users = facts.figures[ALL, CROSSREC, facts.ndcg][c.N]
    return PageTable(f"Test, {users:,} users", ["model", *names, f"crossrec's gain in {measure(facts.ndcg)}"], rows)


def _with_interval(facts: Facts, model: str, name: str) -> str:
    row = facts.figures[ALL, model, name]
    return f"{figure(row[c.VALUE], 4)} ({figure(row[c.LOW], 4)} to {figure(row[c.HIGH], 4)})"


def _reliability(facts: Facts) -> PageTable:
    bins = facts.calibration.to_pylist()
    rows = [[f"{row['predicted']:.3%}", f"{row['observed']:.3%}", f"{row['pairs']:,}"] for row in bins]
    return PageTable("Scores, and who bought", ["score", "bought", "pairs"], rows)


def _limits(config: Config) -> str:
    """What somebody who takes it over should know."""
    adapted = (
        "- The language model was adapted to the source. Its weights, if they were kept, are not in this folder.\n"
        if config.adapt.language_model != "frozen"
        else ""
    )
    return f"""- The folder holds every user's id, tags and purchases. Treat it as the data that it was made from.
- It knows what was bought up to the last day below. Newer purchases can be handed in, and change a user's interest;
  nothing is learned from them until it is trained again.
- The score is fitted on purchases of the past. Where prices, seasons or the shop change, test it again.
- What is recommended gets bought more. The test cannot tell what the lists themselves would bring: that takes an
  experiment.
- Whoever bought nothing and bears no tag gets what others like.
- New items are for crossrec to place, where the model was trained: `crossrec items add`, and export again.
{adapted}- `config.yaml` is the run's; names and passwords in addresses are replaced by ***."""


def _days(interactions: Path) -> str:
    """The first and the last day of what users did."""
    ends = pc.min_max(parquet.read_table(interactions, [c.TIMESTAMP])[c.TIMESTAMP]).as_py()
    return f"{ends['min']:%Y-%m-%d} to {ends['max']:%Y-%m-%d}" if ends["min"] else "not known, only an order"


def _made_from(config: Config, dataset: Dataset, made: Mapping[str, Manifest], days: str) -> list[PageTable]:
    """Data, language model, settings and versions."""
    counts, encoder, interest = made[PREPROCESS].summary, config.encoder, config.interest
    package = PACKAGES.get(encoder.model)
    weights = [
        f"{name.rpartition('/')[2]} {sha}"
        for name, sha in made[PRETRAIN_ADAPT].inputs.items()
        if name.endswith(".safetensors") and name.startswith(encoder.model)
    ]
    data = [
        ["platforms", listed([platform.name for platform in config.data.platforms])],
        ["users", f"{dataset.users.num_rows:,}"],
        *(
            [domain, f"{counts[f'{domain}_interactions']:,} interactions with {counts[f'{domain}_items']:,} items"]
            for domain in (c.SOURCE, c.TARGET)[config.domains.same :]
        ),
        ["days", days],
        ["split", config.split.strategy],
    ]
    model = [
        ["language model", encoder.model],
        *([["revision", encoder.revision]] if not package else [["published as", package.hub_id]]),
        *(["sha256", sha] for sha in weights),
        ["licence", package.licence if package else "not known to crossrec; its publisher says"],
        ["reads", f"{encoder.max_tokens} tokens, pooling {encoder.pooling}, {config.adapt.language_model}"],
    ]
    domains = "everything" if config.domains.same else "source and target"
    trained = [
        ["user encoder", interest.user_encoder],
        ["dim", str(interest.dim)],
        ["epochs", f"{config.adapt.epochs} on {domains}, {config.finetune.epochs} on the target"],
    ]
    settings = [
        ["scorers", _shares(made[FINETUNE])],
        *(trained if neural_scorer.NAME in interest.scorers else []),
        ["seed", str(config.seed)],
    ]
    versions = [list(pair) for pair in made[FINETUNE].versions.items()]
    named = {"Data": data, "Language model": model, "Settings": settings, "Versions": versions}
    return [PageTable(title, ["", ""], rows, words=True) for title, rows in named.items()]
