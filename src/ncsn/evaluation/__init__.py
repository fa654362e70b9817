"""How good samples are: features of images, scores from features, nearest training images.

network = Inception()                                       # or EfficientNet(), Classifier.for_data(data)
reference = Reference.of(data, "train", network, folder)    # computed once, kept in the folder
samples = extract(network, images_of(path).batches(256))
compute_scores(samples, reference)                          # {"fid_50k": …, "is_50k": …, …}
"""

from ncsn.evaluation.classifier import Classifier, train_classifier
from ncsn.evaluation.efficientnet import EfficientNet
from ncsn.evaluation.features import FeatureNetwork, Features, extract, extract_batches
from ncsn.evaluation.image_sets import ImageSet, images_of
from ncsn.evaluation.inception import Inception
from ncsn.evaluation.neighbours import Neighbours, nearest
from ncsn.evaluation.reference import Reference
from ncsn.evaluation.scores import ScoreSettings, compute_scores, frechet_distance

__all__ = [
    "Classifier",
    "EfficientNet",
    "FeatureNetwork",
    "Features",
    "ImageSet",
    "Inception",
    "Neighbours",
    "Reference",
    "ScoreSettings",
    "compute_scores",
    "extract",
    "extract_batches",
    "frechet_distance",
    "images_of",
    "nearest",
    "train_classifier",
]
