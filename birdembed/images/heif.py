"""Check what Pillow needs to read HEIC and AVIF."""

from __future__ import annotations

from birdembed.base.files import regular

HEAD = 128  # bytes needed to detect the format
_AVIF = frozenset((b"avif", b"avis"))
# Brands of HEVC-coded images, and generic brands used by both formats.
_HEIC = frozenset(b"heic heix heim heis hevc hevx hevm hevs mif1 mif2 msf1".split())


def format_of(head: bytes) -> str | None:
    """Return "HEIC", "AVIF" or None, from the first bytes of a file."""
    if head[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[at : at + 4] for at in (8, *range(16, end, 4))}
    if brands & _AVIF:
        return "AVIF"
    return "HEIC" if brands & _HEIC else None


def register() -> bool:
    """Register pillow-heif, so that Pillow can read HEIC; return whether it is installed."""
    try:
        import pillow_heif
        from PIL import Image
    except ImportError:
        return False
    if "HEIF" not in Image.OPEN:  # else the user has registered it, maybe with other options
        pillow_heif.register_heif_opener()
    return True


def lacking(source: str | bytes) -> str:
    """Return a message about the missing package needed to read a file, or ""."""
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
    with open(path, "rb", opener=regular) as file:
        return file.read(HEAD)


def _reads_avif() -> bool:
    try:
        from PIL import Image, features
    except ImportError:
        return False
    if "avif" in features.get_supported():
        return True
    Image.init()
    # Either the separate plugin, or Pillow itself, whose plugin exists even without the codec.
    return "AVIF" in Image.OPEN and Image.OPEN["AVIF"][0].__module__ != "PIL.AvifImagePlugin"
