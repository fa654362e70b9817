"""What a visitor chooses of a drawing."""

from dataclasses import dataclass
from typing import Any

from ncsn.studio.networks import Network
from ncsn.studio.samplers import sampler_of

ANY, ALL = "any", "all"  # for class: none, and all of them in turn


@dataclass(frozen=True)
class Settings:
    """All that a drawing depends on beside the network, in the order in which the page has it.

    Attributes:
        sampler: one of `samplers.names`.
        evaluations: of the network, at most.
        count: of images.
        seed: of all random numbers.
        label: the name of a class, or `ANY` or `ALL`.
        guidance: towards the class.
    """

    sampler: str
    evaluations: int
    count: int
    seed: int = 0
    label: str = ANY
    guidance: float = 1.0

    def of_task(self, network: Network) -> dict[str, Any]:
        """What all tasks that draw with this network are given of it.

        Raises:
            ConfigError: the sampler does not suit the network, or refuses so many evaluations.
        """
        sampler = sampler_of(network.score, self.sampler, self.evaluations)
        return {"sampler": sampler, "num_samples": self.count, **self.of_class(network)}

    def of_class(self, network: Network) -> dict[str, Any]:
        """Label and guidance, as a task is given them; nothing for a network or a drawing without."""
        if self.label == ANY or not network.classes:
            return {}
        label: str | int = self.label
        if label != ALL and not getattr(network.score.condition, "names", ()):
            label = int(label)
        return {"label": label, "guidance": 1.0 if network.needs_class else self.guidance}
