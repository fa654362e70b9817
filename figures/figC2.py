"""App. C.2 (Song & Ermon 2019): nearest training images of samples, by ℓ₂ in pixels and in features.

The samples are on the left of each half; if they were memorised, the images beside them would look the same. The
paper's features are Inception's; here they are those of a classifier of the data set. The numbers are the distances,
and those of held-out images, which cannot have been memorised: memorised samples would be closer.
"""

import torch
from common import save
from network import DEVICE, facts, images, network_options, samples, tiles, trained

from ncsn.data.transforms import to_unit_interval
from ncsn.evaluation import Classifier, extract, nearest
from ncsn.evaluation.neighbours import quartiles
from ncsn.images import to_uint8
from ncsn.sampling.tasks.images import training_data

SHOWN, NEIGHBOURS, SAMPLES = 8, 6, 128


def main() -> None:
    arguments = network_options(__doc__.splitlines()[0]).parse_args()
    score = trained(arguments)
    drawn = torch.from_numpy(to_uint8(samples(score, SAMPLES, arguments.seed))).permute(0, 3, 1, 2)
    training, held_out = images(score, "train"), images(score, "val")[:1000]
    classifier = Classifier.for_data(training_data(score))

    halves, distances = [], {}
    for name in ("pixels", "features"):
        if name == "pixels":
            x, held, database = (to_unit_interval(batch) for batch in (drawn, held_out, training))
        else:
            x, held, database = (
                extract(classifier, batch.split(512), DEVICE).features for batch in (drawn, held_out, training)
            )
        found = nearest(x, database, NEIGHBOURS)
        rows = torch.cat([drawn[:SHOWN, None], training[found.indices[:SHOWN]]], dim=1)
        halves.append(rows)
        distances[name] = {
            "samples_to_training": quartiles(found.distances[:, 0]),
            "held_out_to_training": quartiles(nearest(held, database).distances[:, 0]),
        }
    gap = torch.full_like(halves[0][:, :1], 255)
    rows = to_unit_interval(torch.cat([halves[0], gap, halves[1]], dim=1))
    half = ["sample", "", "", "nearest in {}", *[""] * (NEIGHBOURS - 3)]
    titles = [title.format("pixels") for title in half] + [""] + [title.format("features") for title in half]
    numbers = facts(score) | {
        "seed": arguments.seed,
        "samples": len(drawn),
        "features": classifier.describe(),
        "distance_to_nearest": distances,
    }
    save("figC2", arguments.out, tiles(rows.flatten(0, 1), rows.shape[1], titles), numbers)


if __name__ == "__main__":
    main()
