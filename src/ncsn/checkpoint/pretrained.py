"""Networks to and from the Hugging Face Hub, by the names that its users know."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ncsn.checkpoint import builtin, hub
from ncsn.errors import DataError
from ncsn.files import write_text

if TYPE_CHECKING:
    from ncsn.checkpoint.score import TrainedScore


class Pretrained:
    """What `ModelHubMixin` of huggingface_hub gives a class, without that extra as its base, for `TrainedScore`."""

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        **load: Any,
    ) -> "TrainedScore":
        """A network from the Hugging Face Hub, or from this machine.

        Args:
            pretrained_model_name_or_path: user/repo, or user/repo/file; or anything that `load_score` reads.
            revision: a branch, tag or commit of the repository.
            token: for a private one, instead of that of `hf auth login`.
            cache_dir: where downloads are kept.
            force_download: download it also if it is there.
            local_files_only: never download.
            **load: of `load_score`.

        Raises:
            DataError: as `load_score`, or the Hub cannot be reached.
        """
        from ncsn.checkpoint.score import load_score

        place = str(pretrained_model_name_or_path)
        if builtin.is_address(place) or os.path.exists(os.path.expanduser(place)):
            return load_score(place, **load)
        address = place if hub.is_address(place) else hub.SCHEME + place
        options = {"revision": revision, "token": token, "cache_dir": cache_dir}
        options |= {"force_download": force_download, "local_files_only": local_files_only}
        return load_score(hub.download(address, **options), **load)

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        repo_id: str | None = None,
        push_to_hub: bool = False,
        model_card_kwargs: dict[str, Any] | None = None,
        **push: Any,
    ) -> str | None:
        """Writes model.safetensors, and a model card unless there is one, into a folder that is made if need be.

        Args:
            save_directory: the folder.
            repo_id: user/repo, for the card and to push to; by default the name of the folder.
            push_to_hub: upload it as well.
            model_card_kwargs: `license`, the Hub's identifier of one; and `checkpoint`, the run's folder or the file
                that this network is from, whose scores and samples are shown.
            **push: of `push_to_hub`.

        Returns:
            What `push_to_hub` returns.

        Raises:
            UserError: huggingface_hub is missing, the folder cannot be written, or a card's record is damaged.
        """
        from ncsn.checkpoint.card import PICTURE, model_card
        from ncsn.checkpoint.score import save_score

        hub.client()
        score, folder = cast("TrainedScore", self), Path(save_directory)
        repo_id = repo_id or folder.absolute().name
        card = folder / hub.CARD
        text, picture = ("", None) if card.exists() else model_card(score, repo_id, **(model_card_kwargs or {}))
        save_score(score, folder / hub.FILE)
        try:
            if text:
                write_text(card, text)
            if picture:
                shutil.copyfile(picture, folder / PICTURE)
        except OSError as error:
            raise DataError(f"{folder}: cannot be written ({error.strerror or error})") from error
        return self.push_to_hub(repo_id, model_card_kwargs=model_card_kwargs, **push) if push_to_hub else None

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str = "Upload a score network",
        private: bool | None = None,
        token: str | None = None,
        branch: str | None = None,
        create_pr: bool | None = None,
        allow_patterns: list[str] | str | None = None,
        ignore_patterns: list[str] | str | None = None,
        delete_patterns: list[str] | str | None = None,
        model_card_kwargs: dict[str, Any] | None = None,
    ) -> str:
        """Uploads what `save_pretrained` writes; a card that was edited there stays as it is.

        Args:
            repo_id: user/repo, or one of yours without the user; made if it is not there.
            commit_message: of the upload.
            private: make it visible to you alone; None for what is usual there.
            token: instead of that of `hf auth login`.
            branch, create_pr, allow_patterns, ignore_patterns, delete_patterns: of `huggingface_hub.upload_folder`.
            model_card_kwargs: as for `save_pretrained`.

        Returns:
            The commit's address on the web.

        Raises:
            UserError: as `save_pretrained`, or the Hub cannot be reached or refuses it.
        """
        repo_id = hub.create(repo_id, private, token)
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, repo_id=repo_id, model_card_kwargs=model_card_kwargs)
            return hub.upload(
                Path(folder),
                repo_id,
                token=token,
                commit_message=commit_message,
                revision=branch,
                create_pr=create_pr,
                allow_patterns=allow_patterns,
                ignore_patterns=ignore_patterns,
                delete_patterns=delete_patterns,
            )
