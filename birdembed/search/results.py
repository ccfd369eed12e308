"""The result of a search and its matches."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from birdembed.base.public import public
from birdembed.base.text import counted, shown

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

_MATCHES, _QUERIES = 6, 4  # shown in notebooks
NOTHING_CLOSE = "nothing close"  # the best match is below the threshold of a known species


@public
class Match(NamedTuple):
    """A single match of a search.

    Attributes
    ----------
    id : str
        Id in the index.
    label : str or None
        Species, if the index has labels.
    score : float
        Cosine similarity to the query.
    path : str or None
        Path of the image, if the index has it.
    """

    id: str
    label: str | None
    score: float
    path: str | None


@public
class SearchResult:
    """The matches of one or many queries, best first.

    For one query the arrays have shape `(k,)` and iterating yields `Match` objects. For many
    queries they have shape `(q, k)` and iterating yields the result of each query. There are
    fewer columns if the index has fewer than `k` rows. With `min_score`, a query with fewer
    matches than the others has score -inf, row -1 and None in the unused columns.

    Attributes
    ----------
    scores : ndarray
        float32 cosine similarities.
    indices : ndarray
        int64 row numbers in the index.
    ids, labels, paths : ndarray
        Object arrays of `str`, or None if the index has no label or path.
    query : str, int or None
        Name of the query; a list of names for many queries.
    threshold : float or None
        Minimum score at which the model counts a species as known; None if the index has no model
        with a threshold.
    """

    def __init__(
        self,
        scores: NDArray[np.float32],
        indices: NDArray[np.int64],
        ids: NDArray[np.object_],
        labels: NDArray[np.object_],
        paths: NDArray[np.object_],
        query: Any = None,
        image: Any = None,
        threshold: float | None = None,
        best: list[float] | None = None,
    ):
        self.scores, self.indices = scores, indices
        self.ids, self.labels, self.paths = ids, labels, paths
        self.query, self.threshold = query, threshold
        self._image = image  # the query images to show, as given, or None
        self._best = best  # per query: the best score before `min_score`; None: as in `scores`

    @property
    def _single(self) -> bool:
        """Return whether this is the result of one query."""
        return self.scores.ndim == 1

    @property
    def close(self) -> Any:
        """Whether the best match reaches `threshold`; a list for many queries.

        A match that `min_score` leaves out counts too. Without a threshold: None, or False if
        there is no match.
        """
        if not self._single:
            return [result.close for result in self]
        if self.threshold is None:
            return None if len(self) else False
        best = self._best[0] if self._best else max(self.scores, default=-np.inf)
        return bool(best >= self.threshold)

    def __len__(self) -> int:
        """Return the number of matches, or the number of queries if there are many."""
        return len(self.scores)

    def __getitem__(self, i: int | slice) -> Any:
        """Return one match, or the result of one query; for a slice a list of these."""
        if isinstance(i, slice):
            return [self[row] for row in range(len(self))[i]]
        i = self._position(i)
        if self._single:
            return Match(self.ids[i], self.labels[i], float(self.scores[i]), self.paths[i])
        there = self.indices[i] >= 0
        return SearchResult(
            self.scores[i][there],
            self.indices[i][there],
            self.ids[i][there],
            self.labels[i][there],
            self.paths[i][there],
            self.query[i] if self.query is not None else i,
            self._image[i] if self._image is not None else None,
            self.threshold,
            None if self._best is None else [self._best[i]],
        )

    def _position(self, i: Any) -> int:
        """Return the number of a match or query from 0; negative ones count from the end."""
        what = "match" if self._single else "query"
        try:
            return range(len(self))[operator.index(i)]
        except TypeError:
            raise TypeError(
                f"the number of a {what} must be an int or a slice, got {shown(i)}; for all "
                "matches use .ids, .labels, .scores or .to_pandas()"
            ) from None
        except IndexError:
            there = counted(len(self), what, "matches" if self._single else "queries")
            raise IndexError(f"no {what} {i}: this result has {there}, numbered from 0") from None

    def __iter__(self) -> Iterator[Any]:
        """Iterate over matches, or over the results of the queries."""
        return (self[i] for i in range(len(self)))

    def to_pandas(self) -> pandas.DataFrame:
        """Return a DataFrame with columns query, rank (from 1), id, label, score, path."""
        from birdembed.base.optional import need
        from birdembed.search.exports import storable_text

        table = need("pandas", "pandas", "SearchResult.to_pandas")
        results: Sequence[SearchResult] = [self] if self._single else list(self)
        rows = [
            (result.query, rank, match.id, match.label, match.score, match.path)
            for result in results
            for rank, match in enumerate(result, 1)
        ]
        names = ["query", "rank", "id", "label", "score", "path"]
        if storable_text(value for row in rows for value in row):
            return table.DataFrame(rows, columns=names)
        found = table.DataFrame(rows, columns=names, dtype=object)
        return found.astype({"rank": "int64", "score": "float64"})

    def plot(self, **options: Any) -> Figure:
        """Plot queries and matches with labels and scores.

        Parameters
        ----------
        **options
            Passed to `birdembed.plot_grid`.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from birdembed.display.grid import plot_grid

        return plot_grid(self._image if self._image is not None else self.query, self, **options)

    def _repr_html_(self) -> str:
        """Return HTML that shows queries and their best matches."""
        from birdembed.display import html

        rows = [self] if self._single else [self[i] for i in range(len(self))]
        lines = []
        for row in rows[:_QUERIES]:
            asked = row._image if row._image is not None else row.query
            name = "query" if row.query is None else html.name_of(row.query)
            texts = ["searched for", name]
            texts += [NOTHING_CLOSE] if row.close is False else []
            cells = [html.cell(asked, texts, title=row.query, frame=html.ASKED)]
            for match in list(row)[:_MATCHES]:
                name = match.label if match.label is not None else html.name_of(match.id)
                cells.append(html.cell(match.path, [name, html.score(match.score)], title=match.id))
            lines.append(cells)
        shown = min(_MATCHES, self.scores.shape[-1])
        left = {
            "more matches": self.scores.shape[-1] - shown,
            "more queries": len(rows) - _QUERIES,
        }
        more = [f"{n} {what}" for what, n in left.items() if n > 0]
        return html.grid(lines) + html.note(("and " + ", ".join(more)) if more else "")

    def __repr__(self) -> str:
        """List the matches, or the best match of each query."""
        if self._single:
            head = f"SearchResult of {_shown(self.query)}: {len(self)} matches"
            head += "" if self.close in (True, None) else f"; {NOTHING_CLOSE}"
            lines = [f"  {m.score:.4f}  {m.label or '-'}  {m.id}" for m in list(self)[:10]]
            rest = len(self) - 10
        else:
            head = f"SearchResult of {len(self)} queries, {self.scores.shape[1]} matches each"
            lines = [
                f"  {_shown(r.query)}: " + (f"{r[0].score:.4f}  {r[0].id}" if len(r) else "nothing")
                for r in (self[i] for i in range(min(len(self), 10)))
            ]
            rest = len(self) - 10
        return "\n".join([head, *lines] + ([f"  ... and {rest} more"] if rest > 0 else []))


def _shown(query: Any) -> str:
    """Return the name of a query for display."""
    return "a query" if query is None else os.fspath(query) if _is_path(query) else f"query {query}"


def _is_path(value: Any) -> bool:
    """Return whether a value is a path."""
    return isinstance(value, (str, os.PathLike))
