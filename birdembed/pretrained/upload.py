"""Upload model folders to the Hugging Face hub. Extra: ``hub``."""

from __future__ import annotations

import os

from birdembed.base.optional import need


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
