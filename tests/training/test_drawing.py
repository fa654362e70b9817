"""Pictures and scores while training: every process draws its share, and the first one gets all of it."""

import pickle
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor, nn

from ncsn.data import Digits
from ncsn.noise import geometric
from ncsn.samplers import AnnealedLangevin, ConsistentAnnealedSampling, DivergedError, Sampler
from ncsn.sampling.drawing import draw
from ncsn.sampling.tasks import Generate
from ncsn.training import drawing
from ncsn.training.drawing import draw_while_training

SAMPLER = AnnealedLangevin(steps_per_level=2, step_size=1e-3)
OPTIONS: dict[str, Any] = {"num_samples": 10, "batch_size": 4, "seed": 0}


class Score(nn.Module):
    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        return -x


class Module(nn.Module):
    """What a LightningModule is to those who draw from it."""

    def __init__(self) -> None:
        super().__init__()
        self.network, self.sigmas = Score(), geometric(1, 0.1, 3)
        self.device, self.hparams = torch.device("cpu"), {"data": {}}


@pytest.fixture(autouse=True)
def no_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing.distributed, "new_group", lambda **_: None)
    monkeypatch.setattr(drawing.distributed, "destroy_process_group", lambda group: None)


def a_trainer(rank: int = 0, world_size: int = 1) -> Any:
    return Mock(
        global_rank=rank,
        world_size=world_size,
        is_global_zero=rank == 0,
        callbacks=[],
        datamodule=Digits(),
        global_step=7,
    )


def alone(sampler: Sampler = SAMPLER) -> Tensor:
    return torch.cat(draw_while_training(a_trainer(), Module(), sampler, lambda x: x, **OPTIONS))  # type: ignore[arg-type]


def test_each_process_draws_its_own_batches_and_the_first_gets_them_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    parts: dict[int, Any] = {}
    results = []
    for attempt in range(2):  # the first time every process leaves its part, the second it gets those of all
        for rank in range(2):

            def gather(everyone: list[Any], mine: Any, rank: int = rank, **_: Any) -> None:
                parts[rank] = mine
                everyone[:] = [parts.get(0, mine), parts.get(1, mine)]

            monkeypatch.setattr(drawing.distributed, "all_gather_object", gather)
            found = draw_while_training(a_trainer(rank, 2), Module(), SAMPLER, lambda x: x, **OPTIONS)  # type: ignore[arg-type]
            results += [found] if attempt else []
    assert [sorted(kept) for kept, _ in parts.values()] == [[0, 2], [1]]
    first, second = results
    assert torch.equal(torch.cat(first), alone())
    assert second == []


def test_chains_that_diverge_anywhere_end_it_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = DivergedError(0, 0, 1.0, 0.1)

    def gather(everyone: list[Any], mine: Any, **_: Any) -> None:
        everyone[:] = [mine, pickle.loads(pickle.dumps(({}, elsewhere)))]

    monkeypatch.setattr(drawing.distributed, "all_gather_object", gather)
    with pytest.raises(DivergedError, match="level 0"):
        draw_while_training(a_trainer(0, 2), Module(), SAMPLER, lambda x: x, **OPTIONS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "sampler", [SAMPLER, ConsistentAnnealedSampling(steps_per_level=5)], ids=["uniform", "noise"]
)
def test_chains_start_where_the_sampler_says_and_as_sample_py_starts_them(sampler: Sampler) -> None:
    module, starts = Module(), []
    score = drawing._score(a_trainer(), module)  # type: ignore[arg-type]
    task = Generate(score=score, sampler=sampler, num_samples=10)
    drawn = draw(task, batch_size=4, seed=0, watch=lambda x, state: starts.append(x) if state is None else None)
    assert torch.equal(torch.cat([x for _, x in drawn]), alone(sampler))
    start = torch.cat(starts)
    if sampler.starts_from == "uniform":
        assert 0 <= start.min() < start.max() < 1
    else:
        assert start.std() == pytest.approx(1, abs=0.1)  # σ₁, around a grey image
        assert start.mean() == pytest.approx(0.5, abs=0.1)
