"""App. C.1 (Song & Ermon 2019): without annealing. A network for one noise level, σ = 0.01, and Langevin dynamics.

T = 1000 and ε = 4e-5, the released code's "2e-5". On the left what it draws, on the right the noise conditional
network; both were trained for as many steps. The numbers hold the distance to the nearest training image, per pixel,
against that of held-out images, and how sure a classifier is of what it sees.
"""

from dataclasses import asdict

import torch
from common import save
from network import facts, images, network_options, samples, trained
from torch import Tensor

from ncsn.data.transforms import to_unit_interval
from ncsn.evaluation import Classifier, extract, nearest
from ncsn.images import grid, to_uint8
from ncsn.samplers import Langevin
from ncsn.tasks.images import training_data

COLUMNS = 8
SIGMA = 0.01
LANGEVIN = Langevin(steps=1000, step_size=4e-5)


def main() -> None:
    arguments = network_options(__doc__.splitlines()[0]).parse_args()
    annealed = trained(arguments)
    one_level = [f"noise.{key}={SIGMA}" for key in ("sigma_max", "sigma_min")] + ["noise.num_levels=1"]
    baseline = trained(arguments, "baseline", *one_level, "callbacks.samples.every_n_steps=0")

    x = {
        "langevin": samples(baseline, COLUMNS**2, arguments.seed, LANGEVIN),
        "annealed": samples(annealed, COLUMNS**2, arguments.seed),
    }
    training = images(annealed, "train", arguments)
    classifier = Classifier.for_data(training_data(annealed, arguments.root))

    def judge(x: Tensor) -> dict[str, float]:
        seen = torch.from_numpy(to_uint8(x)).permute(0, 3, 1, 2)
        distance = nearest(to_unit_interval(seen), to_unit_interval(training)).distances.mean()
        confidence = extract(classifier, [seen]).logits.softmax(1).amax(1).mean()
        return {
            "distance_to_nearest_training_image": round(float(distance) / x[0].numel() ** 0.5, 4),
            "mean_confidence_of_classifier": round(float(confidence), 4),
        }

    held_out = to_unit_interval(images(annealed, "val", arguments)[:1000])
    numbers = facts(annealed) | {
        "seed": arguments.seed,
        "baseline": {"sigma": SIGMA, "training_steps": baseline.step} | asdict(LANGEVIN),
        "classifier_accuracy": classifier.record["accuracy"],
        **{name: judge(batch) for name, batch in x.items()},
        "held_out": judge(held_out),
    }
    left, right = (torch.from_numpy(grid(batch, COLUMNS)) for batch in x.values())
    gap = torch.full((left.shape[0], 40, 3), 255, dtype=torch.uint8)
    save("figC1", arguments.out, torch.cat([left, gap, right], dim=1).numpy(), numbers)


if __name__ == "__main__":
    main()
