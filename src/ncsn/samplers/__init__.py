"""Samplers: they draw from any score, and yield after every step.

    sampler = AnnealedLangevin(steps_per_level=100, …)       # the settings, checked
    for state in sampler(score, x, sigmas, normal=…): …      # the run; the samples are the last state's x

What all of them take, yield and raise stands at `Sampler`; a file says what is its own. `start(sampler, …)` draws the
start that a sampler asks for, but it may be anything, images too. Chains that diverge raise a `DivergedError` that
names the step.
"""

from ncsn.samplers.annealed_langevin import AnnealedLangevin
from ncsn.samplers.budgeted import BudgetedLangevin
from ncsn.samplers.consistent import ConsistentAnnealedSampling
from ncsn.samplers.divergence import DivergedError, stops_when_diverged
from ncsn.samplers.hmc import HamiltonianMonteCarlo
from ncsn.samplers.interpolation import Interpolation
from ncsn.samplers.langevin import Langevin
from ncsn.samplers.mala import MetropolisLangevin
from ncsn.samplers.state import Sampler, State, start

__all__ = [
    "AnnealedLangevin",
    "BudgetedLangevin",
    "ConsistentAnnealedSampling",
    "DivergedError",
    "HamiltonianMonteCarlo",
    "Interpolation",
    "Langevin",
    "MetropolisLangevin",
    "Sampler",
    "State",
    "start",
    "stops_when_diverged",
]
