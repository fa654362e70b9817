"""Whether a network has converged, level by level; the paper has no such figure.

Twice the held-out loss per dimension and ‖σ s‖²/D add up to 1 for a perfect score; see `ncsn.evaluation.held_out`.
"""

from common import save
from matplotlib.figure import Figure
from network import DEVICE, facts, images, network_options, trained

from ncsn.evaluation.held_out import LossByLevel, loss_by_level


def draw(result: LossByLevel) -> Figure:
    """Both terms against σ, and their sum."""
    sigmas, loss, size = result
    figure = Figure(figsize=(7, 4))
    axes = figure.add_subplot()
    axes.plot(sigmas, loss, "o-", label="E‖σ s + z‖² / D, twice the loss")
    axes.plot(sigmas, size, "s-", label="E‖σ s‖² / D, size of the score")
    both = [a + b for a, b in zip(loss, size, strict=True)]
    axes.plot(sigmas, both, "k^--", label="their sum: 1 for a perfect score")
    axes.axhline(1, color="0.7", linewidth=1)
    axes.set(xscale="log", xlabel="noise level σ", ylim=(0, None), title="Held-out images, by noise level")
    axes.set_xticks(sigmas, [f"{sigma:.2g}" for sigma in sigmas])
    axes.minorticks_off()
    axes.invert_xaxis()
    axes.legend()
    return figure


def main() -> None:
    arguments = network_options(__doc__.splitlines()[0]).parse_args()
    score = trained(arguments)
    held_out = images(score, "val")[:2048]
    result = loss_by_level(score, held_out, score.sigmas, seed=arguments.seed, device=DEVICE)
    numbers = facts(score) | {"seed": arguments.seed, "images": len(held_out)} | result._asdict()
    save("levels", arguments.out, draw(result), numbers)


if __name__ == "__main__":
    main()
