"""A tiny random BERT learns which words go together from who buys what."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from facts import fails
from test_transformer import FP32
from transformers import MambaConfig, MambaModel, PreTrainedTokenizerFast

from crossrec_cli.artifacts.checkpoint import Checkpoint
from crossrec_cli.config.training_fields import Encoder, TextTraining
from crossrec_cli.errors import ConfigError, UnavailableError
from crossrec_cli.runtime.interrupts import INTERRUPTED, interrupt
from crossrec_cli.runtime.progress import Silent
from crossrec_cli.text.adapt import GIVEN, _draw_pairs, _loss, _not_negative, _Run, adapt
from crossrec_cli.text.transformer import TransformerEncoder

TASTES = ("jazz", "metal", "blues")
ADJECTIVES = ("red", "blue", "green", "old", "rare", "live")
TEXTS = [f"{taste} {kind} {word}" for taste in TASTES for kind in ("record", "book") for word in ADJECTIVES]


def lists(users: int = 200) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    of_taste = len(TEXTS) // len(TASTES)
    return [rng.choice(of_taste, 4) + rng.integers(len(TASTES)) * of_taste for _ in range(users)]


@pytest.fixture
def kept(tmp_path) -> Checkpoint:
    return Checkpoint(tmp_path / "kept.safetensors", "1000 steps")


def nearness(encoder: TransformerEncoder) -> float:
    """How much more alike texts of one taste are than texts of two."""
    vectors = encoder.embed(TEXTS, lambda done, detail="": None)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    same = np.equal.outer(*[np.arange(len(TEXTS)) // (len(TEXTS) // len(TASTES))] * 2)
    return float((unit @ unit.T)[same].mean() - (unit @ unit.T)[~same].mean())


@pytest.mark.parametrize(("how", "objective"), [("lora", "pairs"), ("full", "pairs"), ("full", "history")])
def test_texts_that_the_same_people_buy_come_nearer(how, objective, tiny_bert, kept):
    if how == "lora":
        pytest.importorskip("peft", reason="the extra lora is not installed")
    encoder = TransformerEncoder(tiny_bert, Encoder(), FP32)
    before = nearness(encoder)
    names = set(encoder.model.state_dict())
    words = encoder.model.get_input_embeddings().weight.detach().clone()
    training = TextTraining(objective=objective, steps=30, batch_size=32, lr=2e-2)
    adapt(encoder, TEXTS, lists(), how, training, 0, Silent(), kept)
    assert nearness(encoder) > before + 0.3
    assert set(encoder.model.state_dict()) == names, "whatever it took to learn, the model is of the same form"
    if how == "full":
        assert torch.equal(encoder.model.get_input_embeddings().weight, words)


def test_a_model_that_lora_does_not_fit(tiny_bert, tmp_path, kept):
    pytest.importorskip("peft", reason="the extra lora is not installed")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tiny_bert)
    tokenizer.save_pretrained(tmp_path)
    sizes = {"vocab_size": len(tokenizer), "hidden_size": 16, "num_hidden_layers": 1, "state_size": 4}
    MambaModel(MambaConfig(**sizes)).save_pretrained(tmp_path)
    encoder = TransformerEncoder(tmp_path, Encoder(), FP32)
    with fails(UnavailableError, "adapt.language_model", "lora", "full"):
        adapt(encoder, TEXTS, lists(), "lora", TextTraining(steps=1), 0, Silent(), kept)


def test_frozen_layers_stay(tiny_bert, kept):
    encoder = TransformerEncoder(tiny_bert, Encoder(), FP32)
    before = {name: weight.clone() for name, weight in encoder.model.state_dict().items()}
    adapt(encoder, TEXTS, lists(), "full", TextTraining(steps=3, lr=1e-3, frozen_layers=1), 0, Silent(), kept)
    changed = {name for name, weight in encoder.model.state_dict().items() if not torch.equal(weight, before[name])}
    assert changed
    assert not any("layer.0." in name for name in changed)


@pytest.mark.parametrize("how", ["lora", "full"])
def test_a_killed_adaptation_ends_as_one_that_was_not(how, tiny_bert, tmp_path, monkeypatch):
    """Killed in its sixth step, it goes on from the fourth; killed once more behind the last, it takes none again."""
    training, steps = TextTraining(steps=9, accumulate=2, batch_size=16), []
    take = _Run.take

    def counted(run, key, rate):
        if key == [3, 5] and dies:
            raise ZeroDivisionError
        steps.append(key[1])
        return take(run, key, rate)

    def adapted(name: str) -> tuple[np.ndarray, torch.Tensor]:
        encoder = TransformerEncoder(tiny_bert, Encoder(), FP32)
        checkpoint = Checkpoint(tmp_path / f"{name}.safetensors", "4 steps")
        adapt(encoder, TEXTS, lists(), how, training, 3, Silent(), checkpoint)
        return encoder.embed(TEXTS, lambda done, detail="": None), torch.rand(3)

    monkeypatch.setattr(_Run, "take", counted)
    dies = False
    vectors, chance = adapted("undisturbed")
    dies = True
    with pytest.raises(ZeroDivisionError):
        adapted("killed")
    dies, steps[:] = False, []
    for expected in ([4, 5, 6, 7, 8], []):
        again, later = adapted("killed")
        assert steps == expected
        assert np.array_equal(again, vectors)
        assert torch.equal(later, chance), "what is drawn behind it hangs on the steps that were left"
        steps.clear()


def test_an_interrupt_leaves_a_checkpoint(tiny_bert, kept, monkeypatch):
    encoder = TransformerEncoder(tiny_bert, Encoder(), FP32)
    monkeypatch.setattr(Silent, "event", lambda *_, **told: interrupt(2, None) if told["step"] == 2 else None)
    with pytest.raises(KeyboardInterrupt):
        adapt(encoder, TEXTS, lists(), "full", TextTraining(steps=5), 3, Silent(), kept)
    INTERRUPTED.clear()
    _, facts = kept.load()
    assert len(facts["losses"]) == 2


def test_what_the_same_user_bought_is_no_negative():
    reads = np.array([0, 1, 2, 3, 0])  # items 0 and 4 read the same
    chosen = [np.array([0, 1, 2]), np.array([2, 3]), np.array([3, 4])]
    read = np.array([[0, 1], [2, 3], [3, 0]])
    right, left = _not_negative(chosen, reads, read)
    assert right.tolist() == [[False, False, True], [False, False, False], [False, True, False]]
    assert left.tolist() == [[False, True, False], [False, False, True], [True, False, False]]


def test_the_loss_is_that_of_a_plain_loop():
    torch.manual_seed(0)
    left, right = torch.randn(3, 4), torch.randn(3, 4)
    scale, share = torch.tensor(0.7), torch.randn(3, 2)
    masks = torch.zeros(3, 3, dtype=torch.bool), torch.zeros(3, 3, dtype=torch.bool)
    masks[0][0, 2] = masks[1][2, 1] = True
    found = _loss(left, right, scale, share, masks)
    for side, (one, other, column, mask) in enumerate(((left, right, 1, masks[0]), (right, left, 0, masks[1]))):
        total = 0.0
        for i in range(3):
            scores = [
                float(one[i] @ other[j]) * math.exp(0.7) - float(share[j, column]) for j in range(3) if not mask[i, j]
            ]
            own = float(one[i] @ other[i]) * math.exp(0.7) - float(share[i, column])
            total += math.log(sum(math.exp(score) for score in scores)) - own
        assert float(found[side]) == pytest.approx(total / 3, rel=1e-5)


def test_a_history_is_what_came_before_and_not_what_is_wanted():
    rng = np.random.default_rng(0)
    items = np.array([7, 7, 3, 7, 5, 9, 2, 8])
    for _ in range(200):
        (given,), (wanted,) = _draw_pairs([items], "history", rng)
        assert 1 <= len(given) == len(set(given)) <= GIVEN
        assert wanted not in given
        places = [np.flatnonzero(items == item)[0] for item in given]
        assert max(places) < np.flatnonzero(items == wanted)[-1]


def test_nobody_with_two_items_teaches_nothing(tiny_bert, kept):
    encoder = TransformerEncoder(tiny_bert, Encoder(), FP32)
    before = encoder.embed(TEXTS, lambda done, detail="": None)
    adapt(encoder, TEXTS, [np.array([1]), np.array([2, 2])], "full", TextTraining(), 0, Silent(), kept)
    assert np.array_equal(before, encoder.embed(TEXTS, lambda done, detail="": None))


def test_a_loss_that_is_no_number_says_what_to_lower(tiny_bert, kept):
    encoder = TransformerEncoder(tiny_bert, Encoder(), FP32)
    with torch.no_grad():
        encoder.model.get_input_embeddings().weight[:] = torch.nan
    with fails(ConfigError, "step 1", "nan", "adapt.text.lr"):
        adapt(encoder, TEXTS, lists(), "full", TextTraining(), 0, Silent(), kept)


def test_no_memory_left_says_what_to_lower(tiny_bert, monkeypatch, kept):
    def exhausted(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")

    encoder = TransformerEncoder(tiny_bert, Encoder(), FP32)
    monkeypatch.setattr(encoder, "forward", exhausted)
    with fails(ConfigError, "adapt.text.batch_size", "20 GiB", 64):
        adapt(encoder, TEXTS, lists(), "full", TextTraining(), 0, Silent(), kept)
