"""Write a file as the package does, and list what a writer may leave."""

import os

from birdembed.base.files import replacing


def write(path, text="new"):
    with replacing(path) as temporary:
        temporary.write_text(text)


def hidden(folder):
    return sorted(name for name in os.listdir(folder) if name.startswith("."))
