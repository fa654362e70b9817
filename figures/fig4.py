"""Fig. 4 (Song & Ermon 2019): intermediate samples of annealed Langevin dynamics, one row per chain."""

import torch
from common import save
from network import drawn, facts, network_options, sampler_of, tiles, trained

from ncsn.sampling.tasks import Generate

CHAINS, FRAMES = 8, 12


def main() -> None:
    arguments = network_options(__doc__).parse_args()
    score = trained(arguments)
    task = Generate(score=score, sampler=sampler_of(score), num_samples=CHAINS)
    frames = drawn(task, arguments.seed, FRAMES)
    sigmas = [float(score.sigmas[level]) for level, _ in frames if level is not None]
    rows = torch.stack([x for _, x in frames], dim=1)
    titles = ["start", *(f"σ = {sigma:.2g}" for sigma in sigmas)]
    numbers = facts(score) | {
        "seed": arguments.seed,
        "sigma_of_column": [None, *sigmas],
        "standard_deviation_of_pixels": [round(float(column.std()), 4) for column in rows.unbind(1)],
    }
    save("fig4", arguments.out, tiles(rows.flatten(0, 1), FRAMES + 1, titles), numbers)


if __name__ == "__main__":
    main()
