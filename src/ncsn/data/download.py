"""Downloads that are complete and the right file, or did not happen."""

from collections.abc import Sequence
from pathlib import Path

from ncsn.errors import DataError
from ncsn.files import one_process_at_a_time


def fetch(urls: Sequence[str], destination: Path, known_hash: str, way_out: str) -> None:
    """Download a file from the first of `urls` that has it, unless another process has done so meanwhile.

    Args:
        destination: where the file goes; it appears there when it is complete and has been checked.
        known_hash: "md5:…" or "sha256:…", in hexadecimal.
        way_out: what the user can do if the download fails, for the error.

    Raises:
        DataError: no address gave the file with this hash, or it cannot be stored; `destination` is untouched.
    """
    import pooch

    pooch.get_logger().propagate = False  # it prints what it does itself, and Hydra's log would again
    failures = []
    with one_process_at_a_time(destination):
        if destination.is_file():
            return
        for url in urls:
            try:
                pooch.retrieve(url, known_hash, destination.name, destination.parent, progressbar=True)
            except OSError as error:  # of the network (requests' are of this kind), or of the disk
                failures.append(f"{url}: {' '.join(str(error).split())}")
            except ValueError:
                algorithm, _, value = known_hash.partition(":")
                failures.append(f"{url}: gave another file ({algorithm.upper()} is not {value})")
            else:
                return
    raise DataError(f"{destination}: missing, and could not be downloaded ({'; '.join(failures)}); {way_out}")
