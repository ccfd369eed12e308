"""Answers of the service, of which FastAPI makes JSON and /openapi.json."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Result:
    """A species, or a photo of the index, and its cosine similarity."""

    id: str
    label: str | None
    score: float


@dataclass
class Species(Result):
    """A species of a model that has names for it; the scientific one may be missing."""

    common_name: str
    scientific_name: str | None


@dataclass
class Photograph(Result):
    """A photo of the index with the addresses of its thumbnail and of a larger copy.

    `common_name` and `scientific_name` are those of the label, where the model has them.
    """

    thumbnail: str | None
    photo: str | None
    common_name: str | None
    scientific_name: str | None


@dataclass
class Embedding:
    """The vector of a photo, the numbers `Model.encode` gives, exactly."""

    embedding: list[float]
    dim: int
    fingerprint: str


@dataclass
class Found:
    """The photos of the index most like the one sent, best first.

    `close` is false where even the best is less similar than the model asks of a known species,
    and null where the model has no such threshold.
    """

    results: list[Result]
    close: bool | None


@dataclass
class Identified:
    """The species on a photo; `species` is null where none reaches the threshold.

    `probability` says how probable it is that the most similar species is right, null where the
    model's gallery has no calibration.
    """

    species: str | None
    score: float
    known: bool
    probability: float | None
    threshold: float
    results: list[Species | Result]


@dataclass
class Example:
    """A photo of the index that was sent to try the server, and what it shows."""

    id: str
    label: str | None
    common_name: str | None


@dataclass
class Look:
    """Species and nearest photos; null without a gallery or an index.

    `close` is that of `/search`. `example` is the row of the index that the photo is said to be.
    """

    identified: Identified | None
    photographs: list[Photograph] | None
    close: bool | None
    example: Example | None


@dataclass
class Health:
    """The state of the server, its model and its index.

    `status` is "ok", or "busy" where all `max_pending` places are taken, so that a further
    photo gets 503. `pending` counts the requests under way; `receiving` of them are still
    being received and take no place.

    `species` and `photographs` are null without a gallery or an index; `no_gallery` and `no_index`
    then say how to get one. `threshold` is the similarity from which the model calls a species
    known. `viewable` says whether the photos of the index can be shown: it knows where they are.
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
    max_bytes: int = 0
    pending: int = 0
    receiving: int = 0
    max_pending: int = 0


@dataclass
class Problem:
    """An error; the status says of what kind."""

    detail: str
