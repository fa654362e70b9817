"""Published scores, by the data set's class, and the category of LSUN: 50,000 samples, Inception, classic resize.

Where papers give different scores for the same network, the source is the paper that the score is taken from.
"""

from typing import NamedTuple


class Source(NamedTuple):
    """Where a score was published."""

    citation: str
    url: str


class Row(NamedTuple):
    """Scores of one network, with one sampler.

    Attributes:
        inception_score: with its standard deviation where one is given.
        evaluations: of the network per image.
    """

    name: str
    inception_score: str | None
    fid: str
    evaluations: int | None
    source: Source


class Table(NamedTuple):
    """Scores on one data set, of images of one size."""

    title: str
    image_size: int
    rows: tuple[Row, ...]


NCSN = Source("Song & Ermon 2019", "https://arxiv.org/abs/1907.05600")
NCSN_V2 = Source("Song & Ermon 2020", "https://arxiv.org/abs/2006.09011")
DDPM = Source("Ho et al. 2020", "https://arxiv.org/abs/2006.11239")
SDE = Source("Song et al. 2021", "https://arxiv.org/abs/2011.13456")
EDM = Source("Karras et al. 2022", "https://arxiv.org/abs/2206.00364")

PUBLISHED = {
    "CIFAR10": Table(
        "CIFAR-10",
        32,
        (
            Row("NCSN", "8.87 ± 0.12", "25.32", 1000, NCSN),
            Row("NCSN, denoised", "7.32", "29.8", 1001, NCSN_V2),
            Row("NCSNv2", "8.73", "31.75", 1160, NCSN_V2),
            Row("NCSNv2, denoised", "8.40", "10.87", 1161, NCSN_V2),
            Row("DDPM", "9.46", "3.17", 1000, DDPM),
            Row("DDPM++ (continuous, VP)", None, "2.55", 1000, SDE),
            Row("NCSN++ (continuous, deep)", "9.89", "2.20", 2000, SDE),
            Row("EDM", None, "1.97", 35, EDM),
            Row("EDM, given the class", None, "1.79", 35, EDM),
        ),
    ),
    "LSUN church_outdoor": Table("LSUN church, 256 × 256", 256, (Row("DDPM", None, "7.89", 1000, DDPM),)),
    "LSUN bedroom": Table(
        "LSUN bedroom, 256 × 256",
        256,
        (
            Row("DDPM", None, "6.36", 1000, DDPM),
            Row("DDPM, larger", None, "4.90", 1000, DDPM),
        ),
    ),
    "CelebA": Table(
        "CelebA, 64 × 64",
        64,
        (
            Row("NCSN", None, "26.89", None, NCSN_V2),
            Row("NCSN, denoised", None, "25.30", None, NCSN_V2),
            Row("NCSNv2", None, "28.86", None, NCSN_V2),
            Row("NCSNv2, denoised", None, "10.23", None, NCSN_V2),
        ),
    ),
}
