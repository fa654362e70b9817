"""Restoration and interpolation: Algorithm 2 step by step, the conditional densities it reaches; other samplers."""

import math
import re
from collections.abc import Callable, Iterator

import pytest
import torch
from checks import Known as KnownScore
from checks import assert_mean, assert_normal, last, noise_of
from densities import Gaussian, Mixture
from torch import Tensor

from ncsn import noise
from ncsn.restoration import Known, KnownBlocks, KnownGrey, KnownPixels, Restoration, Tweedie, tweedie
from ncsn.samplers import (
    DDIM,
    DDPM,
    AnnealedLangevin,
    BudgetedLangevin,
    ConsistentAnnealedSampling,
    DivergedError,
    DPMSolverPP,
    HamiltonianMonteCarlo,
    Heun,
    Interpolation,
    Langevin,
    MetropolisLangevin,
    PredictorCorrector,
    Sampler,
    State,
    UniPC,
    num_evaluations,
)
from ncsn.samplers.consistent import refine
from ncsn.samplers.descent import Descent
from ncsn.samplers.state import Holdable
from ncsn.score import Score

LADDER = torch.tensor([2.0, 0.7, 0.3, 0.1], dtype=torch.float64)
SHAPE = (2, 3, 4, 4)  # of the images of these tests

MASK = torch.tensor([[1, 0, 0, 1], [0, 1, 1, 0], [0, 0, 0, 1], [1, 1, 0, 0]])
OF_ONE_CHANNEL = torch.stack([MASK, torch.zeros_like(MASK), 1 - MASK])
PROJECTIONS = {
    "pixels": KnownPixels(MASK.float()),
    "pixels of channels": KnownPixels(OF_ONE_CHANNEL.bool()),
    "all pixels": KnownPixels(torch.ones(4, 4)),
    "no pixels": KnownPixels(torch.zeros(4, 4)),
    "grey": KnownGrey(),
    "blocks of 1": KnownBlocks(1),
    "blocks of 2": KnownBlocks(2),
    "blocks of 4": KnownBlocks(4),
}
RANKS = [3 * 7, 7 + 9, 48, 0, 16, 48, 12, 3]  # of P, by hand
every_projection = pytest.mark.parametrize("P", PROJECTIONS.values(), ids=PROJECTIONS)


def curved(x: Tensor, sigma: Tensor) -> Tensor:
    """Some s(x, σ), nonlinear in both, which mixes the pixels of an image."""
    sigma = sigma.view(-1, *[1] * (x.ndim - 1))
    return (torch.sin(3 * x) - x + 0.3 * x.roll((1, 1), (-1, 1))) / (0.1 + sigma**2)


