"""Upload model folders to the Hugging Face Hub. Extra: ``hub``."""

from __future__ import annotations

import os
import re

from birdembed._core import BirdembedError
from birdembed.base.optional import need
from birdembed.base.text import shown
from birdembed.pretrained.hub import reason_of

#: As on the hub: parts of letters, digits, and -, _ or . in between.
_REPOSITORY = re.compile(r"(\w[\w.-]*/)?\w[\w.-]*", re.ASCII)


def check_repository(name: str) -> None:
    """Raise a ValueError unless this is "owner/name" or "name"; it also becomes a folder's name."""
    if not isinstance(name, str) or len(name) > 96 or not _REPOSITORY.fullmatch(name):
        raise ValueError(f"repo_id must be 'owner/name' or 'name', got {shown(name)}")


def upload_folder(
    folder: str | os.PathLike[str],
    repository: str,
    *,
    private: bool,
    token: str | None,
    message: str,
) -> str:
    """Upload a folder as one commit and return the URL of the commit.

    The repository is created if it does not exist; see `Model.push_to_hub`.

    Raises
    ------
    BirdembedError
        The hub cannot be reached, or it refuses the upload.
    """
    library = need("huggingface_hub", "hub", "push_to_hub")
    try:
        api = library.HfApi(token=token)
        name = api.create_repo(repository, private=private, exist_ok=True).repo_id
        done = api.upload_folder(repo_id=name, folder_path=folder, commit_message=message)
    except Exception as error:
        # Transport errors come from the HTTP library, which differs between versions.
        raise BirdembedError(
            f"{repository}: could not upload the model to the hub: {reason_of(error)}. Check the "
            "network and the token (`hf auth login`); or call save_pretrained('FOLDER') and later "
            f"`hf upload {repository} FOLDER`"
        ) from error
    return str(done.commit_url)
