"""The page of the planted shop, and what it says when figures are changed."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from facts import lacking

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import schemas
from crossrec_cli.artifacts.files import ITEM_TEXT, PREPROCESS, PRETRAIN_ADAPT, TRANSFER, TRANSFER_TABLE
from crossrec_cli.artifacts.store import Store, describe_files
from crossrec_cli.artifacts.work import Work
from crossrec_cli.config.load import load_config
from crossrec_cli.config.schema import Report
from crossrec_cli.pipeline.changes import basis_of
from crossrec_cli.pipeline.evaluated import read_facts
from crossrec_cli.pipeline.table import BY_NAME
from crossrec_cli.report import source_section
from crossrec_cli.report.appendix import example_users, learning, scorer_shares
from crossrec_cli.report.facts import Facts
from crossrec_cli.report.page import BY_SEGMENT, COMPARED, SOURCE_HELPS, page, sections, verdict


@pytest.fixture
def facts(trained) -> Facts:
    found = read_facts(Store(trained.run_dir), Report(examples=10))
    assert found is not None
    return found


def with_gains(facts: Facts, **gains: tuple[float, float, float]) -> Facts:
    """The same with other gains over some models: their ends, and p."""
    rows = facts.significance.to_pylist()
    for row in rows:
        low, high, p = gains.get(row[c.MODEL], (0.1, 0.2, 0.001))
        row |= {c.GAIN: (low + high) / 2, c.GAIN_LOW: low, c.GAIN_HIGH: high, c.P: p, c.P_HOLM: p}
    return replace(facts, significance=pa.Table.from_pylist(rows, schemas.SIGNIFICANCE))


def transfer(low: float, high: float) -> pa.Table:
    rows = [
        ["all", "target alone", 0.4, 0.2, 0.0, 0.0, 0.0, 100, 3],
        ["all", "crossrec", 0.5, 0.3, (low + high) / 2, low, high, 100, 3],
    ]
    return pa.Table.from_pylist([dict(zip(schemas.TRANSFER.names, row, strict=True)) for row in rows], schemas.TRANSFER)


def test_the_verdict_follows_the_figures(facts):
    better = verdict(with_gains(facts)).partition(".")[0]
    by_chance = verdict(with_gains(facts, popularity=(-0.01, 0.1, 0.3))).partition(".")[0]
    by_holm = verdict(with_gains(facts, popularity=(0.001, 0.1, 0.3))).partition(".")[0]
    worse = verdict(with_gains(facts, popularity=(-0.2, -0.1, 0.001), text=(-0.2, -0.1, 0.01))).partition(".")[0]
    assert not lacking(better, "Yes", len(facts.gains))
    assert not lacking(by_chance, "Not shown", "popularity")
    assert not lacking(by_holm, "Not shown", "popularity")
    assert not lacking(worse, "No", "popularity", "text")


def test_the_verdict_has_the_transfer_gain(facts):
    assert not lacking(verdict(facts), "'crossrec transfer'")
    for low, high, *told in (
        (0.01, 0.03, "helps", "+.0200", "+.0100", "+.0300"),
        (-0.03, -0.01, "harms", "-.0200", "-.0300", "-.0100"),
        (-0.01, 0.01, "unclear", "+.0000", "-.0100", "+.0100"),
    ):
        assert not lacking(verdict(replace(facts, transfer=transfer(low, high))), *told)


def leave_transfer(shop, config: dict | None = None, inputs: dict | None = None, version: int = 0) -> Facts:
    """A transfer run of the shop, of which this is not as the shop is now; and what the page then knows."""
    stage, store = BY_NAME[TRANSFER], Store(shop.run_dir)
    made = {name: store.current(name) for name in (PREPROCESS, PRETRAIN_ADAPT)}
    basis = basis_of(stage, load_config(shop.path), made)
    with store.draft(TRANSFER) as draft:
        pq.write_table(transfer(0.01, 0.03), draft / Path(TRANSFER_TABLE).name)
        facts = basis.config | (config or {}), basis.inputs | (inputs or {}), describe_files(draft), {}, 1
        store.commit(draft, Work().manifest(TRANSFER, stage.version - version, basis.digest, *facts))
    found = read_facts(store, Report())
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({}, None),
        ({"config": {"transfer.seeds": [9]}}, None),
        ({"config": {"finetune.epochs": 3}}, "finetune.epochs"),
        ({"config": {"adapt.lr": 0.5}}, "adapt.lr"),
        ({"config": {"evaluate.mask_seen": False}}, "evaluate.mask_seen"),
        ({"inputs": {ITEM_TEXT: "0"}}, ITEM_TEXT),
        ({"version": 1}, "version"),
    ],
)
def test_a_transfer_run_counts_where_it_was_trained_as_the_run(trained, other, named):
    found = leave_transfer(trained, **other)
    if named is None:
        assert found.transfer_is_stale is None
        assert found.transfer == transfer(0.01, 0.03)
        assert not lacking(verdict(found), "helps", "+.0200")
    else:
        assert named in (found.transfer_is_stale or "")
        assert found.transfer is None
        assert not lacking(verdict(found), "'crossrec transfer'")
        assert "+.0200" not in page(found)


def test_the_source_share_of_a_segment_stands_beside_whether_the_source_helps_it(facts):
    plain = source_section.section(facts)
    assert [len(table.columns) for table in plain.tables] == [3, 3]
    by_segment = source_section.section(replace(facts, transfer=transfer(0.01, 0.03))).tables[0]
    gains = {row[0]: row[-1] for row in by_segment.rows}
    assert "+.0200" in gains["all"]
    assert "+" not in gains["target history 0"], "transfer did not measure it"
    empty = replace(facts, source_share=schemas.SOURCE_SHARE.empty_table())
    titles = [[section.title for section in sections(some)] for some in (facts, empty)]
    assert [source_section.TITLE in some for some in titles] == [True, False]


def test_a_model_that_is_newer_than_the_evaluation_has_no_page(trained, crossrec):
    assert crossrec("finetune", trained.path, "--set", "finetune.init=scratch").exit_code == 0
    assert read_facts(Store(trained.run_dir), Report()) is None


def test_a_large_segment_in_which_another_is_ahead_is_named(facts):
    rows = facts.metrics.to_pylist()
    for row in rows:
        if (row[c.SEGMENT], row[c.METRIC]) == ("warm", "ndcg") and row[c.MODEL] in ("crossrec", "text"):
            best = row[c.MODEL] == "text"
            row |= {c.VALUE: 0.5 + best / 4, c.LOW: 0.4 + best / 4, c.HIGH: 0.6 + best / 4, c.N: 50}
    behind = pa.Table.from_pylist(rows, schemas.METRICS)
    assert not lacking(verdict(replace(facts, metrics=behind)), "warm")
    few = pa.Table.from_pylist([row | {c.N: min(row[c.N], 49)} for row in rows], schemas.METRICS)
    assert "warm" not in verdict(replace(facts, metrics=few))


def test_a_scorers_share_is_its_weights_times_their_spread(facts, trained):
    """|weight| times spread over a scorer's features, by users; what is added to all scores has no share."""
    rows = trained.table("finetune", "fusion").dropna(subset="scorer")
    size = (rows["weight"] * rows["spread"]).abs().groupby([rows["target_history_length"], rows["scorer"]]).sum()
    expected = (size / size.groupby("target_history_length").transform("sum")).to_dict()
    found = {(group, name): share for group, shares in facts.scorer_shares.items() for name, share in shares.items()}
    assert found == pytest.approx(expected)
    section = scorer_shares(facts)
    (table,) = section.tables
    assert [row[0] for row in table.rows] == ["0", "1", "3", "10+"]
    assert table.rows[0][1:] == [f"{expected[0, name]:.0%}" for name in table.columns[1:]]
    (chart,) = section.charts
    first = max(facts.scorer_shares[0], key=facts.scorer_shares[0].get)
    assert not lacking(chart.text, f"{first} ({expected[0, first]:.0%})")


