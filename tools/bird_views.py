"""Write augmented views of the training photos, with the embeddings of both teachers for each.

    python tools/bird_views.py PHOTOS WORK FILE.tflite [--others FOLDER]

    pip install opencv-python-headless, and what teacher_embeddings.py needs for the teachers

PHOTOS is the folder described in `bird_photographs.py`. A view is a crop of a photo, or the bird
cut out and put in front of another background: white, plain, or a part of another photo. The
teachers see this view unchanged. The file in WORK/views is the same view rotated, with other
brightness, blurred or compressed. So a model that is trained on these files learns what the
teachers see in the view, and learns to ignore these changes (Beyer et al. 2022, "Knowledge
distillation: A good teacher is patient and consistent").

FOLDER contains images without birds. Their views, and parts of the photos beside the bird, are
written to WORK/views/no-bird. WORK/views/blend contains blends: crops with other colours, or two
crops on top of each other. They show birds that do not exist, so they have no label, but the
teachers see in them what they would see in many other species. Files of an earlier run are kept.
The script does not need birdembed.
"""

import argparse
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from bird_photographs import Photograph, Photographs
from teacher_embeddings import network_of
from tqdm import tqdm

Array = np.ndarray
#: Sides in pixels: of the files, which have the input size of the model, and of the images for the
#: teachers.
SIDE, TEACHERS_SIDE = 192, 224
#: Views per photo. A species with four photos gets 72, one with a hundred gets 400.
MANY_PHOTOS, FEW_PHOTOS, NO_BIRD = 4, 18, 8
CUT_OUTS = 0.2
#: Blends per photo of a species with a hundred photos, and with four.
MANY_BLENDS, FEW_BLENDS = 2, 12
#: Photos per file of embeddings.
PART = 100
#: The networks of this process, by name: images (n, side, side, 3) -> vectors (n, dim).
TEACHERS: dict[str, Callable[[Array], Array]] = {}


