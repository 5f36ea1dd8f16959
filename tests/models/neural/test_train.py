from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from conftest import needs_gpu
from facts import Heard, fails, lacking

from crossrec_cli.artifacts.checkpoint import Checkpoint
from crossrec_cli.config.training_fields import Interest, Training
from crossrec_cli.errors import ConfigError
from crossrec_cli.models.histories import ItemStats
from crossrec_cli.models.neural.objective import Batch
from crossrec_cli.models.neural.sampler import Sampler
from crossrec_cli.models.neural.tower import InterestModel
from crossrec_cli.models.neural.train import fit
from crossrec_cli.models.ragged import Ragged
from crossrec_cli.runtime.device import Compute
from crossrec_cli.runtime.progress import Silent


@pytest.mark.parametrize("telling", ["source", "target"])
def test_what_tells_more_comes_to_count_more(telling):
    """Two tastes, told by one domain's purchases; those of the other are chance. Target items come next."""
    rng = np.random.default_rng(0)
    taste = rng.integers(0, 2, 400)
    told, chance = 10 * taste[:, None] + rng.integers(0, 10, (400, 8)), rng.integers(0, 20, (400, 8))
    source, target = (told, chance) if telling == "source" else (chance, told)
    wanted = 40 + taste[:, None]
    histories = Ragged(np.hstack([source, 20 + target, wanted]).ravel(), np.full(400, 17))
    domain = ItemStats(np.arange(42) >= 20, np.ones(42, int))
    sampler = Sampler(histories, Ragged.of([[]] * 400), (np.arange(42) >= 40,), batch_size=40, window=3)
    torch.manual_seed(0)
    config = Interest(user_encoder="bag", dim=8, dropout=0.0, id_dropout=0.0)
    model = InterestModel(config, np.eye(42, dtype=np.float32), domain, tags=0)
    before = model.bag.target_weight.item()
    fit(model, sampler, Training(epochs=8, lr=2e-3), 0, Compute(torch.device("cpu"), torch.float32), Silent())
    assert (model.bag.target_weight.item() > before) == (telling == "target")


@pytest.mark.parametrize("kind", ["bag", "sequence", "hybrid"])
def test_an_item_is_learnt_in_proportion_to_its_weight(kind):
    """After item 0 half the users go on with item 1 and half with item 2, but item 1 weighs four times as much."""
    torch.manual_seed(0)
    items = np.tile([0, 1, 0, 2], 100)
    histories = Ragged(items, np.full(200, 2), np.where(items == 1, 4, 1).astype(np.float32))
    sampler = Sampler(histories, Ragged.of([[]] * 200), (np.array([False, True, True]),), batch_size=200, window=3)
    config = Interest(user_encoder=kind, dim=8, max_sequence=2, dropout=0.0, id_dropout=0.0)
    model = InterestModel(config, np.eye(3, dtype=np.float32), everywhere(3), tags=0)
    compute = Compute(torch.device("cpu"), torch.float32)
    fit(model, sampler, Training(epochs=40, lr=0.05), 0, compute, Silent())
    with torch.no_grad():
        items = model.eval().tower()
        vectors, bias, _ = items
        user = model.user_vectors(items, Ragged.of([[0]]), Ragged.of([[]]))
        share = (user @ vectors[1:].T + bias[1:]).softmax(dim=1)[0, 0]
    assert share == pytest.approx(0.8, abs=0.03)


def everywhere(items: int) -> ItemStats:
    """All are in the target, and were bought."""
    return ItemStats(np.ones(items, bool), np.ones(items, int))


@pytest.mark.parametrize("frozen", ["text", "ids", "users"])
def test_a_part_whose_rate_is_0_stays_and_learns_again_later(frozen):
    model, sampler = example("hybrid")
    before = {name: [p.detach().clone() for p in part] for name, part in model.parts().items()}
    assert sum(len(part) for part in before.values()) == len(list(model.parameters()))
    cpu = Compute(torch.device("cpu"), torch.float32)

    def moved() -> set[str]:
        now = model.parts()
        return {
            name for name in now if any(not torch.equal(*pair) for pair in zip(now[name], before[name], strict=True))
        }

    fit(model, sampler, Training(epochs=1, lr=0.01, rates={frozen: 0}), 0, cpu, Silent())
    assert moved() == {"text", "ids", "users"} - {frozen}
    fit(model, sampler, Training(epochs=1, lr=0.01), 0, cpu, Silent())
    assert moved() == {"text", "ids", "users"}


