"""What the commands say of a stage's results."""

from __future__ import annotations

from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crossrec_cli.artifacts.files import CASES, FINETUNE
from crossrec_cli.console import show
from crossrec_cli.console.terminal import Console
from crossrec_cli.errors import InputError
from crossrec_cli.pipeline.run import Outcome


@pytest.fixture
def evaluation(tmp_path):
    """An evaluation of nine users with these figures."""

    def made(name: str, figures: list[float], test: str = "a") -> SimpleNamespace:
        path = tmp_path / f"{name}.parquet"
        users = [f"u{i}" for i in range(len(figures))]
        pq.write_table(pa.table({"model": ["crossrec"] * len(figures), "user_id": users, "ndcg@10": figures}), path)
        return SimpleNamespace(manifest=SimpleNamespace(id=name, inputs={CASES: test}), file=lambda _: path)

    return made


def test_a_figure_that_one_run_lacks_on_the_same_test_is_an_error_and_else_counted(evaluation, tmp_path):
    whole, one_less = evaluation("whole", [0.5] * 9), evaluation("less", [float("nan"), *[0.5] * 8])
    with pytest.raises(InputError, match="1 of 9 users have ndcg@10 in only one"):
        show.against(Console(quiet=True), one_less, whole, tmp_path, 0.05)
    newer = evaluation("newer", [float("nan"), *[0.5] * 8], test="b")
    found = show.against(Console(quiet=True), newer, whole, tmp_path, 0.05)
    assert (found["unpaired"], found["users"], found["mean"], found["same_test"]) == (1, 8, 0, False)


def test_an_evaluation_beside_itself_is_the_same_one(evaluation, tmp_path):
    whole = evaluation("whole", [0.1, float("nan"), 0.9])
    found = show.against(Console(quiet=True), whole, whole, tmp_path, 0.05)
    assert (found["same_evaluation"], found["mean"], found["users"], found["unpaired"]) == (True, 0, 2, 0)


def test_what_counts_is_told_the_most_first_and_of_a_model_that_knows_nothing(capsys, tmp_path):
    def told(shares: dict[str, float]) -> str:
        manifest = SimpleNamespace(wall_seconds=1.0, summary={"scorers": shares})
        made = SimpleNamespace(manifest=manifest, path=tmp_path)
        show.outcome(Console(), Outcome(FINETUNE, made, False, "config and inputs unchanged"))
        return " ".join(capsys.readouterr().err.split())

    assert told({"text": 0.245, "words": 0.015, "linear": 0.74}).endswith("what counts: linear 74%, text 24%")
    assert told({"text": 0.0}).endswith("what counts: nothing, as no scorer tells items apart")
