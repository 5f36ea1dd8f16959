"""The coordinator's way through the steps, and what a platform that dies, lies or breaks can do to it."""

from __future__ import annotations

import numpy as np
import pytest

from crossrec_cli.config.training_fields import Finetune, Interest
from crossrec_cli.errors import ArtifactError, UnavailableError
from crossrec_cli.federation.coordinator import ATTEMPTS, LARGEST_SHARE, STATE_FILE, Coordinator
from crossrec_cli.federation.steps import FederationStep, FederationTerms, PlatformAnswer, Question, spread
from crossrec_cli.runtime.progress import Silent

WIDTH = 6
NODES = ("a", "b", "c")


def terms(**changed: object) -> FederationTerms:
    settings = {
        "name": "test",
        "rounds": 2,
        "epochs": 1,
        "proximal": 0.0,
        "platforms": 3,
        "secure": True,
        "directions": 4,
        "seed": 7,
        "interest": Interest(dim=4, heads=1, layers=1, max_sequence=4).model_dump(mode="json"),
        "training": Finetune().model_dump(mode="json"),
    }
    return FederationTerms(**(settings | changed))


def answer_of(node: str, question: Question, **joined: object) -> PlatformAnswer:
    """A well-behaved platform's: the mean of the three is that of node b, which counts as much as the others."""
    shift = np.float32(NODES.index(node) - 1)
    facts: dict = {
        "encoder": "e",
        "user_encoder": "bag",
        "items": 10,
        "users": 10,
        "purchases": 10,
        "weights": 1,
        "length": 1.0,
    }
    facts |= joined
    rng = np.random.default_rng(len(question.step))
    match question.step:
        case FederationStep.JOIN:
            return PlatformAnswer(facts=facts)
        case FederationStep.MOMENTS:
            vectors = rng.normal(size=(50, WIDTH))
            mean = vectors.mean(axis=0) + 0.01 * shift
            return PlatformAnswer(
                [mean.astype(np.float32), (vectors.T @ vectors / 50 * spread(WIDTH)).astype(np.float32)], 10
            )
        case FederationStep.SUMS:
            return PlatformAnswer([np.full((4, 4), 2 + shift, np.float32), np.full((4, 4), 1 + shift, np.float32)], 10)
        case FederationStep.ROUND:
            return PlatformAnswer([array + 1 + shift for array in question.arrays[2:]], 10)
    return PlatformAnswer()


def ask(coordinator: Coordinator, *nodes: str, **changed: PlatformAnswer) -> None:
    """One step, answered by these nodes, some of them with other answers."""
    question = coordinator.question()
    coordinator.accept({node: answer_of(node, question) for node in nodes} | changed)


@pytest.fixture
def coordinator(tmp_path) -> Coordinator:
    return Coordinator.of(terms(), tmp_path, Silent())


def through(coordinator: Coordinator, until: FederationStep | None) -> None:
    while coordinator.step != until:
        ask(coordinator, *NODES)


def test_the_steps_come_in_their_order_and_take_the_mean(coordinator):
    steps = []
    while step := coordinator.step:
        steps.append(step)
        ask(coordinator, *NODES)
    assert steps == [
        FederationStep.JOIN,
        FederationStep.MOMENTS,
        FederationStep.SUMS,
        FederationStep.ROUND,
        FederationStep.ROUND,
        FederationStep.KEEP,
    ]
    np.testing.assert_allclose(coordinator.arrays["history"], np.full((4, 4), 2 / 2))  # answers are times √directions
    np.testing.assert_allclose(coordinator.arrays["next"], np.full((4, 4), 1 / 2))


def test_each_round_begins_with_the_mean_of_the_one_before(coordinator):
    through(coordinator, FederationStep.ROUND)
    before = coordinator.question().named["default_user"]
    ask(coordinator, *NODES)
    np.testing.assert_allclose(coordinator.question().named["default_user"], before + 1, rtol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e6])
def test_an_answer_that_cannot_be_right_is_left_out(coordinator, value):
    through(coordinator, FederationStep.SUMS)
    ask(coordinator, "a", "b", c=PlatformAnswer([np.full((4, 4), value, np.float32)] * 2, 10))
    np.testing.assert_allclose(coordinator.arrays["history"], np.full((4, 4), 1.5 / 2))