def test_a_smaller_rate_moves_less():
    far = []
    for rate in (1.0, 0.1):
        model, sampler = example("bag")
        before = model.tower.adaptor.weight.detach().clone()
        training = Training(epochs=1, lr=0.001, rates={"text": rate})
        fit(model, sampler, training, 0, Compute(torch.device("cpu"), torch.float32), Silent())
        far.append((model.tower.adaptor.weight - before).norm().item())
    assert far[1] == pytest.approx(far[0] / 10, rel=0.3)


@pytest.mark.parametrize("kind", ["bag", "sequence", "hybrid"])
def test_who_has_done_nothing_is_told_by_tags_and_else_by_what_sells(kind):
    """Tag 0 buys item 0 above all, tag 1 item 1, and all the others item 2, each with some chance beside."""
    rng = np.random.default_rng(0)
    group = np.repeat([0, 1, 2], [150, 150, 300])
    items = np.where(rng.random((600, 4)) < 0.6, group[:, None], rng.integers(3, 20, (600, 4)))
    histories = Ragged(items.ravel(), np.full(600, 4))
    tags = Ragged.of([[number] if number < 2 else [] for number in group])
    sampler = Sampler(histories, tags, (np.ones(20, bool),), batch_size=60, window=5)
    torch.manual_seed(0)
    config = Interest(user_encoder=kind, dim=16, max_sequence=4, dropout=0.0)
    model = InterestModel(config, np.eye(20, dtype=np.float32), everywhere(20), tags=2)
    fit(model, sampler, Training(epochs=5, lr=0.02), 0, Compute(torch.device("cpu"), torch.float32), Silent())
    with torch.no_grad():
        known = model.eval().tower()
        users = model.user_vectors(known, Ragged.of([[], [], []]), Ragged.of([[0], [1], []]))
        best = (users @ known.vectors.T + known.bias).argmax(dim=1)
    assert best.tolist() == [0, 1, 2]


def example(kind: str, users: int = 60, dropout: float = 0.3):
    """A model, its sampler and its training, all small, with dropout so that chance matters."""
    rng = np.random.default_rng(3)
    histories = Ragged.of([rng.integers(0, 40, rng.integers(2, 9)).tolist() for _ in range(users)])
    tags = Ragged.of([[number % 2] for number in range(users)])
    sampler = Sampler(histories, tags, (np.ones(40, bool),), batch_size=8, window=6, by_length=kind != "bag")
    config = Interest(user_encoder=kind, dim=8, max_sequence=5, dropout=dropout)
    torch.manual_seed(0)
    embeddings = rng.normal(size=(40, 12)).astype(np.float32)
    return InterestModel(config, embeddings, everywhere(40), tags=2), sampler


class KilledError(Exception):
    pass


@functools.cache
def undisturbed(kind: str, training: Training) -> tuple[dict[str, torch.Tensor], list[tuple[int, float | None]]]:
    """What a training ends with that nothing kills: its weights, and the losses."""
    model, sampler = example(kind)
    found = fit(model, sampler, training, 1, Compute(torch.device("cpu"), torch.float32), Silent())
    return model.state_dict(), [(row.epoch, row.loss) for row in found]


