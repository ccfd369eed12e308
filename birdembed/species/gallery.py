"""A gallery of prototypes, one per species."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from birdembed.base.files import KeptFile
from birdembed.base.locks import WaitingLock
from birdembed.base.vectors import unit_rows
from birdembed.species.calibration import Calibration

if TYPE_CHECKING:
    from birdembed.search.index import Index

NO_GALLERY = (
    "this model has no gallery of species: compute one from labelled images with "
    "fit_gallery(data), or use load_model('birds477'), which has one of 476 species"
)
STALE = (
    "the gallery was computed before the model's weights, projection or preprocessing changed: "
    "compute it again with fit_gallery(data)"
)


def prototypes(
    units: NDArray[np.float64], labels: NDArray[np.int64], n_classes: int
) -> NDArray[np.float64]:
    """Return the mean unit vector of each class, scaled to length 1: ``(classes, dim)``."""
    sums = np.zeros((n_classes, units.shape[1]))
    np.add.at(sums, labels, units)
    return unit_rows(sums)


class Gallery:
    """A gallery in memory, or in a file that is read on first use.

    `calibration` converts scores to probabilities; None if the gallery is not calibrated.
    """

    def __init__(
        self,
        index: Index | None = None,
        file: KeptFile | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        self._index, self._file, self.calibration = index, file, calibration
        self._reading = WaitingLock()

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Gallery:
        """Create a gallery from a state returned by `__getstate__`."""
        gallery = cls.__new__(cls)
        gallery.__setstate__(state)
        return gallery

    @property
    def index(self) -> Index:
        """The index of the prototypes, read on first use."""
        with self._reading.held():  # one index for all threads, because rows may be added to it
            if self._index is None:
                from birdembed.search.index import Index

                assert self._file is not None  # a gallery has an index or a file
                self._index = Index.load(self._file, mmap=False)
            return self._index

    def of(self, model: Any) -> Index:
        """Return the index with its model attached, so that it can be searched for images."""
        index = self.index
        if index.model is None and index.fingerprint == model.fingerprint:
            index.model = model
        return index

    def renamed(self, before: str, after: str) -> Gallery:
        """Return the gallery for a model with the same embeddings and another fingerprint.

        Returns `self` if the fingerprint of the gallery is not `before`.
        """
        if self.index.fingerprint != before:
            return self
        index = copy.copy(self.index)
        index.fingerprint, index.model = after, None
        return Gallery(index, calibration=self.calibration)

    def __getstate__(self) -> dict[str, Any]:
        """Return the rows, without the model."""
        from birdembed.search.shared_rows import rows_of

        rows = rows_of(self.index)
        return {
            "ids": list(rows.ids),
            "labels": list(rows.labels),
            "embeddings": np.array(rows.vectors),
            "metadata": {name: list(column) for name, column in rows.columns.items()},
            "fingerprint": rows.fingerprint,
            "calibration": self.calibration_values(),
        }

    def calibration_values(self) -> dict[str, float] | None:
        """Return the parameters of the calibration, or None."""
        return None if self.calibration is None else self.calibration.to_dict()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the gallery from a state returned by `__getstate__`."""
        from birdembed.search.index import Index

        vectors = state["embeddings"]
        index = Index(vectors.shape[1] or None, state["fingerprint"])
        if len(vectors):
            index.add(state["ids"], vectors, state["labels"], state["metadata"] or None)
        self._index, self._file = index, None
        self._reading = WaitingLock()
        self.calibration = Calibration.from_values(state.get("calibration"))