def test_scorers_without_spread_have_no_share(facts):
    rows = [row | {c.SPREAD: row[c.SPREAD] and 0.0} for row in facts.fusion.to_pylist()]
    found = replace(facts, fusion=pa.Table.from_pylist(rows, schemas.FUSION))
    assert {share for shares in found.scorer_shares.values() for share in shares.values()} == {0.0}
    assert scorer_shares(found).title in page(found)


def test_where_nothing_learned_by_epochs_the_page_says_so(facts):
    nothing = replace(facts, learning={stage: table.slice(0, 0) for stage, table in facts.learning.items()})
    assert not learning(nothing).charts
    assert learning(nothing).text != learning(facts).text
    assert learning(nothing).title in page(nothing)


def test_every_chart_is_valid_vega_lite(facts):
    """The page leaves this out, as it takes longer than drawing."""
    drawings = [
        chart.drawing for section in sections(replace(facts, transfer=transfer(0.1, 0.2))) for chart in section.charts
    ]
    assert len(drawings) > 8
    for drawing in drawings:
        assert drawing.to_dict() == drawing.to_dict(validate=False)


def test_a_browser_draws_the_page(facts, browser):
    facts = replace(facts, transfer=transfer(0.1, 0.2))
    drawn, console = browser(page(facts), width=500)
    assert console == ""
    assert len(re.findall(r'<svg[^>]* class="marks"', drawn)) == drawn.count("<figure>") >= 8
    titles = [section.title for section in sections(facts)]
    assert {SOURCE_HELPS, COMPARED, BY_SEGMENT} <= set(titles)
    for title in titles:
        assert f"<h2>{title}</h2>" in drawn


