"""Identify the species in images."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from birdembed.base import text
from birdembed.base.checks import check_integer
from birdembed.base.public import public
from birdembed.base.species_names import full_name
from birdembed.search.cosine import cosine_similarity
from birdembed.search.rows import Rows
from birdembed.search.shared_rows import rows_of
from birdembed.species.calibration import Calibration, best_and_margin
from birdembed.species.gallery import NO_GALLERY, STALE


class _Fields(NamedTuple):
    """The values of an `Identification`."""

    species: str
    score: float
    known: bool
    matches: list[tuple[str, float]]


@public
class Identification(_Fields):
    """Result of `Model.identify` for one image.

    Attributes
    ----------
    species : str
        The most similar species in the gallery, even if it does not reach the threshold.
    score : float
        Cosine similarity to that species.
    known : bool
        Whether the score reaches the model's threshold.
    matches : list of (str, float)
        The most similar species and their scores, best first.
    probability : float or None
        Probability (0 to 1) that `species` is right. It applies to images of one of the gallery's
        species; if `fit_gallery` was called with `unknown`, to any image. None if the gallery is
        not calibrated.
    """

    probability: float | None = None
    _image: Any = None  # the image to show, as given
    _names: Mapping[str, tuple[str, str]] = MappingProxyType({})  # of the matches

    @property
    def common_name(self) -> str | None:
        """Common name of the species, or None if the model has no names for it."""
        return self._name(self.species, 0)

    @property
    def scientific_name(self) -> str | None:
        """Scientific name of the species, or None if the model has no names for it."""
        return self._name(self.species, 1)

    def _name(self, label: str, which: int) -> str | None:
        return self._names[label][which] or None if label in self._names else None

    def to_dict(self) -> dict[str, Any]:
        """Return the values as a JSON-serialisable dict, each species with its names."""
        matches = [{**self._named(label), "score": score} for label, score in self.matches]
        named = self._named(self.species)
        return {
            **named,
            "score": self.score,
            "probability": self.probability,
            "known": bool(self.known),
            "matches": matches,
        }

    def _named(self, label: str) -> dict[str, str | None]:
        return {
            "species": label,
            "common_name": self._name(label, 0),
            "scientific_name": self._name(label, 1),
        }

    def full_names(self) -> list[str]:
        """Return the matches as text, such as ``Bald Eagle (Haliaeetus leucocephalus)``.

        A species without names is shown by its label.
        """
        return [full_name(label, self._names) for label, _ in self.matches]

    def __reduce__(self) -> Any:
        """Pickle the values and the names, but not the image."""
        more = {"_names": dict(self._names), "probability": self.probability}
        return type(self), tuple(self), more

    def __repr__(self) -> str:
        """Return the values as text, with species names if there are any."""
        values: dict[str, Any] = {"species": self.species}
        if self.common_name is not None:
            values |= {key: name for key, name in self._named(self.species).items() if name}
        values |= {"score": self.score, "known": self.known}
        if self.probability is not None:
            values["probability"] = self.probability
        values["matches"] = self.matches
        return f"Identification({', '.join(f'{key}={value!r}' for key, value in values.items())})"

    def _repr_html_(self) -> str:
        from birdembed.display import html

        names = self.full_names()
        nearest = full_name(self.species, self._names)
        verdict = nearest if self.known else "none of the known species"
        lines = [(name, html.score(x)) for name, (_, x) in zip(names, self.matches, strict=True)]
        rows = html.table(("species", "similarity"), lines)
        stated = text.probability(self.probability) if self.known else ""
        heading = html.heading(verdict, stated)
        if self._image is None:
            return heading + rows
        frame = html.RIGHT if self.known else html.WRONG
        photo = html.cell(self._image, [], title=verdict, frame=frame)
        beside = f'<td style="border:0">{rows}</td>'
        return heading + html.grid([[photo, beside]])


class _Identifications(list[Identification]):
    """A list of identifications that notebooks show with images."""

    def __reduce__(self) -> Any:
        return list, (list(self),)

    def _repr_html_(self) -> str:
        from birdembed.display import html

        cells = []
        across = html.PICTURES
        for one in self[: 2 * across]:
            names, common = one.full_names(), one.common_name or one.species
            stated = text.probability(one.probability)
            lines = [common, one.scientific_name, html.score(one.score), stated]
            if not one.known:
                lines = ["none of the known", f"nearest: {common}", html.score(one.score)]
            scores = [html.score(value) for _, value in one.matches]
            title = "\n".join(f"{n}: {score}" for n, score in zip(names, scores, strict=True))
            frame = html.RIGHT if one.known else html.WRONG
            cells.append(html.cell(one._image, lines, title=title, frame=frame))
        rest = len(self) - len(cells)
        rows = [cells[i : i + across] for i in range(0, len(cells), across)]
        return html.grid(rows) + html.note(f"and {rest} more" if rest > 0 else "")


def identify(
    model: Any, state: Any, images: Any, k: int, options: dict[str, Any]
) -> tuple[Any, Any]:
    """Return identifications (one for a single image, else a list) and the report of `encode`.

    `state` is the state of the model, see `checked_gallery`.
    """
    from birdembed.images.sources import is_single

    k = check_integer("k", k, 1)
    gallery, threshold = checked_gallery(state)
    single = is_single(images)
    vectors, report = model.encode(images, return_report=True, **options)
    calibration, names = state.gallery.calibration, state.species_names
    rows = nearest_species(np.atleast_2d(vectors), gallery, threshold, k, names, calibration)
    found = _Identifications(rows)
    for one, image in zip(found, _given(images, single, report), strict=True):
        one._image = image
    return (found[0] if single else found), report


def _given(images: Any, single: bool, report: Any) -> list[Any]:
    """Return the image of each row, as given or as a path."""
    if single:
        return [images]
    if isinstance(images, (list, tuple, np.ndarray)):
        return [images[position] for position in report.kept]
    return list(report.names)


def checked_gallery(now: Any) -> tuple[Rows, float]:
    """Return the current rows of the gallery, and the threshold, of a model's state.

    Parameters
    ----------
    now : Snapshot
        Its `gallery`, `threshold` and `fingerprint` are read.

    Raises
    ------
    ValueError
        There is no gallery, it belongs to another state of the model, or one of its rows has no
        label, so that its species is unknown.
    """
    if now.gallery is None:
        raise ValueError(NO_GALLERY)
    rows = rows_of(now.gallery.index)  # once: another thread may change the gallery
    if not len(rows):
        raise ValueError("the gallery is empty; compute it again with fit_gallery(data)")
    if rows.fingerprint != now.fingerprint:
        raise ValueError(STALE)
    nameless = [str(name) for name, label in zip(rows.ids, rows.labels, strict=True) if not label]
    if nameless:
        raise ValueError(
            f"the gallery's row {text.some(nameless)} has no label, so its species is unknown; "
            "add it again with its species as label (replace=True), or remove it"
        )
    if now.threshold is None:
        raise ValueError("this model has a gallery but no threshold; set model.threshold")
    return rows, now.threshold


def nearest_species(
    vectors: NDArray[np.float32],
    rows: Rows,
    threshold: float,
    k: int,
    names: Mapping[str, tuple[str, str]],
    calibration: Calibration | None = None,
) -> list[Identification]:
    """Return the most similar species for each vector, using the best row of each species.

    `rows` and `threshold` come from `checked_gallery`, `names` are the `species_names` of the
    model, `calibration` belongs to its gallery.
    """
    if not len(vectors):
        return []
    labels = [text.composed(str(label)) for label in rows.labels]  # a file may have both forms
    species = list(dict.fromkeys(labels))
    number = {name: i for i, name in enumerate(species)}
    row_species = np.asarray([number[label] for label in labels], np.int64)
    scores = np.atleast_2d(cosine_similarity(vectors, rows.vectors))
    best = np.full((len(vectors), len(species)), -np.inf, np.float32)
    for row, column in enumerate(row_species):
        np.maximum(best[:, column], scores[:, row], out=best[:, column])
    stated: list[float | None] = [None] * len(best)
    if calibration is not None and len(species) > 1:
        stated = calibration.probability(*best_and_margin(best.astype(np.float64))).tolist()
    found = []
    for line, probability in zip(best, stated, strict=True):
        order = np.argsort(-line, kind="stable")[:k]
        matches = [(species[i], float(line[i])) for i in order]
        top, score = matches[0]
        one = Identification(top, score, score >= threshold, matches)
        one._names = {label: names[label] for label, _ in matches if label in names}
        one.probability = probability
        found.append(one)
    return found
