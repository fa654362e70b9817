"""Muon against singular values, against Adam, and after a pause."""

import copy

import pytest
import torch
from torch import nn

from ncsn.training.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(16, 144), (64, 9), (12, 12)])
def test_singular_values_become_about_one_and_vectors_stay(shape: tuple[int, int]) -> None:
    matrix = torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
    turned = u.T @ orthogonal(matrix) @ vt.T
    assert (turned - turned.diagonal().diag()).abs().max() < 1e-9
    well = s > 0.02 * s.norm()
    assert well.sum() >= len(s) - 1
    assert (turned.diagonal()[well] - 1).abs().max() < 0.35
    assert orthogonal(torch.zeros(shape)).abs().max() == 0


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 30, 3), nn.GroupNorm(2, 30), nn.Flatten(), nn.Linear(30 * 4, 1))


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        x = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()


def test_convolutions_take_orthogonal_steps_and_all_else_takes_those_of_adam() -> None:
    ours, adam = network(), network()
    before = [p.detach().clone() for p in ours.parameters()]
    train(ours, Muon(ours.parameters(), 1e-2, muon_lr=0.5, momentum=0.0), range(1))
    train(adam, torch.optim.Adam(adam.parameters(), 1e-2), range(1))
    for was, mine, theirs in zip(before, ours.parameters(), adam.parameters(), strict=True):
        if mine.ndim == 4:
            step = 0.5 * (30 / 18) ** 0.5 * orthogonal(mine.grad.flatten(1))
            assert torch.allclose(was - mine, step.view(mine.shape), atol=1e-7)
        else:
            assert torch.equal(mine, theirs)


def test_goes_on_from_its_state() -> None:
    once, twice = network(), network()
    train(once, Muon(once.parameters(), 1e-2), range(4))
    first = Muon(twice.parameters(), 1e-2)
    train(twice, first, range(2))
    state = copy.deepcopy(first.state_dict())
    second = Muon(twice.parameters(), 1e-2)
    second.load_state_dict(state)
    train(twice, second, range(2, 4))
    assert all(torch.equal(a, b) for a, b in zip(once.parameters(), twice.parameters(), strict=True))


@pytest.mark.parametrize("wrong", [{"muon_lr": -1.0}, {"momentum": 1.0}])
def test_values_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Muon(network().parameters(), **wrong)