def main() -> None:
    """Write the views, and the embeddings of each teacher."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos")
    parser.add_argument("work", type=Path)
    parser.add_argument("tflite")
    parser.add_argument("--others", type=Path, metavar="FOLDER")
    given = parser.parse_args()
    known = Photographs(given.photos).known()
    folder = given.work / "views"
    jobs = [Job(photo, folder, known) for photo in known]
    if given.others:
        files = sorted(path for path in given.others.rglob("*") if path.is_file())
        photos = [Photograph(path, "no-bird", f"others/{i}") for i, path in enumerate(files)]
        jobs += [Job(photo, folder, []) for photo in photos]
    blends = [Blend(photo, folder, known) for photo in known]
    again = [Job(photo, folder, known, seed=1) for photo in known]
    parts = {"part": jobs, "blends": blends, "again": again}
    todo = [
        (folder / f"{name}-{first // PART:03d}.npz", part[first : first + PART])
        for name, part in parts.items()
        for first in range(0, len(part), PART)
    ]
    start = partial(load_teachers, given.tflite)
    with ProcessPoolExecutor(2, get_context("spawn"), start) as pool:
        for _ in tqdm(pool.map(write_part, *zip(*todo, strict=True)), total=len(todo), unit="part"):
            pass


def load_teachers(tflite: str) -> None:
    """Load both teachers in this process."""
    cv2.setNumThreads(1)
    TEACHERS["aiy"] = network_of(tflite, None, threads=1)[0]
    TEACHERS["lite0"] = network_of("efficientnet-lite0", None, threads=1)[0]


class Job:
    """Makes the views of one photo; another seed gives other views."""

    def __init__(
        self, photo: Photograph, folder: Path, others: list[Photograph], seed: int = 0
    ) -> None:
        self.photo, self.folder, self.others = photo, folder, others
        self.name = photo.key.replace("/", "-") + (f"-seed{seed}" if seed else "")
        self.rng = np.random.default_rng((zlib.crc32(photo.key.encode()), seed))

    def __call__(self) -> tuple[list[str], list[Array]]:
        """Write the views; return their paths below `folder` and the images for the teachers."""
        image = read(self.photo.path)
        if image is None:
            return [], []
        names, seen = [], []
        for number, (species, view) in enumerate(self.views(image)):
            name = f"{species}/{self.name}-{number}.jpg"
            file = self.folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            quality = int(self.rng.integers(40, 96))
            small = disturbed(
                cv2.resize(view, (SIDE, SIDE), interpolation=cv2.INTER_AREA), self.rng
            )
            cv2.imwrite(str(file), small, [cv2.IMWRITE_JPEG_QUALITY, quality])
            names.append(name)
            seen.append(view[:, :, ::-1])
        return names, seen

    def views(self, image: Array) -> Iterator[tuple[str, Array]]:
        """Yield the name of the folder and the image for the teachers of each view."""
        photo, rng = self.photo, self.rng
        if not self.others:
            yield from ((photo.species, cropped(image, rng)) for _ in range(NO_BIRD))
            return
        bird = cut_out(image)
        for _ in range(MANY_PHOTOS if photo.key.startswith("train/") else FEW_PHOTOS):
            if bird is not None and rng.random() < CUT_OUTS:
                yield photo.species, self.elsewhere(image, bird)
            else:
                yield photo.species, cropped(image, rng)
        beside = None if bird is None else without_bird(image, bird, rng)
        if beside is not None:
            yield "no-bird", beside

    def elsewhere(self, image: Array, bird: Array) -> Array:
        """Return the bird, smaller or larger, in front of another background."""
        rng = self.rng
        kind = rng.random()
        if kind < 0.35:
            back = np.full((TEACHERS_SIDE, TEACHERS_SIDE, 3), 255, np.uint8)
        elif kind < 0.6:
            back = gradient(rng)
        else:
            other = read(self.others[rng.integers(len(self.others))].path)
            blur = cv2.GaussianBlur(other, (0, 0), float(rng.uniform(4, 12)))
            back = cropped(blur, rng)
        return pasted(image, bird, back, rng)


class Blend(Job):
    """Makes the blends of one photo."""

    def views(self, image: Array) -> Iterator[tuple[str, Array]]:
        """Yield the name of the folder and the image for the teachers of each blend."""
        rng = self.rng
        many = self.photo.key.startswith("train/")
        for _ in range(MANY_BLENDS if many else FEW_BLENDS):
            view, kind = cropped(image, rng), rng.random()
            if kind < 0.65:
                view = recoloured(view, rng)
            if kind > 0.5:
                other = cropped(read(self.others[rng.integers(len(self.others))].path), rng)
                share = rng.uniform(0.3, 0.7)
                view = cv2.addWeighted(view, share, other, 1 - share, 0)
            yield "blend", view


def write_part(file: Path, jobs: list[Job]) -> None:
    """Write the views of some photos, and the embeddings of the teachers in one file."""
    if file.exists():
        return
    names: list[str] = []
    rows: dict[str, list[Array]] = {name: [] for name in TEACHERS}
    for job in jobs:
        found, seen = job()
        names += found
        for name, network in TEACHERS.items():
            rows[name] += [network(np.stack(seen)).astype(np.float16)] if seen else []
    file.parent.mkdir(parents=True, exist_ok=True)
    half = file.with_suffix(".half.npz")
    np.savez(half, paths=names, **{name: np.concatenate(part) for name, part in rows.items()})
    half.rename(file)


@lru_cache(maxsize=64)
def read(path: Path) -> Array | None:
    """Return an image as BGR, 224 pixels on its shorter side, or None."""
    image = cv2.imread(str(path))
    if image is None or min(image.shape[:2]) < 32:
        return None
    scale = TEACHERS_SIDE / min(image.shape[:2])
    return (
        image
        if scale == 1
        else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    )


def cropped(image: Array, rng: np.random.Generator) -> Array:
    """Return a part of the image: 30 to 100 % of its area, a little stretched."""
    height, width = image.shape[:2]
    area, aspect = rng.uniform(0.3, 1) * height * width, np.exp(rng.uniform(-0.29, 0.29))
    rows = min(height, round(np.sqrt(area / aspect)))
    columns = min(width, round(np.sqrt(area * aspect)))
    top, left = rng.integers(height - rows + 1), rng.integers(width - columns + 1)
    part = image[top : top + rows, left : left + columns]
    return cv2.resize(part, (TEACHERS_SIDE, TEACHERS_SIDE), interpolation=cv2.INTER_CUBIC)


def recoloured(view: Array, rng: np.random.Generator) -> Array:
    """Return the view with every hue changed by the same angle, and more or less colour."""
    hue, saturation, value = cv2.split(cv2.cvtColor(view, cv2.COLOR_BGR2HSV))
    hue = ((hue.astype(np.int32) + int(rng.integers(15, 166))) % 180).astype(np.uint8)
    saturation = (saturation * rng.uniform(0.5, 1.5)).clip(0, 255).astype(np.uint8)
    return cv2.cvtColor(cv2.merge((hue, saturation, value)), cv2.COLOR_HSV2BGR)


def cut_out(image: Array) -> Array | None:
    """Return how much of each pixel is bird, 0 to 1, or None if the bird cannot be cut out.

    Uses GrabCut with a frame around the middle, which is right for most photos. If it mistakes a
    branch for the bird, the teachers' embeddings still describe what is left of the bird.
    """
    side = TEACHERS_SIDE
    if image.shape[:2] != (side, side):
        return None
    half = cv2.resize(image, (side // 2, side // 2), interpolation=cv2.INTER_AREA)
    mask = np.zeros(half.shape[:2], np.uint8)
    edge = 5
    frame = (edge, edge, side // 2 - 2 * edge, side // 2 - 2 * edge)
    try:
        cv2.grabCut(
            half, mask, frame, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_RECT
        )
    except cv2.error:
        return None
    bird = ((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(bird)
    if count < 2:
        return None
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    if not 0.06 < stats[largest, cv2.CC_STAT_AREA] / bird.size < 0.6:
        return None
    alone = cv2.resize(
        (labels == largest).astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR
    )
    return cv2.GaussianBlur(alone, (0, 0), 1.2)


def pasted(image: Array, bird: Array, back: Array, rng: np.random.Generator) -> Array:
    """Return the background with the bird on it; the bird takes 35 to 100 % of the side."""
    rows, columns = np.nonzero(bird > 0.5)
    box = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    scale = rng.uniform(0.35, 1.0) * TEACHERS_SIDE / max(bird[box].shape)
    new = [max(8, min(TEACHERS_SIDE, round(edge * scale))) for edge in bird[box].shape[::-1]]
    seen, share = (
        cv2.resize(part[box], new, interpolation=cv2.INTER_AREA) for part in (image, bird)
    )
    left, top = (int(rng.integers(TEACHERS_SIDE - edge + 1)) for edge in new)
    place = np.s_[top : top + new[1], left : left + new[0]]
    out = back.astype(np.float32)
    out[place] += (seen - out[place]) * share[:, :, None]
    return out.clip(0, 255).astype(np.uint8)


def without_bird(image: Array, bird: Array, rng: np.random.Generator) -> Array | None:
    """Return a part of the photo beside the bird, enlarged, or None if there is none."""
    edge = int(rng.integers(70, 110))
    for _ in range(12):
        top, left = rng.integers(TEACHERS_SIDE - edge + 1, size=2)
        place = np.s_[top : top + edge, left : left + edge]
        if bird[place].mean() < 0.01:
            return cv2.resize(
                image[place], (TEACHERS_SIDE, TEACHERS_SIDE), interpolation=cv2.INTER_CUBIC
            )
    return None


def gradient(rng: np.random.Generator) -> Array:
    """Return a plain background: one colour, or a gradient between two."""
    ends = rng.integers(0, 256, (2, 1, 3)).astype(np.float32)
    if rng.random() < 0.5:
        ends[1] = ends[0]
    down = np.linspace(0, 1, TEACHERS_SIDE, dtype=np.float32)[:, None, None]
    return (ends[:1] * (1 - down) + ends[1:] * down).repeat(TEACHERS_SIDE, 1).astype(np.uint8)


def disturbed(view: Array, rng: np.random.Generator) -> Array:
    """Return the view with random changes: mirror, rotation, brightness, blur, resolution."""
    if rng.random() < 0.5:
        view = np.ascontiguousarray(view[:, ::-1])
    side = rng.integers(8)
    degrees = rng.uniform(-20, 20) + {0: 90, 1: -90}.get(int(side), 0)
    if side < 5:
        turn = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), degrees, 1)
        view = cv2.warpAffine(view, turn, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT_101)
    light, contrast, colour = rng.uniform(0.6, 1.4), rng.uniform(0.7, 1.3), rng.uniform(0.6, 1.4)
    pixels = view.astype(np.float32) * light
    pixels = (pixels - pixels.mean()) * contrast + pixels.mean()
    grey = pixels.mean(axis=2, keepdims=True)
    view = (grey + (pixels - grey) * colour).clip(0, 255).astype(np.uint8)
    if rng.random() < 0.1:
        view = cv2.GaussianBlur(view, (0, 0), float(rng.uniform(0.5, 2)))
    if rng.random() < 0.15:
        fewer = int(rng.integers(64, 128))
        small = cv2.resize(view, (fewer, fewer), interpolation=cv2.INTER_AREA)
        view = cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    return view


if __name__ == "__main__":
    main()
