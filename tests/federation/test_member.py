"""A platform's answers, what they leave out, and how the platform goes on with what it gets back."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
from conftest import Shop
from federated_shops import platforms_of

from crossrec_cli.config.federation_fields import Federate
from crossrec_cli.config.load import load_config
from crossrec_cli.config.schema import Config
from crossrec_cli.errors import ConfigError, InputError
from crossrec_cli.federation import member as members
from crossrec_cli.federation.coordinator import Coordinator
from crossrec_cli.federation.member import SHARED_FILE, Member, folder_of, noise_of
from crossrec_cli.federation.steps import FederationStep, FederationTerms, Question
from crossrec_cli.models.shared_model import SharedModel
from crossrec_cli.runtime.progress import Silent

OPTIONS = {"rounds": 2, "epochs": 1, "proximal": 0.1, "platforms": 2, "directions": 16, "name": "books"}
OPTIONS |= {"weights": True, "epsilon": None}


@pytest.fixture(scope="module")
def platforms(tmp_path_factory, tiny_bert) -> list[Shop]:
    """The planted shop's users on two platforms, after preprocess."""
    return platforms_of(2, tmp_path_factory, tiny_bert, federate=OPTIONS, adapt={"epochs": 1}, finetune={"epochs": 1})


def config_of(shop: Shop, *overrides: str) -> Config:
    return load_config(shop.path, overrides)


def together(configs: list[Config], folder: Path, terms: FederationTerms | None = None) -> Coordinator:
    """A federation without transport."""
    sides = [Member(config, Silent()) for config in configs]
    coordinator = Coordinator.of(terms or FederationTerms.of(configs[0]), folder, Silent())
    while coordinator.step:
        question = coordinator.question()
        coordinator.accept({str(number): side.answer(question) for number, side in enumerate(sides)})
    return coordinator


@pytest.fixture(scope="module")
def shared(platforms, tmp_path_factory) -> list[Config]:
    """The platforms after their federation."""
    configs = [config_of(shop) for shop in platforms]
    together(configs, tmp_path_factory.mktemp("coordinator"))
    return configs


def test_all_platforms_get_the_same_model(shared):
    first, second = (SharedModel.load(folder_of(config) / SHARED_FILE) for config in shared)
    assert first.encoder == second.encoder and first.user_encoder == "bag" and len(first.history) == 16
    assert first.network and "tags.weight" not in first.network
    for name, weights in first.network.items():
        np.testing.assert_array_equal(weights, second.network[name])


