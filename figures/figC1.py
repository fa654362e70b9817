"""App. C.1 (Song & Ermon 2019): without annealing. A network for one noise level, σ = 0.01, and Langevin dynamics.

T = 1000 and ε = 4e-5, the released code's "2e-5". On the left are its samples, on the right those of the noise
conditional network; both are trained for the same number of steps. With --ckpt the baseline is still a small network.
The numbers are the mean distances to the nearest training image, over √D, of samples of both and of held-out images.
"""

from dataclasses import asdict

import torch
from common import save
from network import facts, images, network_options, samples, trained
from torch import Tensor

from ncsn.data.transforms import to_unit_interval
from ncsn.evaluation import nearest
from ncsn.images import grid
from ncsn.samplers import Langevin

COLUMNS = 8
SIGMA = 0.01
LANGEVIN = Langevin(steps=1000, step_size=4e-5)


def main() -> None:
    arguments = network_options(__doc__.splitlines()[0]).parse_args()
    annealed = trained(arguments)
    one_level = [f"noise.{key}={SIGMA}" for key in ("sigma_max", "sigma_min")] + ["noise.num_levels=1"]
    if arguments.ckpt:
        arguments.data = annealed.config["data"]["name"]
    baseline = trained(arguments, "baseline", *one_level, "callbacks.samples.every_n_steps=0")

    x = {
        "langevin": samples(baseline, COLUMNS**2, arguments.seed, LANGEVIN),
        "annealed": samples(annealed, COLUMNS**2, arguments.seed),
    }
    training, held_out = (to_unit_interval(images(annealed, split)) for split in ("train", "val"))

    def distance(x: Tensor) -> float:
        return round(float(nearest(x.clamp(0, 1), training).distances.mean()) / x[0].numel() ** 0.5, 4)

    numbers = facts(annealed) | {
        "seed": arguments.seed,
        "baseline": {"sigma": SIGMA, "training_steps": baseline.step} | asdict(LANGEVIN),
        "distance_to_nearest_training_image": {name: distance(batch) for name, batch in x.items()}
        | {"held_out": distance(held_out[:1000])},
    }
    left, right = (torch.from_numpy(grid(batch, COLUMNS)) for batch in x.values())
    gap = torch.full((left.shape[0], 40, 3), 255, dtype=torch.uint8)
    save("figC1", arguments.out, torch.cat([left, gap, right], dim=1).numpy(), numbers)


if __name__ == "__main__":
    main()
