"""Fig. 6 (Song & Ermon 2019): inpainting by Algorithm 2. Occluded images, several completions, and the originals.

The numbers compare the mean completion of a held-out image with the mean training image, by the mean squared error
over the missing pixels. Completions that depended only on the position of the missing pixels would do no better.
"""

import torch
from common import save
from network import drawn, facts, images, network_options, sampler_of, tiles, trained

from ncsn.data.transforms import to_unit_interval
from ncsn.restoration import KnownPixels
from ncsn.sampling.tasks import Inpaint

SHOWN, COMPLETIONS = 4, 16


def main() -> None:
    parser = network_options(__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100, help="held-out images (default: 100)")
    arguments = parser.parse_args()
    score = trained(arguments)
    originals = to_unit_interval(images(score, "val")[: arguments.images])
    average = to_unit_interval(images(score, "train")).mean(0)

    rows, numbers = [], facts(score) | {"seed": arguments.seed, "images": len(originals), "completions": COMPLETIONS}
    for number, half in enumerate(("left", "bottom")):
        options = {"num_samples": COMPLETIONS, "num_images": arguments.images, "mask": half}
        task = Inpaint(score=score, sampler=sampler_of(score), **options)
        assert isinstance(task.known, KnownPixels)
        mask = task.known.mask
        completed = drawn(task, arguments.seed)[-1][1].unflatten(0, (-1, COMPLETIONS))

        def error(estimate: torch.Tensor, missing: torch.Tensor = 1 - mask) -> float:
            return round(float(((estimate - originals).square() * missing).mean() / missing.mean()), 5)

        numbers[f"{half}_half_missing"] = {
            "mse_of_the_mean_completion": error(completed.clamp(0, 1).mean(1)),
            "mse_of_the_mean_training_image": error(average),
            "standard_deviation_between_completions": round(float(completed[..., mask == 0].std(1).mean()), 4),
            "largest_error_of_a_known_pixel": float((mask * (completed - originals[:, None])).abs().max()),
        }
        shown = slice(number * SHOWN, (number + 1) * SHOWN)
        occluded = task.measured[shown]
        rows.append(torch.cat([occluded[:, None], completed[shown], originals[shown, None]], dim=1).flatten(0, 1))
    titles = ["occluded", *[""] * COMPLETIONS, "original"]
    save("fig6", arguments.out, tiles(torch.cat(rows), COMPLETIONS + 2, titles), numbers)


if __name__ == "__main__":
    main()
