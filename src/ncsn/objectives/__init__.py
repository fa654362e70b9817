"""Objectives: how far a score network s(x, σ) is from the score of the data, per example.

    objective(score, x, sigma, normal=…) -> (B,)

    score   the network, s(x, σ)
    x       clean images (B, …), pixel values in [0, 1]
    sigma   noise levels (B,), one per row
    normal  draws z ~ N(0, I), and whatever else is random: `normal(x)` has the shape of x

The result is the loss of each row, summed over its D values and weighted by λ(σ) = σ² (Song & Ermon 2019, Sec. 4.2).
So all levels contribute terms of the same size, and the mean over rows whose levels are drawn uniformly is eq. 6 of
that paper. A file says only what is its own.

Each objective is, up to a constant, the squared distance between s(·, σ) and the score of q_σ, the data perturbed by
N(0, σ²I). They differ in what they ask of the network, and in their variance:

    denoising_score_matching            ½σ²‖s + z/σ‖²                    one evaluation, no derivatives; also DDPM's
                                                                         and, with other weights, EDM's and a bound
                                                                         on −log p (likelihood.py)
    denoising_with_control_variate      the same, less noise as σ → 0    one evaluation more
    SlicedScoreMatching                 σ²(vᵀ∇s v + ½(vᵀs)²)             one derivative per v
    exact_score_matching                σ²(tr ∇s + ½‖s‖²)                D derivatives

`image_regression` learns no score: of damaged images, it is the baseline that scores are compared with.

In expectation the first two lie D/2 above the others, whatever the network, so that their values can be compared:
training brings the former down to about ½·D·(something below 1), and the latter towards −½D. For data without
perturbation whose score exists (toys) there is the bare loss of the paper's eq. 1 and 3,
`exact_score_matching_loss(s, x)` and `sliced_score_matching_loss(s, x, v)`, for an s that is a function of x alone.
"""

from ncsn.objectives.control_variate import denoising_with_control_variate
from ncsn.objectives.denoising import denoising_score_matching
from ncsn.objectives.exact import exact_score_matching, exact_score_matching_loss
from ncsn.objectives.likelihood import LikelihoodWeight
from ncsn.objectives.regression import image_regression
from ncsn.objectives.sliced import SlicedScoreMatching, sliced_score_matching_loss

__all__ = [
    "LikelihoodWeight",
    "SlicedScoreMatching",
    "denoising_score_matching",
    "denoising_with_control_variate",
    "exact_score_matching",
    "exact_score_matching_loss",
    "image_regression",
    "sliced_score_matching_loss",
]