def test_the_page_is_written_by_whatever_brings_new_figures(trained, crossrec):
    path = trained.run_dir / "report.html"
    path.unlink(missing_ok=True)
    done = crossrec("evaluate", trained.path, "--json", "--png")
    document = json.loads(done.stdout)
    assert document["report"] == str(path)
    assert document["verdict"] in path.read_text().replace("&#x27;", "'")
    charts = sorted((trained.run_dir / "charts").iterdir())
    assert len(charts) >= 7
    assert all(chart.read_bytes().startswith(b"\x89PNG") for chart in charts)
    before, drawn = path.read_bytes(), path.stat()
    assert crossrec("evaluate", trained.path).exit_code == 0
    assert path.stat() == drawn, "nothing changed, so it is not drawn again"
    crossrec("evaluate", trained.path, "--set", "report.examples=1")
    assert "User 1<" in path.read_text()
    path.write_bytes(before[:-1])
    crossrec("evaluate", trained.path, "--set", "evaluate.baselines=[popularity]")
    assert path.read_bytes() not in (before, before[:-1])


def test_markdown_is_all_that_stdout_gets(trained, crossrec):
    done = crossrec("evaluate", trained.path, "--markdown")
    assert re.match(r"## .+\n\n", done.stdout)
    assert "| crossrec | " in done.stdout
    assert "<svg" not in done.stdout
    rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert len(rows) > 20
    assert all(row.endswith("|") for row in rows)


def test_titles_that_are_code_stay_text(shop, crossrec):
    path = shop.folder / "items.parquet"
    items = pd.read_parquet(path)
    items["title"] = "</script><script>alert(1)</script> | `x` " + items["title"]
    items.to_parquet(path)
    shop.config |= {"report": {"examples": 10}}
    shop.config["data"]["clean"] = {"markup": False}
    assert crossrec("run", shop.path).exit_code == 0
    html = (shop.run_dir / "report.html").read_text()
    assert "<script>alert" not in html
    assert "&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt; | `x`" in html


def test_no_person_is_on_the_page_unless_the_config_asks(facts):
    users = facts.examples[c.USER_ID].to_pylist()
    named = [f"User {user}<" for user in dict.fromkeys(users)]
    for shown, numbers, ids in (
        (Report(), 0, 0),
        (Report(examples=3), 3, 0),
        (Report(examples=3, ids="real"), 0, 3),
        (Report(examples=100, ids="real"), 0, 100),
    ):
        html = page(replace(facts, shown=shown))
        assert (example_users(facts).title in html) == bool(shown.examples)
        assert sum(f"User {number}<" in html for number in range(1, 101)) == numbers
        assert sum(name in html for name in named) == ids
