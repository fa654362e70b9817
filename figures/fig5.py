"""Fig. 5 (Song & Ermon 2019): uncurated samples, the first ones drawn."""

from common import save
from network import facts, network_options, samples, tiles, trained

COLUMNS = 16


def main() -> None:
    arguments = network_options(__doc__).parse_args()
    score = trained(arguments)
    x = samples(score, COLUMNS**2 // 2, arguments.seed)
    numbers = facts(score) | {"seed": arguments.seed, "samples": len(x), "mean_of_pixels": round(float(x.mean()), 4)}
    save("fig5", arguments.out, tiles(x, COLUMNS), numbers)


if __name__ == "__main__":
    main()
