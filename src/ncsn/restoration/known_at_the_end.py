"""What samplers share that put what is known of an image in its place after the last step of another."""

from dataclasses import dataclass

from ncsn.samplers import Sampler, num_evaluations
from ncsn.samplers.state import StartsFrom


@dataclass(frozen=True)
class KnownAtTheEnd:
    """A sampler on another, with one step more, which evaluates nothing.

    Attributes:
        sampler: draws the rest.
    """

    sampler: Sampler

    @property
    def starts_from(self) -> StartsFrom:
        return self.sampler.starts_from

    def num_steps(self, num_levels: int) -> int:
        """Steps of a whole run, with the one that puts back what is known."""
        return self.sampler.num_steps(num_levels) + 1

    def num_evaluations(self, num_levels: int) -> int:
        """Those of the sampler."""
        return num_evaluations(self.sampler, num_levels)