def test_all_that_left_is_written_down_and_names_nobody(platforms, shared):
    folder = folder_of(shared[0])
    lines = [json.loads(line) for line in (folder / "outgoing.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == ["join", "moments", "sums", "round-1", "round-2", "keep"]
    for line in lines[1:5]:
        arrays = safetensors.numpy.load_file(folder / "outgoing" / f"{line['step']}.safetensors")
        assert sum(array.nbytes for array in arrays.values()) == line["bytes"] > 0
    rows = pd.read_parquet(platforms[0].folder / "interactions.parquet")
    ids = {*rows["user"], *rows["item"]}
    for file in [folder / "outgoing.jsonl", *(folder / "outgoing").iterdir()]:
        content = file.read_bytes()
        assert not any(one.encode() in content for one in ids)


def test_items_own_vectors_stay_and_go_on_from_round_to_round(shared, monkeypatch):
    starts = []
    real = members.fit

    def fit(model, *arguments):
        starts.append(model.tower.id_embedding.weight.detach().clone())
        return real(model, *arguments)

    monkeypatch.setattr(members, "fit", fit)
    together(shared, folder_of(shared[0]) / "again")
    assert not np.allclose(starts[0], starts[2])  # two platforms, round after round
    assert np.allclose(
        safetensors.numpy.load_file(folder_of(shared[0]) / members.AT_HOME_FILE)["tower.id_embedding.weight"].shape,
        starts[2].shape,
    )


def test_a_strong_pull_keeps_weights_near_the_shared_ones(platforms, tmp_path):
    moved = []
    for proximal in (0.0, 1000.0):
        options = ["finetune.batch_size=8", "finetune.lr=0.01", "federate.epochs=3", f"federate.proximal={proximal}"]
        config = config_of(platforms[0], *options)
        member = Member(config, Silent(), tmp_path / str(proximal))
        alone = replace(FederationTerms.of(config), platforms=1)
        coordinator = Coordinator.of(alone, tmp_path / "coordinator" / str(proximal), Silent())
        while coordinator.step != FederationStep.ROUND:
            coordinator.accept({"a": member.answer(coordinator.question())})
        question = coordinator.question()
        weights = zip(question.arrays[2:], member.answer(question).arrays, strict=True)
        moved.append(sum(float(((before - after) ** 2).sum()) for before, after in weights) ** 0.5)
    assert moved[1] < 0.3 * moved[0]


def test_the_stages_go_on_with_the_shared_model(platforms, shared, crossrec):
    shop, file = platforms[0], folder_of(shared[0]) / SHARED_FILE
    option = ("--set", f"adapt.shared={file}")
    done = crossrec("run", shop.path, "--to", "evaluate", *option)
    assert done.exit_code == 0, done.output
    scorers = pd.read_parquet(shop.run_dir / "finetune/current/fusion.parquet")["scorer"].dropna().unique()
    assert {"federated", "neural"} <= set(scorers)
    vectors = pd.read_parquet(shop.run_dir / "finetune/current/item_vectors.parquet")
    assert np.stack(vectors["federated_vector"]).any()
    lists = crossrec("recommend", shop.path, "--user", "jazz0", "--json", *option)
    assert lists.exit_code == 0, lists.output
    night = crossrec("finetune", shop.path, "--force", "--set", "finetune.init=previous", *option)
    assert night.exit_code == 0, night.output
    without = crossrec("run", shop.path, "--to", "finetune")
    assert without.exit_code == 0, without.output
    scorers = pd.read_parquet(shop.run_dir / "finetune/current/fusion.parquet")["scorer"].dropna().unique()
    assert "federated" not in scorers


def test_the_stages_go_on_with_noisy_sums_alone_as_by_default(platforms, crossrec, tmp_path):
    pytest.importorskip("dp_accounting")
    usual = Federate()
    assert usual.epsilon and not usual.weights
    options = (f"federate.epsilon={usual.epsilon}", "federate.weights=false", "federate.rounds=10")
    sides = [
        Member(config_of(shop, *options), Silent(), tmp_path / str(number)) for number, shop in enumerate(platforms)
    ]
    coordinator, steps = Coordinator.of(FederationTerms.of(sides[0].config), tmp_path / "coordinator", Silent()), []
    while coordinator.step:
        question = coordinator.question()
        steps.append(question.step)
        coordinator.accept({str(number): side.answer(question) for number, side in enumerate(sides)})
    assert FederationStep.ROUND not in steps and not SharedModel.load(tmp_path / "0" / SHARED_FILE).network
    joined = sides[0].outgoing.lines()[0]["facts"]
    assert joined["purchases"] == 0 and joined["users"] > 0
    option = ("--set", f"adapt.shared={tmp_path / '0' / SHARED_FILE}")
    done = crossrec("run", platforms[0].path, "--to", "finetune", *option)
    assert done.exit_code == 0, done.output
    scorers = pd.read_parquet(platforms[0].run_dir / "finetune/current/fusion.parquet")["scorer"]
    assert {"federated", "neural"} <= set(scorers.dropna())


@pytest.mark.parametrize("change", ["encoder.max_tokens=7", "interest.dim=8", "interest.user_encoder=sequence"])
def test_a_model_of_another_network_or_encoder_is_refused(platforms, shared, crossrec, change):
    shared_file = folder_of(shared[0]) / SHARED_FILE
    refused = crossrec(
        "pretrain-adapt", platforms[0].path, "--quiet", "--set", f"adapt.shared={shared_file}", "--set", change
    )
    assert refused.exit_code == 2 and len(refused.stderr.strip().splitlines()) == 1


def test_so_is_a_file_that_is_none(platforms, crossrec):
    path = platforms[0].path
    refused = crossrec("pretrain-adapt", path, "--set", f"adapt.shared={path}", "--json")
    assert refused.exit_code == 3 and str(path) in refused.output


def test_who_keeps_weights_at_home_answers_no_round(platforms):
    member = Member(config_of(platforms[0], "federate.weights=false"), Silent())
    with pytest.raises(ConfigError, match=r"federate\.weights"):
        member.answer(Question(FederationStep.ROUND, FederationTerms.of(member.config)))


def test_what_is_not_finite_is_not_sent(platforms, monkeypatch):
    member = Member(config_of(platforms[0]), Silent(), platforms[0].folder / "unsent")
    broken = (np.full(4, np.nan), np.zeros((4, 4)), 3)
    monkeypatch.setattr(members, "text_moments", lambda *_: broken)
    with pytest.raises(InputError):
        member.answer(Question(FederationStep.MOMENTS, FederationTerms.of(member.config)))
    assert not (platforms[0].folder / "unsent").exists()


def test_a_budget_adds_noise_once_and_is_spent_once(platforms, tmp_path):
    pytest.importorskip("dp_accounting")
    config = config_of(platforms[0], "federate.weights=false", "federate.epsilon=2", "federate.delta=1e-5")
    shutil.rmtree(folder_of(config), ignore_errors=True)
    member = Member(config, Silent())
    coordinator = Coordinator.of(replace(FederationTerms.of(config), platforms=1, rounds=0), tmp_path, Silent())
    for _ in range(2):
        coordinator.accept({"a": member.answer(coordinator.question())})
    question = coordinator.question()
    first, again = member.answer(question), member.answer(question)
    np.testing.assert_array_equal(first.arrays, again.arrays)
    true = Member(config_of(platforms[0]), Silent(), tmp_path).answer(question)
    noise = np.array(first.arrays) - np.array(true.arrays)
    expected = noise_of(2, 1e-5) * 6**0.5 / true.count * len(true.arrays[0]) ** 0.5
    assert noise.std() == pytest.approx(expected, rel=0.15)
    (release,) = json.loads((member.folder / "budget.json").read_text())
    assert (release["epsilon"], release["delta"], release["federation"]) == (2, 1e-5, "books")
    other = replace(question, arrays=[array * 2 for array in question.arrays])
    fewer = replace(question, terms=replace(question.terms, directions=3))
    for changed in (other, fewer):
        with pytest.raises(ConfigError, match="spent"):
            member.answer(changed)
    less = config_of(platforms[0], "federate.weights=false", "federate.epsilon=0.5", "federate.delta=1e-5")
    with pytest.raises(ConfigError, match="spent"):
        Member(less, Silent()).answer(question)


def test_without_a_budget_there_is_no_noise(platforms, tmp_path):
    config = config_of(platforms[1])
    coordinator = Coordinator.of(replace(FederationTerms.of(config), platforms=1), tmp_path, Silent())
    member = Member(config, Silent(), tmp_path / "one")
    for _ in range(2):
        coordinator.accept({"a": member.answer(coordinator.question())})
    answers = [Member(config, Silent(), tmp_path / name).answer(coordinator.question()) for name in ("one", "two")]
    np.testing.assert_array_equal(answers[0].arrays, answers[1].arrays)


def test_a_dry_run_writes_and_sends_nothing(platforms, crossrec):
    path = platforms[1].path
    shown = crossrec("federate", path, "--dry-run", "--json")
    assert shown.exit_code == 0, shown.output
    document = json.loads(shown.stdout)
    assert [answer["step"] for answer in document["answers"]] == ["join", "moments", "sums", "round-1"]
    assert {file.stem for file in Path(document["folder"], "outgoing").iterdir()} == {"moments", "sums", "round-1"}
    assert not (folder_of(config_of(platforms[1])) / "dry-run" / "budget.json").exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], 2),
        (["--simulate"], 2),
        (["--dry-run", "--join", "localhost:1"], 2),
        (["--dry-run", "--set", "federate.epsilon=1"], 2),
        (["--simulate", "a.yaml", "--set", "federate.weights=false"], 2),
        (["--join", "localhost:1", "--root-certificates", "missing.pem"], 2),
        (["--dry-run", "--set", "adapt.language_model=full"], 2),
        (["--dry-run", "--set", "run_dir=nowhere"], 4),
    ],
)
def test_wrong_input_is_one_line_with_its_code(platforms, crossrec, monkeypatch, tmp_path, arguments, code):
    monkeypatch.chdir(tmp_path)
    refused = crossrec("federate", platforms[0].path, *arguments)
    assert refused.exit_code == code and len(refused.stderr.strip().splitlines()) == 1, refused.output
