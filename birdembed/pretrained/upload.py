"""Upload model folders to the Hugging Face Hub. Extra: ``hub``."""

from __future__ import annotations

import os
import re

from birdembed.base.optional import need
from birdembed.base.text import shown

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
    """
    library = need("huggingface_hub", "hub", "push_to_hub")
    api = library.HfApi(token=token)
    name = api.create_repo(repository, private=private, exist_ok=True).repo_id
    done = api.upload_folder(repo_id=name, folder_path=folder, commit_message=message)
    return str(done.commit_url)