@pytest.mark.parametrize(("kind", "accumulate"), [("bag", 1), ("hybrid", 3)])
@pytest.mark.parametrize("steps", [1, 7, 8, 13, 20])
def test_a_killed_training_ends_as_one_that_was_not(kind, accumulate, steps, tmp_path):
    """Eight steps an epoch: killed in the first, at its end, in the second and in the third."""
    training = Training(epochs=3, lr=0.03, accumulate=accumulate)
    compute = Compute(torch.device("cpu"), torch.float32)
    weights, losses = undisturbed(kind, training)
    taken = []

    class Dying(Checkpoint):
        def due(self) -> bool:
            taken.append(1)
            return len(taken) == steps

        def save(self, tensors, facts) -> None:
            super().save(tensors, facts)
            raise KilledError

    killed, sampler = example(kind)
    with pytest.raises(KilledError):
        fit(killed, sampler, training, 1, compute, Silent(), Dying(tmp_path / "state.safetensors", "9 steps"))
    torch.manual_seed(99)
    again, sampler = example(kind)
    kept = Checkpoint(tmp_path / "state.safetensors", "5 minutes")
    found = fit(again, sampler, training, 1, compute, Silent(), kept)
    assert [(row.epoch, row.loss) for row in found] == losses
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, weights[name]), name


@needs_gpu
@pytest.mark.parametrize("kind", ["bag", "hybrid"])
def test_a_training_killed_on_a_gpu_goes_on_there(kind, tmp_path):
    """To the same losses, but for the order in which a GPU adds up."""
    training, compute = Training(epochs=4, lr=0.03), Compute(torch.device("cuda"), torch.float32)

    class Dying(Checkpoint):
        def save(self, tensors, facts) -> None:
            super().save(tensors, facts)
            raise KilledError

    def trained(checkpoint: Checkpoint | None) -> list[float | None]:
        model, sampler = example(kind)
        rows = fit(model.to(compute.device), sampler, training, 1, compute, Silent(), checkpoint=checkpoint)
        return [row.loss for row in rows]

    path = tmp_path / "state.safetensors"
    with pytest.raises(KilledError):
        trained(Dying(path, "11 steps"))
    assert trained(Checkpoint(path, "5 minutes")) == pytest.approx(trained(None), rel=1e-4)


@needs_gpu
def test_a_full_gpu_says_what_to_lower(fill_gpu):
    model, sampler = example("bag")
    compute = Compute(torch.device("cuda"), torch.float32)
    model.to(compute.device)
    fill_gpu(1e-6, to_the_brim=True)
    with fails(ConfigError, "CUDA", "batch_size (128)"):
        fit(model, sampler, Training(epochs=500), 0, compute, Silent())


def test_a_damaged_checkpoint_is_none(tmp_path):
    path = tmp_path / "state.safetensors"
    kept = Checkpoint(path, "2 steps")
    assert kept.load() is None
    assert [kept.due() for _ in range(3)] == [False, True, True]
    kept.save({"a": torch.ones(3)}, {"epoch": 1})
    assert not kept.due()
    tensors, facts = kept.load()
    assert torch.equal(tensors["a"], torch.ones(3))
    assert facts == {"epoch": 1}
    path.write_bytes(path.read_bytes()[:-5])
    assert kept.load() is None


@pytest.mark.parametrize(("accumulate", "steps"), [(1, 24), (3, 9), (4, 6)])
def test_batches_that_are_accumulated_step_as_one(accumulate, steps, monkeypatch):
    """Three epochs of eight batches; an epoch's last step takes what is left."""
    model, sampler = example("bag")
    taken, take_step = [], torch.optim.AdamW.step
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self, *given: taken.append(take_step(self, *given)))
    compute = Compute(torch.device("cpu"), torch.float32)
    fit(model, sampler, Training(epochs=3, accumulate=accumulate), 0, compute, Silent())
    assert len(taken) == steps


def test_a_loss_that_is_no_number_says_where_and_what_to_lower():
    model, sampler = example("bag")
    with torch.no_grad():
        model.tower.adaptor.weight[0, 0] = torch.nan
    with fails(ConfigError, "epoch 1", "step 1", "nan", "lr (0.001)"):
        fit(model, sampler, Training(epochs=2), 0, Compute(torch.device("cpu"), torch.float32), Silent())


