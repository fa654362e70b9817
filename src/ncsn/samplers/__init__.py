"""Samplers: they draw from any score, and yield after every step.

    sampler = AnnealedLangevin(steps_per_level=100, …)       # the settings, checked
    for state in sampler(score, x, sigmas, normal=…): …      # the run; the samples are the last state's x

What all of them take, yield and raise stands at `Sampler`; a file says what is its own. `start(sampler, …)` draws the
start that a sampler asks for, but it may be anything, images too. Chains that diverge raise a `DivergedError` that
names the step.

Those that take one pass from σ₁ to σ = 0, in as many steps as they are given, share their settings (`descent.py`).
"""

from ncsn.samplers.annealed_langevin import AnnealedLangevin
from ncsn.samplers.budgeted import BudgetedLangevin
from ncsn.samplers.consistent import ConsistentAnnealedSampling
from ncsn.samplers.ddim import DDIM
from ncsn.samplers.ddpm import DDPM
from ncsn.samplers.divergence import DivergedError, stops_when_diverged
from ncsn.samplers.dpm_solver import DPMSolverPP
from ncsn.samplers.heun import Heun
from ncsn.samplers.hmc import HamiltonianMonteCarlo
from ncsn.samplers.interpolation import Interpolation, spherical
from ncsn.samplers.langevin import Langevin
from ncsn.samplers.mala import MetropolisLangevin
from ncsn.samplers.predictor_corrector import PredictorCorrector
from ncsn.samplers.spacing import respace
from ncsn.samplers.state import Sampler, State, num_evaluations, start
from ncsn.samplers.unipc import UniPC

__all__ = [
    "DDIM",
    "DDPM",
    "AnnealedLangevin",
    "BudgetedLangevin",
    "ConsistentAnnealedSampling",
    "DPMSolverPP",
    "DivergedError",
    "HamiltonianMonteCarlo",
    "Heun",
    "Interpolation",
    "Langevin",
    "MetropolisLangevin",
    "PredictorCorrector",
    "Sampler",
    "State",
    "UniPC",
    "num_evaluations",
    "respace",
    "spherical",
    "start",
    "stops_when_diverged",
]
