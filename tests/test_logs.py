"""What a run leaves to be read later, and what it never tells."""

from __future__ import annotations

import json

import pytest

from crossrec_cli.config.load import load_config
from crossrec_cli.config.secrets import mask
from crossrec_cli.errors import ExitCode
from crossrec_cli.pipeline.changes import basis_of
from crossrec_cli.pipeline.table import BY_NAME


def events(shop) -> list[dict]:
    return [json.loads(line) for line in (shop.run_dir / "events.jsonl").read_text().splitlines()]


def test_every_step_and_message_is_an_event(shop, crossrec):
    shop.config["adapt"]["epochs"], shop.config["finetune"]["epochs"] = 2, 1
    for stage in ("preprocess", "pretrain-adapt", "finetune"):
        assert crossrec(stage, shop.path).exit_code == 0
    found = events(shop)
    steps = [event for event in found if event["event"] == "step"]
    history = shop.table("pretrain-adapt", "learning_curve")
    of_source = [event for event in steps if event["stage"] == "pretrain-adapt"]
    assert [(event["epoch"], event["step"]) for event in of_source] == [
        (epoch, step) for epoch in (1, 2) for step in range(1, len(of_source) // 2 + 1)
    ]
    for epoch, loss, rate in history[["epoch", "loss", "learning_rate"]].itertuples(index=False):
        of_epoch = [event for event in of_source if event["epoch"] == epoch]
        assert sum(event["loss"] for event in of_epoch) / len(of_epoch) == pytest.approx(loss)
        assert {event["learning_rate"] for event in of_epoch} == {rate}
    assert all(event["memory_bytes"] > 1e7 and event["time"] for event in steps)
    assert {event["stage"] for event in steps} == {"pretrain-adapt", "finetune"}
    messages = [event for event in found if event["event"] == "message"]
    log = (shop.run_dir / "run.log").read_text()
    assert all(f"{event['level'].upper()} {event['stage']}: {event['message']}" in log for event in messages)
    assert len(messages) == len(log.splitlines())


def test_an_error_is_an_event_too(shop, crossrec):
    shop.config["domains"]["target"]["category"] = "nothing"
    assert crossrec("preprocess", shop.path).exit_code == ExitCode.INPUT
    assert events(shop)[-1]["level"] == "error"
    assert "nothing" in events(shop)[-1]["message"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://key:pass@bucket/a.parquet: no", "s3://***@bucket/a.parquet: no"),
        ("'https://shop.example/a.csv?token=abc' and more", "'https://shop.example/a.csv?***' and more"),
        ("ann@shop.example asks: why?now", "ann@shop.example asks: why?now"),
    ],
)
def test_accounts_in_addresses_are_masked(text, shown):
    assert mask(text) == shown


def test_a_password_is_told_nowhere(shop, crossrec):
    platform = shop.config["data"]["platforms"][0]
    platform["interactions"]["path"] = "http://ann:sesame@127.0.0.1:9/a.parquet?token=sesame"
    for more in ((), ("--json",)):
        done = crossrec("preprocess", shop.path, *more)
        assert done.exit_code != 0
        assert "127.0.0.1" in done.output
        assert "sesame" not in done.output
    for path in shop.run_dir.rglob("*"):
        assert path.is_dir() or "sesame" not in path.read_text()


def test_a_manifest_will_hold_no_password_and_another_one_is_no_reason_to_run(shop):
    paths = [
        f"data.platforms[0].interactions.path=https://ann:{secret}@shop.example/a.parquet"
        for secret in ("sesame", "barley")
    ]
    one, other = (basis_of(BY_NAME["preprocess"], load_config(shop.path, [path]), {}) for path in paths)
    assert one.config == other.config
    assert one.inputs.keys() == other.inputs.keys()
    assert "sesame" not in str(one)
