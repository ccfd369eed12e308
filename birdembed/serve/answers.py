"""Responses of the service, which FastAPI converts to JSON and describes in /openapi.json."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Result:
    """A species, or a photo of the index, with its cosine similarity."""

    id: str
    label: str | None
    score: float


@dataclass
class Species(Result):
    """A species with its names, if the model has them; the scientific name may be missing."""

    common_name: str
    scientific_name: str | None


@dataclass
class Photograph(Result):
    """A photo of the index with the addresses of its thumbnail and of a larger copy.

    `common_name` and `scientific_name` belong to the label, if the model has them.
    """

    thumbnail: str | None
    photo: str | None
    common_name: str | None
    scientific_name: str | None


@dataclass
class Embedding:
    """The embedding of a photo, exactly as returned by `Model.encode`."""

    embedding: list[float]
    dim: int
    fingerprint: str


@dataclass
class Found:
    """The photos of the index most similar to the uploaded one, best first.

    `close` is false if even the best match is below the model's threshold for a known species, and
    null if the model has no threshold.
    """

    results: list[Result]
    close: bool | None


@dataclass
class Identified:
    """The species in a photo; `species` is null if none reaches the threshold.

    `probability` is the probability that the most similar species is right; null if the gallery is
    not calibrated.
    """

    species: str | None
    score: float
    known: bool
    probability: float | None
    threshold: float
    results: list[Species | Result]


@dataclass
class Example:
    """A photo of the index that was used as an example, with its label."""

    id: str
    label: str | None
    common_name: str | None


@dataclass
class Look:
    """Species and similar photos; null without a gallery or an index.

    `close` has the same meaning as for `/search`. `example` is the given row of the photo in the
    index.
    """

    identified: Identified | None
    photographs: list[Photograph] | None
    close: bool | None
    example: Example | None


@dataclass
class Health:
    """The state of the server, its model and its index.

    `status` is "ok", "busy" if all `max_pending` places are taken, so that another photo
    gets 503, or "error" if searches fail; `problem` then says why. Photos that are slow to decode
    have eight places of their own, which do not make it busy. `pending` is the number of
    current requests; `receiving` of them are still being received and take no place.

    `species` and `photographs` are null without a gallery or an index; `no_gallery` and `no_index`
    then say how to add one. `threshold` is the minimum similarity of a known species. `viewable`
    is true if the index has the paths of its photos, so that they can be shown.
    """

    status: str
    version: str
    model: str
    architecture: str
    embedding_dim: int
    fingerprint: str
    species: int | None
    threshold: float | None
    photographs: int | None
    viewable: bool
    no_gallery: str | None
    no_index: str | None
    problem: str | None = None
    max_bytes: int = 0
    pending: int = 0
    receiving: int = 0
    max_pending: int = 0


@dataclass
class Problem:
    """An error; see also the status code."""

    detail: str
