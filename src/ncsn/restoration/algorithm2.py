"""Restoration by any sampler, after Algorithm 2 of Song & Ermon 2019 (App. B.3).

What is known is put back after every step, with the noise that the chain has there. The missing part thus sees the
known one only as far as the noise of its level lets it, and few steps leave it little time to adapt: it fits the
known part less well than samples of the conditional density would. With many steps per level (`AnnealedLangevin`) the
chain settles at every level, and this bias goes. Noise drawn once for all levels leaves more of it than noise drawn
anew for each, with deterministic samplers as well. These keep it however many steps they take; `DDPM`, which draws
noise in every step, has less of it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from ncsn.restoration.put_back import PutBack
from ncsn.samplers import Sampler, State
from ncsn.samplers.state import Holdable
from ncsn.score import Normal, Score


@dataclass(frozen=True)
class Restoration(PutBack):
    """A sampler whose chains are held to what is known of an image; with annealed Langevin dynamics, Algorithm 2.

    The paper inpaints, with a mask m of the known pixels. Here m ⊙ x is any orthogonal projection P(x), and
    x ⊙ (1 − m) + y ⊙ m is x − P(x) + P(y). The known part carries the noise of the level, drawn once per level as in
    the paper; after the last step it carries none.

    Attributes:
        sampler, project, image: see `PutBack`.

    Raises:
        TypeError: the chains of this sampler cannot be held.
    """

    sampler: Holdable

    def __post_init__(self) -> None:
        check_can_be_held(self.sampler)

    def chains(self, score: Score, x: Tensor, sigmas: Tensor, normal: Normal) -> Iterator[State]:
        """Those of the sampler, held to what is known at every step."""
        P, known = self.project, self.project(self.image)

        def hold(sigma: Tensor | float) -> Callable[[Tensor], Tensor]:
            y = known + sigma * P(normal(x))  # 4, 5: y ← x + z̃, z̃ ~ N(0, σᵢ² I)
            return lambda x: x - P(x) + y  # 9: x̃ ← x̃ ⊙ (1 − m) + y ⊙ m

        return self.sampler(score, x, sigmas, normal=normal, hold=hold)


def check_can_be_held(sampler: Sampler) -> None:
    """Refuses a sampler whose chains cannot be held to anything.

    Raises:
        TypeError: naming it.
    """
    if not getattr(sampler, "can_be_held", False):
        why = (
            ": it accepts its proposals by the density of whole images"
            if getattr(sampler, "needs_energy", False)
            else ""
        )
        raise TypeError(
            f"{type(sampler).__name__} cannot be held to what is known of an image{why}; annealed Langevin dynamics "
            "(sampler=ald, Algorithm 2) can, and so can those of diffusion models (sampler=dpmpp_2m)"
        )