def test_no_memory_left_says_what_to_lower(monkeypatch):
    def exhausted(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")

    model, sampler = example("bag")
    monkeypatch.setattr(model, "bag_vectors", exhausted)
    with fails(ConfigError, "20 GiB", "batch_size (128)"):
        fit(model, sampler, Training(epochs=2), 0, Compute(torch.device("cpu"), torch.float32), Silent())


def test_the_parts_of_a_batch_add_up_to_it():
    """So do the shares of several processes: what is dropped of a user does not hang on who takes her."""
    model, sampler = example("hybrid", dropout=0.3)
    model.train()
    users = next(sampler.epoch(np.random.default_rng(0)))
    batch = Batch.of(model, sampler, users, Training().candidates, np.random.default_rng(1))
    found = []
    everybody = np.arange(len(users))
    for parts in ([everybody], [everybody[number::3] for number in range(3)]):
        model.zero_grad()
        value = 0.0
        for part in parts:
            torch.manual_seed(0)
            share = batch.loss(model, part)
            share.backward()
            value += float(share.detach())
        gradients = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        found.append(torch.cat([torch.tensor([value]), *gradients]))
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-6 * float(found[0].abs().max()))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_batch_that_memory_does_not_hold_is_taken_in_parts(monkeypatch, accumulate):
    """As the whole batch's, the gradients of its parts make one step."""
    cpu = Compute(torch.device("cpu"), torch.float32)
    training = Training(epochs=1, batch_size=8, accumulate=accumulate)
    weights = []
    for most in (8, 3):
        model, sampler = example("hybrid")
        whole, heard = model.bag_vectors, Heard()

        def picky(items, histories, tags, most=most, whole=whole):
            if len(histories.lengths) > most:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")
            return whole(items, histories, tags)

        monkeypatch.setattr(model, "bag_vectors", picky)
        fit(model, sampler, training, 0, cpu, heard)
        weights.append(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]))
    assert [lacking(*told) for told in zip(heard.warnings, ("2 parts", "4 parts"), strict=True)] == [[], []]
    torch.testing.assert_close(weights[1], weights[0], rtol=0, atol=3e-4)


@pytest.mark.parametrize("kind", ["bag", "sequence"])
def test_it_learns_what_goes_with_what(kind):
    """Items 2n and 2n + 1 are bought together; among 200 candidates the softmax is a sampled one."""
    rng = np.random.default_rng(0)
    pairs = rng.integers(0, 100, 1000)
    histories = Ragged(np.stack([2 * pairs, 2 * pairs + 1], axis=1).ravel(), np.full(1000, 2))
    sampler = Sampler(histories, Ragged.of([[]] * 1000), (np.ones(200, bool),), batch_size=50, window=3)
    torch.manual_seed(0)
    config = Interest(user_encoder=kind, dim=32, max_sequence=2, dropout=0.0, id_dropout=0.0)
    texts = rng.normal(size=(200, 16)).astype(np.float32)
    model = InterestModel(config, texts, everywhere(200), tags=0)
    training = Training(epochs=6, lr=0.03, candidates=50)
    fit(model, sampler, training, 0, Compute(torch.device("cpu"), torch.float32), Silent())
    with torch.no_grad():
        items = model.eval().tower()
        vectors, bias, _ = items
        users = model.user_vectors(items, Ragged.of([[item] for item in range(0, 200, 2)]), Ragged.of([[]] * 100))
        scores = users @ vectors.T + bias
    own = scores[torch.arange(100), torch.arange(1, 200, 2)]
    rank = (scores > own.unsqueeze(1)).sum(dim=1)  # the item itself may stand above
    assert (rank <= 1).float().mean() > 0.9


def test_a_finished_training_is_taken_over_whole(tmp_path):
    """No step is made again, and what is drawn at random afterwards is the same."""
    training, compute = Training(epochs=3, lr=0.03), Compute(torch.device("cpu"), torch.float32)
    kept = Checkpoint(tmp_path / "state.safetensors", "5 minutes")
    model, sampler = example("hybrid")
    learned = fit(model, sampler, training, 1, compute, Silent(), kept)
    drawn = torch.rand(3)
    again, _ = example("hybrid")
    assert fit(again, None, training, 1, compute, Silent(), kept) == learned
    assert torch.equal(torch.rand(3), drawn)
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())
