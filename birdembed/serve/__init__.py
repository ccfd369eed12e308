"""A web page and a JSON service that name species and find the nearest photos.

`birdembed serve` runs it; `create_app` makes the same thing for an application of your own. Needs
the extra ``serve``.
"""

from __future__ import annotations

try:
    import fastapi  # noqa: F401
    import python_multipart  # noqa: F401
    import uvicorn  # noqa: F401
    from PIL import Image  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"serving needs {error.name}, which is not installed: pip install 'birdembed[serve]'",
        name=error.name,
    ) from error

from birdembed.serve.app import create_app

__all__ = ["create_app"]
