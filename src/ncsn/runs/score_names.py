"""What scores are called where somebody reads them."""

SCORES = {
    "fid": "FID",
    "is": "Inception score",
    "kid": "KID",
    "frechet": "Fréchet distance",
    "score": "Inception-style score",
    "precision": "Precision",
    "recall": "Recall",
    "bits": "Bits per dimension",
    "accuracy": "Samples classified as their label",
    "psnr": "PSNR in dB",
    "ssim": "SSIM",
    "distance": "Distance to the original",
    "diversity": "Distance between samples",
}


def label(name: str) -> str:
    """`classifier_frechet_50k` is the Fréchet distance between a classifier's features."""
    parts = name.split("_")
    kind = next((part for part in parts if part in SCORES), None)
    if kind is None:
        return name
    network = " ".join(parts[: parts.index(kind)])
    return f"{SCORES[kind]}, {network}" if network else SCORES[kind]