def test_so_is_one_of_another_shape(coordinator):
    through(coordinator, FederationStep.ROUND)
    shapes = [array.shape for array in coordinator.question().arrays]
    ask(coordinator, "a", "b", c=PlatformAnswer([np.zeros((2, 2), np.float32)], 10))
    assert coordinator.number == 1 and [array.shape for array in coordinator.question().arrays] == shapes


def test_a_platform_that_lies_about_its_size_counts_twice_the_median_at_most(coordinator):
    question = coordinator.question()
    coordinator.accept({node: answer_of(node, question, users=10**9 if node == "c" else 10) for node in NODES})
    through(coordinator, FederationStep.SUMS)
    question = coordinator.question()
    assert question.most == LARGEST_SHARE * 10
    coordinator.accept(
        {node: answer_of(node, question) for node in "ab"}
        | {"c": PlatformAnswer([np.full((4, 4), 3, np.float32)] * 2, 10**9)}
    )
    np.testing.assert_allclose(coordinator.arrays["history"], np.full((4, 4), (1 + 2 + 2 * 3) / 4 / 2))


def test_one_of_three_may_go_away_and_two_may_not(coordinator):
    through(coordinator, FederationStep.ROUND)
    ask(coordinator, "a", "c")
    assert coordinator.number == 1
    for _ in range(ATTEMPTS - 1):
        ask(coordinator, "a")
    assert coordinator.number == 1 and coordinator.step == FederationStep.ROUND
    with pytest.raises(UnavailableError):
        ask(coordinator, "a")


def test_platforms_whose_texts_mean_something_else_take_no_part(coordinator):
    question = coordinator.question()
    coordinator.accept({node: answer_of(node, question, encoder="other" if node == "a" else "e") for node in NODES})
    assert set(coordinator.participants(FederationStep.MOMENTS)) == {"b", "c"}


def test_who_keeps_its_weights_is_asked_for_sums_alone(coordinator):
    question = coordinator.question()
    coordinator.accept({node: answer_of(node, question, weights=int(node != "a")) for node in NODES})
    through(coordinator, FederationStep.ROUND)
    assert set(coordinator.participants(FederationStep.SUMS)) == set(NODES)
    assert set(coordinator.participants(FederationStep.ROUND)) == {"b", "c"}


def test_where_nobody_gives_weights_there_are_no_rounds(coordinator):
    question = coordinator.question()
    coordinator.accept({node: answer_of(node, question, weights=0, purchases=0) for node in NODES})
    steps = []
    while coordinator.step:
        steps.append(coordinator.step)
        ask(coordinator, *NODES)
    assert steps == [FederationStep.MOMENTS, FederationStep.SUMS, FederationStep.KEEP]


def test_a_killed_one_goes_on_where_it_was(coordinator, tmp_path):
    through(coordinator, FederationStep.ROUND)
    ask(coordinator, *NODES)
    again = Coordinator.of(terms(), tmp_path, Silent())
    assert again.step == FederationStep.JOIN  # who is there now?
    ask(again, *NODES)
    assert again.step == FederationStep.ROUND and again.number == 1
    through(again, None)
    through(coordinator, None)
    for name, array in coordinator.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], array)


@pytest.mark.parametrize("changed", [{"rounds": 5}, {}])
def test_other_terms_or_an_end_begin_anew(coordinator, tmp_path, changed):
    through(coordinator, FederationStep.ROUND if changed else None)
    assert not Coordinator.of(terms(**changed), tmp_path, Silent()).arrays


def test_who_does_not_say_what_it_is_takes_no_part(coordinator):
    question = coordinator.question()
    answers = {node: answer_of(node, question, length=np.nan if node == "c" else 1.0) for node in NODES}
    coordinator.accept(answers | {"b": PlatformAnswer(facts={"encoder": "e"})})
    assert coordinator.step == FederationStep.JOIN  # all three are needed to begin


def test_a_damaged_state_is_named(coordinator, tmp_path):
    (tmp_path / STATE_FILE).write_bytes(b"no tensors")
    with pytest.raises(ArtifactError, match=STATE_FILE):
        Coordinator.of(terms(), tmp_path, Silent())


def test_a_question_survives_its_way():
    question = Question(FederationStep.ROUND, terms(), 1, 20, "e", "bag", 0.1, ["mean"], [np.zeros(3, np.float32)])
    assert Question.from_facts(question.facts, question.arrays) == question
