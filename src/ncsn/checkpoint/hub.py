"""The Hugging Face Hub: `hf://user/repo`, or `hf://user/repo/file`."""

import logging
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from ncsn.checkpoint.diffusers import companions, is_weights, weights_among
from ncsn.errors import DataError, UserError

log = logging.getLogger(__name__)

SCHEME = "hf://"
FILE = "model.safetensors"  # what `push` writes
CARD = "README.md"
_SEAL = "<!-- Written by ncsn, {}; once it is edited, a push leaves it as it is. -->\n"
SUFFIXES = (".safetensors", ".ckpt", ".pth")


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


def download(address: str, **options: Any) -> Path:
    """The file in the hub's cache on this machine, downloaded if it is not there.

    Without a file named it is the one that `push` wrote, else that of diffusers, else the only checkpoint there. With
    weights of diffusers come their configurations.

    Args:
        address: hf://user/repo, or hf://user/repo/file.
        **options: of `huggingface_hub.hf_hub_download`, revision and token for example.

    Raises:
        DataError: there is none, or the hub cannot be reached.
    """
    hub = client()
    repo, file = split(address)
    with _as_data_error(address, hub):
        if file is not None and is_weights(Path(file)):
            return _with_companions(hub, repo, file, options)
        try:
            return Path(hub.hf_hub_download(repo, file or FILE, **options))
        except hub.errors.RemoteEntryNotFoundError:
            if file is not None:
                raise
        files = hub.HfApi(token=options.get("token")).list_repo_files(repo, revision=options.get("revision"))
        if (weights := weights_among(files)) is not None:
            return _with_companions(hub, repo, weights, options)
        found = [name for name in files if name.endswith(SUFFIXES)]
        if len(found) != 1:
            these = ", ".join(found) or f"no file that ends in {', '.join(SUFFIXES)}"
            raise DataError(f"{address}: name the file, {address.rstrip('/')}/<file> (it has {these})")
        return Path(hub.hf_hub_download(repo, found[0], **options))


def create(repo: str, private: bool | None = None, token: Any = None) -> str:
    """Makes a repository, if it is not there; returns its full name, user/repo.

    Args:
        repo: user/repo, its address, or the name of one of the user's own.
        private: make it a private one; None for what is usual there.
        token: instead of the one of `hf auth login`.

    Raises:
        DataError: the hub cannot be reached, or refuses it.
    """
    hub = client()
    repo = repo.removeprefix(SCHEME).strip("/")
    with _as_data_error(SCHEME + repo, hub):
        return str(hub.HfApi(token=token).create_repo(repo, private=private, exist_ok=True).repo_id)


def upload(folder: Path, repo: str, *, token: Any = None, **options: Any) -> str:
    """Uploads a folder; returns the address of the commit on the web.

    A card that is there and was edited stays as it is.

    Args:
        folder: model.safetensors, README.md and what belongs to it.
        repo: user/repo, which is there.
        token: instead of the one of `hf auth login`.
        **options: of `huggingface_hub.upload_folder`.

    Raises:
        DataError: the hub cannot be reached, or refuses it.
    """
    hub = client()
    with _as_data_error(SCHEME + repo, hub):
        api = hub.HfApi(token=token)
        left_out = options.pop("ignore_patterns", None) or []
        left_out = [left_out] if isinstance(left_out, str) else list(left_out)
        if api.file_exists(repo, CARD):
            there = Path(hub.hf_hub_download(repo, CARD, token=token))
            if not is_untouched(there.read_text("utf-8", "replace")):
                log.warning(
                    f"{SCHEME}{repo}: its card was edited, and stays; it may say what was so of another network"
                )
                left_out.append(CARD)
        return str(
            api.upload_folder(repo_id=repo, folder_path=folder, ignore_patterns=left_out, **options).commit_url
        )


def sealed(card: str) -> str:
    """The text of a card, with a last line by which it is known again."""
    return card + _SEAL.format(f"{zlib.crc32(card.encode()):08x}")


def is_untouched(card: str) -> bool:
    """Whether a card is as it was sealed."""
    return card == sealed(card[: max(card.rfind("<!--"), 0)])


def outside_cache(path: Path) -> Path:
    """Where what is made of a checkpoint goes: beside it, but of one in the hub's cache below runs/hub/user/repo/."""
    parts = path.absolute().parts
    for i in range(1, len(parts) - 2):
        if parts[i] == "snapshots" and parts[i - 1].startswith("models--"):
            return Path("runs", "hub", *parts[i - 1].split("--", 2)[1:], *parts[i + 2 :])
    return path


def _with_companions(hub: ModuleType, repo: str, weights: str, options: Mapping[str, Any]) -> Path:
    """The file of diffusers' weights, its configurations beside it, all of one commit."""
    folder = Path(hub.snapshot_download(repo, allow_patterns=companions(weights), **options))
    if not (folder / weights).is_file():
        raise DataError(f"{SCHEME}{repo}/{weights}: no such file in this repository")
    return folder / weights


def client() -> ModuleType:
    """The hub's client.

    Raises:
        UserError: it is not installed.
    """
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
