"""A web page and a JSON API that identify species and find similar photos.

`birdembed serve` runs it. Use `create_app` to include it in your own application. Needs the extra
``serve``.
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