def image(seed: int, *shape: int) -> Tensor:
    return torch.rand(shape or SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Counted:
    """Noise that remembers what it gave."""

    def __init__(self, seed: int) -> None:
        self.draw, self.given = noise_of(seed), list[Tensor]()

    def __call__(self, x: Tensor) -> Tensor:
        self.given.append(self.draw(x))
        return self.given[-1]


# What is known


@every_projection
def test_is_an_orthogonal_projection(P: Known) -> None:
    x, y = image(0), image(1)
    torch.testing.assert_close(P(P(x)), P(x))
    torch.testing.assert_close((P(x) * y).sum(), (x * P(y)).sum())
    torch.testing.assert_close(P(2 * x - 3 * y), 2 * P(x) - 3 * P(y))


@pytest.mark.parametrize(("P", "rank"), list(zip(PROJECTIONS.values(), RANKS, strict=True)), ids=PROJECTIONS)
def test_knows_so_many_numbers_of_an_image(P: Known, rank: int) -> None:
    basis = torch.eye(48, dtype=torch.float64).view(48, 3, 4, 4)
    assert int(torch.linalg.matrix_rank(P(basis).flatten(1))) == rank


def test_is_what_its_name_says() -> None:
    x = image(0)
    assert torch.equal(KnownPixels(MASK)(x), torch.where(MASK.bool(), x, 0.0))
    torch.testing.assert_close(KnownGrey()(x)[:, 2], (x[:, 0] + x[:, 1] + x[:, 2]) / 3)
    blocks = KnownBlocks(2)(x)
    for i, j in ((0, 0), (0, 2), (2, 0), (2, 2)):
        mean = (x[..., i, j] + x[..., i + 1, j] + x[..., i, j + 1] + x[..., i + 1, j + 1]) / 4
        torch.testing.assert_close(blocks[..., i : i + 2, j : j + 2], mean[..., None, None].expand(2, 3, 2, 2))


@every_projection
def test_leaves_type_and_shape(P: Known) -> None:
    known = P(image(0).float())
    assert (known.dtype, known.shape) == (torch.float32, SHAPE)


def test_blocks_need_images_that_they_divide() -> None:
    with pytest.raises(ValueError, match=re.escape("factor=0: must be at least 1")):
        KnownBlocks(0)
    for shape in ((4, 6), (6, 4)):
        with pytest.raises(ValueError, match="factor=4: must divide {}×{} pixels".format(*shape)):
            KnownBlocks(4)(image(0, 1, 1, *shape))
    assert torch.equal(KnownBlocks(1)(image(0)), image(0))


# Algorithm 2


@pytest.mark.parametrize("P", [KnownPixels(MASK), KnownPixels(OF_ONE_CHANNEL)], ids=["mask", "mask of channels"])
def test_every_step_is_that_of_the_paper(P: KnownPixels) -> None:
    epsilon, T, x, m = 0.002, 3, image(0), P.mask
    states = list(Restoration(AnnealedLangevin(T, epsilon), P, image(1))(curved, x, LADDER, normal=noise_of(1)))

    normal, k = noise_of(1), 0
    for i in range(len(LADDER)):
        sigma_i, sigma_L = float(LADDER[i]), float(LADDER[-1])
        alpha_i = epsilon * sigma_i**2 / sigma_L**2
        y = image(1) + sigma_i * normal(x)
        for t in range(T):
            z, s = normal(x), curved(x, torch.full((2,), sigma_i, dtype=torch.float64))
            x = x + alpha_i / 2 * s + math.sqrt(alpha_i) * z
            x = x * (1 - m) + y * m
            torch.testing.assert_close(states[k].x, x, rtol=1e-12, atol=1e-12)
            assert (states[k].level, states[k].step) == (i, t)
            torch.testing.assert_close(states[k].step_size, torch.tensor(alpha_i, dtype=torch.float64))
            k += 1
    torch.testing.assert_close(states[k].x, x * (1 - m) + image(1) * m, rtol=1e-12, atol=1e-12)


@every_projection
def test_noise_of_the_known_part_is_drawn_once_a_level_and_is_of_the_known_part_alone(P: Known) -> None:
    T, normal, x1 = 3, Counted(1), image(1)
    *states, result = Restoration(AnnealedLangevin(T, 0.002), P, x1)(curved, image(0), LADDER, normal=normal)
    assert len(normal.given) == len(LADDER) * (1 + T)
    assert {z.shape for z in normal.given} == {torch.Size(SHAPE)}
    for state in states:
        z = normal.given[state.level * (1 + T)]
        torch.testing.assert_close(P(state.x), P(x1) + LADDER[state.level] * P(z))
    torch.testing.assert_close(P(result.x), P(x1))


@pytest.mark.parametrize("denoise", [False, True])
@pytest.mark.parametrize("T", [1, 4])
@pytest.mark.parametrize("L", [1, 3])
def test_number_of_steps_is_known_beforehand(L: int, T: int, denoise: bool) -> None:
    sampler: Sampler = Restoration(AnnealedLangevin(T, 0.001, denoise), KnownPixels(MASK), image(1))
    states = list(sampler(curved, image(0), LADDER[:L]))
    assert sampler.num_steps(L) == len(states) == L * T + denoise + 1
    expected = [(i, t) for i in range(L) for t in range(T)]
    expected += [(L - 1, T + k) for k in range(denoise + 1)]
    assert [(s.level, s.step) for s in states] == expected


@pytest.mark.parametrize("denoise", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_known_pixels_come_back_to_the_bit(dtype: torch.dtype, denoise: bool) -> None:
    m, original = MASK.bool().expand(SHAPE), image(1).to(dtype)
    sampler = Restoration(AnnealedLangevin(5, 0.002, denoise), KnownPixels(MASK), original)
    x = last(sampler(curved, image(0).to(dtype), LADDER.to(dtype), normal=noise_of(1)))
    assert torch.equal(x[m], original[m])
    assert (x[~m] != original[~m]).all()


def test_only_what_is_known_of_the_image_matters() -> None:
    x1 = image(1)
    for P in (KnownPixels(MASK), KnownGrey(), KnownBlocks(2)):
        other = x1 + image(2) - P(image(2))
        one, two = (
            last(Restoration(AnnealedLangevin(3, 0.002), P, i)(curved, image(0), LADDER, normal=noise_of(1)))
            for i in (x1, other)
        )
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("denoise", [False, True])
def test_with_nothing_known_it_is_algorithm_1(denoise: bool) -> None:
    T, draw = 3, noise_of(1)
    sampler = AnnealedLangevin(T, 0.002, denoise)
    z = [draw(image(0)) for _ in range(len(LADDER) * (1 + T))]  # the first of every level is for the known part
    ours = iter(z)
    others = iter([noise for k, noise in enumerate(z) if k % (1 + T)])
    restoration = Restoration(sampler, KnownPixels(torch.zeros(4, 4)), image(1))
    x = last(restoration(curved, image(0), LADDER, normal=lambda _: next(ours)))
    assert torch.equal(x, last(sampler(curved, image(0), LADDER, normal=lambda _: next(others))))


@pytest.mark.parametrize("P", [KnownPixels(torch.ones(4, 4)), KnownBlocks(1)], ids=["pixels", "blocks"])
def test_with_everything_known_it_is_the_image(P: Known) -> None:
    sampler = Restoration(AnnealedLangevin(3, 0.002, denoise=True), P, image(1))
    torch.testing.assert_close(last(sampler(curved, image(0), LADDER)), image(1), rtol=0, atol=1e-15)


def test_denoising_step_is_kept_to_what_is_unknown() -> None:
    m, sigma = MASK.bool().expand(SHAPE), LADDER[-1]
    sampler = Restoration(AnnealedLangevin(3, 0.002, denoise=True), KnownPixels(MASK), image(1))
    *_, noisy, denoised, result = sampler(curved, image(0), LADDER, normal=noise_of(1))
    torch.testing.assert_close(denoised.x, noisy.x + sigma**2 * curved(noisy.x, sigma.expand(2)))
    assert torch.equal(result.x, torch.where(m, image(1), denoised.x))


def test_starts_images_and_earlier_states_are_left_alone_and_no_graph_is_kept() -> None:
    x, original = image(0).requires_grad_(), image(1)
    states = []
    for state in Restoration(AnnealedLangevin(2, 0.01), KnownGrey(), original)(curved, x, LADDER):
        states.append((state.x, state.x.clone()))
        assert not state.x.requires_grad
        assert torch.is_grad_enabled()
    assert torch.equal(x, image(0))
    assert torch.equal(original, image(1))
    assert all(torch.equal(kept, copy) for kept, copy in states)


def test_chains_that_diverge_stop() -> None:
    sampler = Restoration(AnnealedLangevin(500, 1.0), KnownPixels(MASK), image(1))
    diverged = r"level 0 \(σ = 2\), step \d+ with step size 400"
    with pytest.warns(UserWarning, match="4σ_L²"), pytest.raises(DivergedError, match=diverged) as raised:
        last(sampler(lambda x, sigma: -10 * x, image(0), LADDER))
    assert raised.value.step < 400


def test_what_is_known_cannot_diverge() -> None:
    sampler = Restoration(AnnealedLangevin(500, 1.0), KnownPixels(torch.ones(4, 4)), image(1))
    with pytest.warns(UserWarning, match="4σ_L²"):
        assert torch.equal(last(sampler(lambda x, sigma: -10 * x, image(0), LADDER)), image(1))


# What it reaches: the conditional density of what is unknown


DRAW = torch.randn(4, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
GAUSSIAN = Gaussian(torch.tensor([1.0, -2.0, 0.5, 0.0]), 0.3 * DRAW @ DRAW.T + 0.4 * torch.eye(4))


def of_images(function: Callable[[Tensor, Tensor], Tensor], shape: tuple[int, ...]) -> Callable[..., Tensor]:
    """A score of vectors as that of images of this shape."""
    return lambda x, sigma: function(x.flatten(1), sigma).unflatten(1, shape)


@pytest.mark.parametrize(
    ("P", "shape"),
    [
        (KnownPixels(torch.tensor([1, 0, 1, 0])), (1, 1, 4)),
        (KnownBlocks(2), (1, 2, 2)),
        (KnownGrey(), (2, 1, 2)),
    ],
    ids=["pixels", "blocks", "grey"],
)
def test_reaches_the_conditional_density(P: Known, shape: tuple[int, ...]) -> None:
    n, epsilon, sigmas = 5_000, 0.1, noise.geometric(3, 0.3, 4).double()
    given = GAUSSIAN.sample(n, torch.Generator().manual_seed(2))  # every chain has an image of its own
    sampler = Restoration(AnnealedLangevin(120, epsilon), P, given.unflatten(1, shape))
    score = of_images(GAUSSIAN.score, shape)
    start = torch.zeros(n, *shape, dtype=torch.float64)
    x = last(sampler(score, start, sigmas, normal=noise_of(1))).flatten(1)

    ones, basis = torch.linalg.eigh(P(torch.eye(4, dtype=torch.float64).unflatten(1, shape)).flatten(1))
    U, V = basis[:, ones < 0.5], basis[:, ones > 0.5]  # of what is unknown, of what is known
    sigma = float(sigmas[-1])
    C = GAUSSIAN.covariance + sigma**2 * torch.eye(4)
    # u | v is normal with the mean μ_u + K (v − μ_v) and the precision Λ = Uᵀ C⁻¹ U; and v has noise of its own
    K = U.T @ C @ V @ torch.linalg.inv(V.T @ C @ V)
    v, axes = torch.linalg.eigh(torch.linalg.inv(U.T @ torch.linalg.inv(C) @ U))
    covariance = axes * (v / (1 - epsilon / (4 * v))) @ axes.T + sigma**2 * K @ K.T  # and the step's own share
    torch.testing.assert_close(x @ V, given @ V)
    residual = (x - GAUSSIAN.mean) @ U - (given - GAUSSIAN.mean) @ V @ K.T
    variances, axes = torch.linalg.eigh(covariance)
    assert_normal(residual, torch.zeros(U.shape[1]).double(), axes, variances, errors=4)
    for known in ((given - GAUSSIAN.mean) @ V).T:
        assert_mean(residual * known[:, None], 0.0)


def test_without_noise_it_is_the_conditional_mean_of_the_image_itself() -> None:
    # where the image is a linear function of what is known of it, chains end there but for σ_L
    line = Gaussian(torch.zeros(4), torch.ones(4, 4))
    given = torch.tensor([[0.7, 0, 0, 0], [-1.3, 0, 0, 0]]).double()[:, None, None]
    P = KnownPixels(torch.tensor([1, 0, 0, 0]))
    sampler = Restoration(AnnealedLangevin(100, 2e-5), P, given)
    x = last(sampler(of_images(line.score, (1, 1, 4)), image(0, 2, 1, 1, 4), noise.geometric(1, 0.01, 10).double()))
    torch.testing.assert_close(x, given[..., :1].expand(2, 1, 1, 4), rtol=0, atol=0.1)


# Any sampler


EDM, GEOMETRIC = noise.karras(num_levels=30).double(), noise.geometric().double()
HELD: dict[str, tuple[Holdable, Tensor]] = {
    "ddpm": (DDPM(), EDM),
    "ddpm clipped": (DDPM(clip=True), EDM),
    "ddim": (DDIM(), EDM),
    "ddim with noise": (DDIM(eta=0.5), EDM),
    "heun": (Heun(), EDM),
    "heun with churn": (Heun(churn=10.0), EDM),
    "dpmpp_2m": (DPMSolverPP(), EDM),
    "unipc": (UniPC(), EDM),
    "pc": (PredictorCorrector(), EDM),
    "ald": (AnnealedLangevin(50), GEOMETRIC),
    "ald_100": (BudgetedLangevin(100), GEOMETRIC),
    "consistent": (ConsistentAnnealedSampling(10, denoise=True), GEOMETRIC),
    "langevin": (Langevin(20, 1e-4), GEOMETRIC),
}
AFTER = dict.fromkeys([type(sampler) for sampler, _ in HELD.values()], 1) | {
    AnnealedLangevin: 0,
    Langevin: 0,
    ConsistentAnnealedSampling: 2,
}
every_held = pytest.mark.parametrize(("sampler", "sigmas"), HELD.values(), ids=HELD)


@every_held
def test_every_sampler_keeps_what_is_known_at_the_noise_it_has(sampler: Holdable, sigmas: Tensor) -> None:
    """All pixels but one are known, so that all the rest of a state is y + σ z with the σ that its step leads to."""
    P, x1 = KnownPixels(torch.arange(4000).view(1, 40, 100) > 0), image(1, 1, 1, 40, 100)
    restoration = Restoration(sampler, P, x1)
    score = lambda x, sigma: (0.5 - x) / (0.06 + sigma.view(-1, 1, 1, 1) ** 2)  # noqa: E731
    x = 0.5 + sigmas[0] * noise_of(0)(x1)
    *states, result = restoration(score, x, sigmas, normal=noise_of(1))
    assert len(states) + 1 == restoration.num_steps(len(sigmas)) == sampler.num_steps(len(sigmas)) + 1
    assert num_evaluations(restoration, len(sigmas)) == num_evaluations(sampler, len(sigmas))
    assert torch.equal(P(result.x), P(x1))
    if isinstance(sampler, Descent):
        expected = sigmas.tolist()[1:]
    elif isinstance(sampler, ConsistentAnnealedSampling):
        expected = refine(sigmas, 10).tolist()[1:]
    else:
        expected = [float(sigmas[state.level]) for state in states if state.step_size is not None]
    assert len(states) - len(expected) == AFTER[type(sampler)]  # steps to σ = 0
    found = [float(P(state.x - x1).square().mean().sqrt()) for state in states[: len(expected)]]
    assert found == pytest.approx(expected, rel=0.06)


@pytest.mark.parametrize("name", [name for name in HELD if name != "langevin"])
def test_every_sampler_that_anneals_finds_what_the_known_part_says(name: str) -> None:
    """Where it says all, the pixels are alike; and where it says which of two images it is.

    Chains that are held to nothing are off by 0.35 there, and right half of the time here. With the true conditional
    density they would be off by 0, and right.
    """
    (sampler, sigmas), n, P, normal = HELD[name], 500, KnownPixels(torch.tensor([1, 0, 1, 0])), noise_of(1)
    alike = Gaussian(torch.full((4,), 0.5), torch.full((4, 4), 0.06))
    two = Mixture([0.5, 0.5], [Gaussian(torch.full((4,), mean), 0.003 * torch.eye(4)) for mean in (0.2, 0.8)])
    ends = []
    for density in (alike, two):
        given = density.sample(n, torch.Generator().manual_seed(2))
        start = 0.5 + sigmas[0] * noise_of(0)(torch.empty(n, 1, 1, 4).double())
        held = Restoration(sampler, P, given.unflatten(1, (1, 1, 4)))
        x = last(held(of_images(density.score, (1, 1, 4)), start, sigmas, normal=normal)).flatten(1)
        assert torch.equal(x[:, [0, 2]], given[:, [0, 2]])
        ends.append((x[:, [1, 3]], given[:, [0]]))
    missing, known = ends[0]
    assert (missing - known).square().mean().sqrt() < 0.12
    missing, known = ends[1]
    right = (missing > 0.5) == (known > 0.5)
    assert right.double().mean() > 0.85
    assert (missing - (0.2 + 0.6 * (known > 0.5)))[right].square().mean().sqrt() < 0.15


@pytest.mark.parametrize("sampler", [DDIM(), Heun(), DPMSolverPP(), UniPC()], ids=lambda s: type(s).__name__)
def test_what_the_known_part_says_nothing_of_is_left_alone(sampler: Holdable) -> None:
    independent = of_images(Gaussian(torch.rand(4), torch.diag(torch.rand(4))).score, (1, 1, 4))
    start, P = 20 * image(0, 3, 1, 1, 4), KnownPixels(torch.tensor([1, 0, 1, 0]))
    held = last(Restoration(sampler, P, image(1, 3, 1, 1, 4))(independent, start, EDM))
    torch.testing.assert_close(held - P(held), (free := last(sampler(independent, start, EDM))) - P(free))


def test_a_sampler_that_accepts_whole_images_is_refused() -> None:
    for sampler in (MetropolisLangevin(), HamiltonianMonteCarlo()):
        with pytest.raises(TypeError, match="cannot be held to what is known of an image: it accepts its proposals"):
            Restoration(sampler, KnownGrey(), image(1))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Interpolation cannot be held to what is known of an image;"):
        Restoration(Interpolation(DDIM(), 3), KnownGrey(), image(1))  # type: ignore[arg-type]


# Tweedie's estimate


def test_tweedie_is_the_posterior_mean() -> None:
    x, sigma = 3 * noise_of(1)(torch.empty(50, 4).double()), torch.linspace(0.1, 2, 50).double()
    for row, s, estimate in zip(x, sigma, tweedie(GAUSSIAN.score, x, sigma), strict=True):
        gain = GAUSSIAN.covariance @ torch.linalg.inv(GAUSSIAN.covariance + s**2 * torch.eye(4))
        torch.testing.assert_close(estimate, GAUSSIAN.mean + gain @ (row - GAUSSIAN.mean))


@pytest.mark.parametrize(("sigma", "level"), [(5.0, 0), (0.7, 1), (0.44, 2), (0.48, 1), (0.01, 3)])
def test_tweedie_as_a_sampler_takes_one_step_and_draws_nothing(sigma: float, level: int) -> None:
    x, normal = image(0), Counted(1)
    sampler: Sampler = Tweedie(sigma)
    (state,) = sampler(curved, x.requires_grad_(), LADDER, normal=normal)
    torch.testing.assert_close(state.x, x.detach() + sigma**2 * curved(x.detach(), torch.full((2,), sigma).double()))
    assert (state.level, state.step, normal.given) == (level, 0, [])
    assert not state.x.requires_grad
    assert sampler.num_steps(4) == 1


@pytest.mark.parametrize("sigma", [0.0, -0.1, math.nan, math.inf])
def test_tweedie_needs_noise(sigma: float) -> None:
    with pytest.raises(ValueError, match=f"^sigma={sigma}: must be positive and finite$"):
        Tweedie(sigma)


# Interpolation


PLANE = Gaussian(torch.tensor([1.0, -2.0]), torch.tensor([[1.0, 0.6], [0.6, 0.5]]))
SAMPLERS = [
    AnnealedLangevin(4, 0.005, denoise=True),
    MetropolisLangevin(4),
    HamiltonianMonteCarlo(3),
]
every_sampler = pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda s: type(s).__name__)


def noise_under(num_angles: int, like: Tensor) -> Tensor:
    """What a sampler is given when it asks for noise of this shape."""

    class Asking:
        def num_steps(self, num_levels: int) -> int:
            return 1

        def __call__(
            self, score: Score, x: Tensor, sigmas: Tensor, *, normal: Callable[[Tensor], Tensor] = torch.randn_like
        ) -> Iterator[State]:
            yield State(normal(x), 0, 0)

    return last(Interpolation(Asking(), num_angles)(curved, like, LADDER, normal=noise_of(1)))


def test_noise_of_a_group_turns_by_equal_angles() -> None:
    N, A = 20_000, 5
    z = noise_under(A, torch.empty(N * A, 2).double()).view(N, A, 2)
    phi = torch.arange(A) * math.pi / 2 / (A - 1)
    for i in range(A):
        for j in range(A):
            assert_mean(z[:, i] * z[:, j], math.cos(phi[i] - phi[j]))
        assert_mean(z[:, i], 0.0)
        assert_mean(z[:, i] ** 4, 3.0)
        assert_mean(z[:, i, 0] * z[:, -1 - i, 1], 0.0)  # one pixel has nothing to do with another
        assert_mean(z[1:, i] * z[:-1, -1 - i], 0.0)  # nor one group with another


def test_noise_has_any_shape() -> None:
    for shape in ((6,), (6, 2), (6, 3, 4, 4)):
        z = noise_under(3, torch.empty(shape).double())
        assert z.shape == shape
        group = z.view(2, 3, *shape[1:])
        torch.testing.assert_close(group[:, 1], (group[:, 0] + group[:, 2]) / math.sqrt(2))


@every_sampler
def test_ends_of_a_row_are_the_runs_of_its_two_draws(sampler: Sampler) -> None:
    N, A = 3, 4
    start, score = noise_of(7)(torch.empty(N, 2).double()), KnownScore(PLANE)
    row = list(Interpolation(sampler, A)(score, start.repeat_interleave(A, dim=0), LADDER, normal=noise_of(1)))
    assert len(row) == sampler.num_steps(len(LADDER)) == Interpolation(sampler, A).num_steps(len(LADDER))
    for end, which in ((0, 0), (A - 1, 1)):
        draw = noise_of(1)
        alone = sampler(score, start, LADDER, normal=lambda x, d=draw, w=which: (d(x), d(x))[w])  # type: ignore[misc]
        for state, expected in zip(row, alone, strict=True):
            torch.testing.assert_close(state.x[end::A], expected.x, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    "sampler",
    [AnnealedLangevin(100, 0.1), MetropolisLangevin(80), HamiltonianMonteCarlo(30)],
    ids=lambda s: type(s).__name__,
)
def test_every_chain_of_a_row_is_a_sample_like_any_other(sampler: Sampler) -> None:
    N, A, sigmas = 2_000, 3, noise.geometric(3, 0.5, 4).double()
    start = torch.zeros(N * A, 2).double()
    x = last(Interpolation(sampler, A)(KnownScore(PLANE), start, sigmas, normal=noise_of(1))).view(N, A, 2)
    v = PLANE.variances + 0.5**2
    if isinstance(sampler, AnnealedLangevin):
        v = v / (1 - sampler.step_size / (4 * v))
    for a in range(A):
        assert_normal(x[:, a], PLANE.mean, PLANE.axes, v, errors=4)
    assert_mean((x[1:, 1] - PLANE.mean) * (x[:-1, 1] - PLANE.mean), 0.0)  # rows have nothing to do with each other


def test_neighbours_in_a_row_are_alike() -> None:
    N, A = 20, 8
    start = image(0, N, 1, 4, 4).repeat_interleave(A, dim=0)
    x = last(Interpolation(AnnealedLangevin(50, 0.005), A)(curved, start, LADDER, normal=noise_of(1)))
    row = x.view(N, A, 16)
    apart = (row[:, 1:] - row[:, :-1]).norm(dim=2).mean(), (row[:, -1] - row[:, 0]).norm(dim=1).mean()
    assert apart[0] < apart[1] / 2


def test_a_row_has_two_ends() -> None:
    with pytest.raises(ValueError, match=r"^num_angles=1: must be at least 2$"):
        Interpolation(AnnealedLangevin(), 1)
