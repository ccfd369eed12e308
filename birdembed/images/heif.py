"""HEIC and AVIF: what Pillow needs to read them."""

from __future__ import annotations

HEAD = 128  # bytes that tell the format
_AVIF = frozenset((b"avif", b"avis"))
# Codings by HEVC, and the family's own names, which files of both formats bear.
_HEIC = frozenset(b"heic heix heim heis hevc hevx hevm hevs mif1 mif2 msf1".split())


def format_of(head: bytes) -> str | None:
    """Return "HEIC" or "AVIF", or None for anything else, by a file's first bytes."""
    if head[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[at : at + 4] for at in (8, *range(16, end, 4))}
    if brands & _AVIF:
        return "AVIF"
    return "HEIC" if brands & _HEIC else None


def register() -> bool:
    """Have Pillow read HEIC, by pillow-heif; return whether that is installed."""
    try:
        import pillow_heif
        from PIL import Image
    except ImportError:
        return False
    if "HEIF" not in Image.OPEN:  # else the user has registered it, with options of his own
        pillow_heif.register_heif_opener()
    return True


def lacking(source: str | bytes) -> str:
    """Return what is not installed and is needed to read a file, in words, or an empty text."""
    try:
        head = source[:HEAD] if isinstance(source, bytes) else _head(source)
    except OSError:
        return ""
    kind = format_of(head)
    if kind == "HEIC" and not register():
        return "HEIC needs pillow-heif: pip install 'birdembed[heic]'"
    if kind == "AVIF" and not _reads_avif():
        return "AVIF needs Pillow 11.3 or later: pip install -U 'birdembed[pillow]' pillow"
    return ""


def _head(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(HEAD)


def _reads_avif() -> bool:
    try:
        from PIL import Image, features
    except ImportError:
        return False
    if "avif" in features.get_supported():
        return True
    Image.init()
    # A plugin of its own; Pillow's is there even where it was built without the codec.
    return "AVIF" in Image.OPEN and Image.OPEN["AVIF"][0].__module__ != "PIL.AvifImagePlugin"
