"""Respaced ladders: their ends, their order, and the levels that they take."""

import re
from typing import Any, get_args

import pytest
import torch

from ncsn import noise
from ncsn.samplers import respace
from ncsn.samplers.spacing import Spacing

LADDERS = {"ddpm": noise.ddpm(), "ncsn": noise.geometric(), "double": noise.geometric(50, 0.01, 232).double() * 1.1}


@pytest.mark.parametrize("steps", [2, 5, 10, 100, 1000])
@pytest.mark.parametrize("spacing", get_args(Spacing))
@pytest.mark.parametrize("ladder", LADDERS)
def test_a_respaced_ladder_is_one_between_the_same_ends(ladder: str, spacing: Spacing, steps: int) -> None:
    sigmas = LADDERS[ladder]
    if spacing not in ("karras", "logsnr") and steps > len(sigmas):
        message = f"steps={steps}: spacing={spacing} takes levels of the ladder, and it has {len(sigmas)}"
        with pytest.raises(ValueError, match=message):
            respace(sigmas, steps, spacing)
        return
    found = respace(sigmas, steps, spacing)
    assert (found.shape, found.dtype) == ((steps,), sigmas.dtype)
    noise.check(found)
    assert torch.equal(found[[0, -1]], sigmas[[0, -1]])
    if spacing not in ("karras", "logsnr"):
        assert torch.isin(found, sigmas).all()
        assert torch.equal(respace(sigmas, len(sigmas), spacing), sigmas)


def test_no_number_takes_the_ladder() -> None:
    assert respace(LADDERS["ncsn"], None) is LADDERS["ncsn"]
    assert torch.equal(respace(torch.ones(1), None), torch.ones(1))


def test_how_steps_are_spread() -> None:
    sigmas = LADDERS["ddpm"]
    roots = respace(sigmas, 20, "karras", rho=7) ** (1 / 7)
    torch.testing.assert_close(roots.diff(), roots.diff().mean().expand(19), rtol=1e-4, atol=0)
    logs = respace(sigmas, 20, "logsnr").log()
    torch.testing.assert_close(logs.diff(), logs.diff().mean().expand(19), rtol=1e-4, atol=0)
    assert torch.equal(respace(sigmas, 4, "uniform"), sigmas[[0, 333, 666, 999]])
    assert torch.equal(respace(sigmas, 4, "quadratic"), sigmas[[0, 555, 888, 999]])  # t = 999, 444, 111, 0
    nearest = (respace(sigmas, 20, "levels") / respace(sigmas, 20, "karras")).log().abs()
    assert float(nearest[:15].max()) < float((sigmas[:-1] / sigmas[1:]).log().max()) / 2


@pytest.mark.parametrize(
    ("sigmas", "kwargs", "message"),
    [
        (
            torch.ones(1),
            {"steps": 5},
            "steps=5: a ladder of one level has no levels between its ends; take steps=null",
        ),
        (torch.zeros(1), {"steps": None}, "sigmas=[0]: there is no noise to remove"),
        (torch.ones(1), {"steps": 1}, "steps=1: must be from 2 to 10000, or null for all levels"),
        (torch.ones(1), {"steps": 5, "rho": 0.0}, "rho=0.0: must be positive and finite"),
        (
            torch.ones(1),
            {"steps": 5, "spacing": "cubic"},
            "spacing=cubic: must be one of karras, logsnr, uniform, quadratic, levels",
        ),
    ],
)
def test_refuses_by_name(sigmas: torch.Tensor, kwargs: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        respace(sigmas, **kwargs)
