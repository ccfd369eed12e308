"""Answers of the service, of which FastAPI makes JSON and /openapi.json."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Result:
    """A species, or a photograph of the index, and its cosine similarity."""

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
    """A photograph of the index with the address of its thumbnail, where it has one.

    `common_name` is that of the label, where the model has one.
    """

    thumbnail: str | None
    common_name: str | None


@dataclass
class Embedding:
    """The vector of a photograph, the numbers `Model.encode` gives, exactly."""

    embedding: list[float]
    dim: int
    fingerprint: str


@dataclass
class Found:
    """The photographs of the index most like the one sent, best first."""

    results: list[Result]


@dataclass
class Identified:
    """The species on a photograph; `species` is null where none reaches the threshold."""

    species: str | None
    score: float
    known: bool
    threshold: float
    results: list[Species | Result]


@dataclass
class Look:
    """Species and nearest photographs; null without a gallery or an index."""

    identified: Identified | None
    photographs: list[Photograph] | None


@dataclass
class Health:
    """The state of the server, its model and its index.

    `status` is "ok", or "busy" where all `max_pending` places are taken, so that a further
    photograph gets 503. `pending` counts the requests under way; `receiving` of them are still
    being received and take no place.

    `species` and `photographs` are null without a gallery or an index; `no_gallery` and `no_index`
    then say how to get one.
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
