from __future__ import annotations

import importlib.util

import pytest
from facts import check_failed
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from crossrec_cli.errors import ExitCode


def test_tensorboard_gets_curves_and_figures_once(trained, crossrec):
    on = ["--set", "tracking.tensorboard=true"]
    done = crossrec("evaluate", trained.path, *on)
    assert done.exit_code == 0, done.output
    (folder,) = (trained.run_dir / "tensorboard").iterdir()
    assert str(folder) in done.stdout, "figures that were there before are new to it"
    assert str(folder) not in crossrec("evaluate", trained.path, *on).stdout
    found = EventAccumulator(str(folder)).Reload()
    loss = trained.table("pretrain-adapt", "learning_curve")["loss"]
    assert [event.value for event in found.Scalars("pretrain-adapt/loss")] == pytest.approx(loss.tolist())
    (ndcg,) = found.Scalars("test/ndcg@5")
    metrics = trained.table("evaluate", "metrics").query("model == 'crossrec' and segment == 'all'")
    assert ndcg.value == pytest.approx(metrics.query("metric == 'ndcg'")["value"].item())


def test_mlflow_gets_config_figures_and_page(trained, crossrec, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # a server is no part of the client that is installed
    where = (trained.folder / "mlflow").as_uri()
    for _ in range(2):
        done = crossrec("evaluate", trained.path, "--set", f"tracking.mlflow={where}")
        assert done.exit_code == 0, done.output
    (run,) = mlflow.search_runs(experiment_names=["crossrec"], output_format="list")
    assert run.data.params["adapt.epochs"] == "10"
    metrics = trained.table("evaluate", "metrics").query("model == 'crossrec' and segment == 'all'")
    expected = metrics.query("metric == 'ndcg'")["value"].item()
    assert run.data.metrics["ndcg_at_5"] == pytest.approx(expected)
    assert mlflow.artifacts.list_artifacts(run_id=run.info.run_id)[0].path == "report.html"


def test_a_server_that_is_not_there_is_told_and_loses_nothing(trained, crossrec, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    done = crossrec("evaluate", trained.path, "--set", "tracking.mlflow=http://127.0.0.1:9", "--force")
    check_failed(done, ExitCode.UNAVAILABLE, "tracking.mlflow", "http://127.0.0.1:9")
    assert (trained.run_dir / "report.html").is_file()


@pytest.mark.parametrize(("package", "value"), [("mlflow", "http://127.0.0.1:9"), ("tensorboard", "true")])
def test_a_missing_package_is_told_before_any_training(shop, crossrec, monkeypatch, package, value):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        "crossrec_cli.commands.execution.find_spec", lambda name: None if name == package else real(name)
    )
    done = crossrec("run", shop.path, "--set", f"tracking.{package}={value}")
    check_failed(done, ExitCode.UNAVAILABLE, f"tracking.{package}", f"pip install 'crossrec[{package}]'")
    assert not shop.run_dir.exists()
