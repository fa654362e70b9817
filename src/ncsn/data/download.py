"""Downloads that are complete and the right file, or did not happen."""

import shutil
import uuid
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

from torchvision.datasets.utils import check_integrity
from tqdm import tqdm

from ncsn.errors import DataError

_TIMEOUT = 30  # seconds without a byte


def fetch(urls: Sequence[str], destination: Path, md5: str) -> None:
    """Get a file from the first of `urls` that has it.

    Raises:
        DataError: no address gave the file with this MD5, or it cannot be stored; `destination` is untouched.
    """
    part = destination.with_name(f"{destination.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
    except OSError as error:
        raise DataError(
            f"{destination}: missing, and cannot be downloaded to this folder ({error.strerror}); "
            f"put {urls[0]} there, or set data.root to a folder that can be written"
        ) from error
    failures = []
    try:
        for url in urls:
            try:
                _copy(url, part)
            except (OSError, HTTPException) as error:
                failures.append(f"{url}: {error}")
                continue
            if check_integrity(part, md5):
                part.replace(destination)
                return
            failures.append(f"{url}: gave another file (MD5 is not {md5})")
    finally:
        part.unlink(missing_ok=True)
    raise DataError(
        f"{destination}: missing, and could not be downloaded ({'; '.join(failures)}); "
        f"get {urls[0]} by other means and put it there"
    )


def _copy(url: str, path: Path) -> None:
    with (
        urlopen(url, timeout=_TIMEOUT) as response,
        tqdm.wrapattr(response, "read", total=response.length, desc=path.name.split(".")[0]) as reader,
        path.open("wb") as file,
    ):
        shutil.copyfileobj(reader, file)
