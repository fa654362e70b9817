"""Forms: how a network F(x, c) becomes a score,

    s(x, σ) = a · u + b · F(c_in · u, c_noise),        u = 2x − 1,

with a, b, c_in, c_noise functions of σ. Below, S = 2σ is the noise of u, whose pixels lie in [−1, 1], and D(u, S) the
denoised u, so that s = 2 (D − u)/S². With a and b in closed form nothing is lost at small σ, where D and u are almost
the same.

form    F estimates                    D                                     c_in          c_noise
ddpm    the noise ε                    u − S F                               1/√(1 + S²)   t
v       √ᾱ ε − √(1 − ᾱ) u₀             u/(1 + S²) − S/√(1 + S²) F            1/√(1 + S²)   t
edm     what c_skip leaves             c_skip u + c_out F                    1/√(S² + d²)  ln(S)/4

ᾱ = 1/(1 + S²), so that c_in·u is DDPM's state. d = ½ is the standard deviation of the data, c_skip = d²/(S² + d²) and
c_out = S d/√(S² + d²) (Karras et al. 2022, Table 1). t is the place of σ in the ladder, counted as DDPM does: 0 at
the smallest level, L − 1 at the largest, fractional between two. Beyond the ends it is that of the end, while all
else goes on with σ.

Sources: Ho, Jain & Abbeel 2020 (ddpm); Salimans & Ho 2022 (v); Karras et al. 2022 (edm).
"""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple, get_args

from torch import Tensor, nn

from ncsn.noise import position
from ncsn.score import expand

Form = Literal["edm", "ddpm", "v"]

SIGMA_DATA = 0.5
"""Standard deviation of the data, pixels in [−1, 1], that the form `edm` assumes."""


class Coefficients(NamedTuple):
    """Of s = a·u + b·F(c_in·u, c_noise), each (B,)."""

    a: Tensor
    b: Tensor
    c_in: Tensor
    c_noise: Tensor


def ddpm(sigma: Tensor, sigmas: Tensor) -> Coefficients:
    """F estimates the noise, u = u₀ + S ε: s = −F/σ."""
    return Coefficients(sigma.new_zeros(()).expand_as(sigma), -1 / sigma, _shrinking(sigma), _time(sigma, sigmas))


def v(sigma: Tensor, sigmas: Tensor) -> Coefficients:
    """F estimates the velocity √ᾱ ε − √(1 − ᾱ) u₀."""
    c_in = _shrinking(sigma)
    return Coefficients(-2 * c_in**2, -c_in / sigma, c_in, _time(sigma, sigmas))


def edm(sigma: Tensor, sigmas: Tensor) -> Coefficients:
    """What F estimates, and what it is given, has unit variance at every σ, if the data has SIGMA_DATA."""
    S = 2 * sigma
    c_in = (S**2 + SIGMA_DATA**2).rsqrt()
    return Coefficients(-2 * c_in**2, SIGMA_DATA * c_in / sigma, c_in, S.log() / 4)


FORMS: dict[Form, Callable[[Tensor, Tensor], Coefficients]] = {"edm": edm, "ddpm": ddpm, "v": v}
"""form(sigma, sigmas): (B,), (L,) -> four (B,)."""


def check_form(form: str) -> None:
    """Raises ValueError if there is no such form."""
    if form not in FORMS:
        raise ValueError(f"form={form}: must be {', '.join(get_args(Form))}")


def in_form(
    form: Form, network: Callable[[Tensor, Tensor], Tensor], x: Tensor, sigma: Tensor, sigmas: Tensor
) -> Tensor:
    """The score s(x, σ) = a·u + b·F(c_in·u, c_noise), u = 2x − 1, of a network F and a ladder (L,)."""
    u = 2 * x - 1
    a, b, c_in, c_noise = FORMS[form](sigma, sigmas)
    out = network(expand(c_in, u) * u, c_noise)
    return expand(a, u) * u + expand(b, u) * out.to(u.dtype)


class Preconditioned(nn.Module):
    """s(x, σ) = a·u + b·F(c_in·u, c_noise), u = 2x − 1, pixel values around [0, 1].

    At σ ≤ 0 or NaN the score is not finite. It has the type of x, float64 as well, whatever that of F.

    Args:
        network: F, called with (B, C, H, W) and (B,).
        form: "edm", "ddpm" or "v"; see the module.
        sigmas: the ladder (L,), descending, in which `ddpm` and `v` find t.

    Raises:
        ValueError: there is no such form.
    """

    sigmas: Tensor

    def __init__(self, network: nn.Module, form: Form, sigmas: Tensor) -> None:
        super().__init__()
        check_form(form)
        self.network, self.form = network, form
        self.register_buffer("sigmas", sigmas.clone(), persistent=False)

    def forward(self, x: Tensor, sigma: Tensor, **condition: Tensor) -> Tensor:
        """The score at images x (B, C, H, W) under noise sigma (B,); a condition is passed on to F."""
        return in_form(self.form, partial(self.network, **condition), x, sigma, self.sigmas)


def _shrinking(sigma: Tensor) -> Tensor:
    """√ᾱ = 1/√(1 + S²): scales u to DDPM's variance-preserving state."""
    return (1 + 4 * sigma**2).rsqrt()


def _time(sigma: Tensor, sigmas: Tensor) -> Tensor:
    """t of DDPM: 0 at the smallest level, L − 1 at the largest."""
    return len(sigmas) - 1 - position(sigma, sigmas)
