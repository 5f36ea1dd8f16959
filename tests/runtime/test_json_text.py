"""JSON for other programs holds no NaN, whoever writes it."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from crossrec_cli.artifacts.store import Manifest
from crossrec_cli.console.terminal import Console
from crossrec_cli.ranking.list_text import json_lines
from crossrec_cli.runtime.json_text import json_text

NAN, INFINITE = float("nan"), float("inf")


def strict(text: str) -> object:
    return json.loads(text, parse_constant=pytest.fail)


def test_what_is_undefined_is_null():
    value = {"a": [NAN, 1.5, {"b": -INFINITE}], "c": (INFINITE, "\udcff é", None, True)}
    assert strict(json_text(value)) == {"a": [None, 1.5, {"b": None}], "c": [None, "\udcff é", None, True]}
    assert json_text({"a": "é"}).isascii()


def test_every_output_is_strict(tmp_path, capsys):
    console = Console(as_json=True)
    console.document({"against": {"low": NAN}})
    assert strict(capsys.readouterr().out) == {"against": {"low": None}}
    console.open_log(tmp_path)
    console.event("step", loss=INFINITE, step=1)
    found = strict((tmp_path / "events.jsonl").read_text())
    assert isinstance(found, dict)
    assert (found["loss"], found["step"]) == (None, 1)
    assert strict(json_lines(pa.table({"score": [NAN]}))) == {"score": None}
    fields = dict.fromkeys(Manifest.model_fields)
    fields |= {"summary": {"gain_low": NAN}, "config": {}, "inputs": {}, "files": {}}
    assert '"gain_low": null' in Manifest.model_construct(**fields).model_dump_json(indent=2, warnings=False)
