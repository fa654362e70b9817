"""The Hugging Face Hub: `hf://user/repo`, or `hf://user/repo/file`."""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from ncsn.checkpoint.diffusers import companions, is_weights, weights_among
from ncsn.errors import DataError, UserError

SCHEME = "hf://"
FILE = "model.safetensors"  # what `push` writes
SUFFIXES = (".safetensors", ".ckpt", ".pth")

CARD = """---
library_name: ncsn
tags: [ncsn, score-based-generative-model, unconditional-image-generation]
---

A noise conditional score network (Song & Ermon 2019).

    score = ncsn.load_score("{address}")     # score(x, sigma)
    python sample.py ckpt={address}
"""


def is_address(path: str | Path) -> bool:
    """Whether a path means a file on the hub."""
    return str(path).startswith(SCHEME)


def split(address: str) -> tuple[str, str | None]:
    """The repository, user/repo, and the file in it, if one is named.

    Raises:
        DataError: it is no such address.
    """
    user, _, rest = address.removeprefix(SCHEME).partition("/")
    repo, _, file = rest.partition("/")
    if not user or not repo:
        raise DataError(f"{address}: no address on the hub; must be hf://user/repo or hf://user/repo/file")
    return f"{user}/{repo}", file or None


def download(address: str) -> Path:
    """The file in the hub's cache on this machine, downloaded if it is not there.

    Without a file named it is the one that `push` wrote, else that of diffusers, else the only checkpoint there. With
    weights of diffusers come their configurations.

    Raises:
        DataError: there is none, or the hub cannot be reached.
    """
    hub = _library()
    repo, file = split(address)
    with _as_data_error(address, hub):
        if file is not None and is_weights(Path(file)):
            return _with_companions(hub, repo, file)
        try:
            return Path(hub.hf_hub_download(repo, file or FILE))
        except hub.errors.RemoteEntryNotFoundError:
            if file is not None:
                raise
        files = hub.HfApi().list_repo_files(repo)
        if (weights := weights_among(files)) is not None:
            return _with_companions(hub, repo, weights)
        found = [name for name in files if name.endswith(SUFFIXES)]
        if len(found) != 1:
            these = ", ".join(found) or f"no file that ends in {', '.join(SUFFIXES)}"
            raise DataError(f"{address}: name the file, {address.rstrip('/')}/<file> (it has {these})")
        return Path(hub.hf_hub_download(repo, found[0]))


def upload(file: Path, repo: str, private: bool = False) -> str:
    """Uploads a file as the repository's `model.safetensors`, with a card if it has none; returns its address.

    Args:
        file: the local file.
        repo: user/repo; made if it is not there.
        private: make it a private one.

    Raises:
        DataError: the hub cannot be reached, or refuses it.
    """
    hub = _library()
    address = SCHEME + split(repo)[0]
    repo = address.removeprefix(SCHEME)
    with _as_data_error(address, hub), tempfile.TemporaryDirectory() as folder:
        api = hub.HfApi()
        api.create_repo(repo, private=private or None, exist_ok=True)
        additions = [hub.CommitOperationAdd(FILE, str(file))]
        if not api.file_exists(repo, "README.md"):
            card = Path(folder, "README.md")
            card.write_text(CARD.format(address=address))
            additions.append(hub.CommitOperationAdd("README.md", str(card)))
        api.create_commit(repo, additions, commit_message=f"Upload {FILE}")
    return address


def outside_cache(path: Path) -> Path:
    """Where what is made of a checkpoint goes: beside it, but of one in the hub's cache below runs/hub/user/repo/."""
    parts = path.absolute().parts
    for i in range(1, len(parts) - 2):
        if parts[i] == "snapshots" and parts[i - 1].startswith("models--"):
            return Path("runs", "hub", *parts[i - 1].split("--", 2)[1:], *parts[i + 2 :])
    return path


def _with_companions(hub: ModuleType, repo: str, weights: str) -> Path:
    """The file of diffusers' weights, its configurations beside it, all of one commit."""
    folder = Path(hub.snapshot_download(repo, allow_patterns=companions(weights)))
    if not (folder / weights).is_file():
        raise DataError(f"{SCHEME}{repo}/{weights}: no such file in this repository")
    return folder / weights


def _library() -> ModuleType:
    try:
        import huggingface_hub.errors
    except ImportError as error:
        raise UserError('the Hugging Face Hub needs huggingface_hub: pip install ".[hub]"') from error
    logging.getLogger("httpx").setLevel(logging.WARNING)  # or every request is a line
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    return huggingface_hub


@contextmanager
def _as_data_error(address: str, hub: ModuleType) -> Iterator[None]:
    """What the hub's client raises, in one line."""
    try:
        yield
    except UserError:
        raise
    except hub.errors.RepositoryNotFoundError as error:
        raise DataError(f"{address}: no such repository on the hub, or a private one (hf auth login)") from error
    except hub.errors.RemoteEntryNotFoundError as error:
        raise DataError(f"{address}: no such file in this repository") from error
    except Exception as error:  # its own, those of HTTP clients, and what the system says
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{address}: not to be had from the Hugging Face Hub ({reason})") from error
