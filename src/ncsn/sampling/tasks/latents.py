"""The file that `task=encode` leaves, read with care: it may come from anybody."""

import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ncsn.checkpoint import TrainedScore
from ncsn.errors import DataError, shown

KEYS = ("latents", "sigmas")


def read_latents(path: str, score: TrainedScore) -> Tensor:
    """The latents in an npz, float32 (N, C, H, W), of which no more is read than the file is long.

    Args:
        path: of a file with the arrays `latents`, float32 (N, C, H, W), and `sigmas`, the levels (L,) between whose
            ends the flow ran.
        score: the network that is to decode them.

    Raises:
        DataError: it is no such file, or of another size or other levels than the network's.
    """
    file, key = Path(path).expanduser(), f"task.latents={path}"
    if not file.is_file():
        raise DataError(f"{key}: no such file; task=encode writes latents.npz")
    try:
        with zipfile.ZipFile(file) as archive:
            length = sum(member.file_size for member in archive.infolist())
        if length > file.stat().st_size:
            raise DataError(f"{key}: compressed, and so of any size once it is read; save it with np.savez")
        with np.load(file, allow_pickle=False) as arrays:
            names = list(arrays)
            found = {name: arrays[name] for name in KEYS if name in names}
    except DataError:
        raise
    except Exception as error:  # archives and headers that are damaged fail in many ways
        raise DataError(f"{key}: expected an npz of task=encode, but it cannot be read ({shown(error)})") from error
    if len(found) < len(KEYS):
        raise DataError(f"{key}: expected the arrays {' and '.join(KEYS)}, found {shown(', '.join(names))}")
    latents, sigmas = (found[name] for name in KEYS)
    size = "×".join(map(str, score.image_shape))
    if latents.dtype != np.float32 or latents.shape[1:] != score.image_shape or not latents.size:
        raise DataError(f"{key}: expected float32 (N, {size}), found {latents.dtype} {latents.shape}")
    own = score.sigmas.cpu().float().numpy()
    if sigmas.dtype != np.float32 or not np.array_equal(sigmas, own):
        levels = f"{_ladder(sigmas)}, not {_ladder(own)}"
        raise DataError(f"{key}: encoded between other noise levels than the network's ({levels})")
    finite = np.isfinite(latents).all(axis=(1, 2, 3))
    if not finite.all():
        raise DataError(f"{key}: latent {int(finite.argmin())} is not finite")
    return torch.from_numpy(np.ascontiguousarray(latents))


def _ladder(sigmas: np.ndarray) -> str:
    if sigmas.ndim != 1 or len(sigmas) == 0 or sigmas.dtype != np.float32:
        return f"{sigmas.dtype} {sigmas.shape}"
    return f"{len(sigmas)} from {sigmas[0]:.6g} to {sigmas[-1]:.6g}"
