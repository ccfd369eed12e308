"""Hold the result of a search and its matches."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from birdembed.base.public import public

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

_MATCHES, _QUERIES = 6, 4  # that notebooks show
NOTHING_CLOSE = "nothing close"  # the best match is below the score of a known species


@public
class Match(NamedTuple):
    """One image that a search found.

    Attributes
    ----------
    id : str
        Its id in the index.
    label : str or None
        Its species, where the index knows it.
    score : float
        Cosine similarity to the query.
    path : str or None
        Its file, where the index knows it.
    """

    id: str
    label: str | None
    score: float
    path: str | None


@public
class SearchResult:
    """The matches of one query, or of many.

    For one query the arrays are `(k,)` and iterating gives `Match`; for many they are `(q, k)` and
    iterating gives the result of each query. Best first; fewer columns than were asked for where
    the index has fewer rows. With `min_score`, a query that has fewer matches than others has the
    score -inf, the row -1 and None in the columns that it does not fill.

    Attributes
    ----------
    scores : ndarray
        float32 cosine similarities.
    indices : ndarray
        int64 row numbers of the index.
    ids, labels, paths : ndarray
        Objects: `str`, or None where the index has no label or path.
    query : str, int or None
        What was asked, by name; for many queries a list of those.
    threshold : float or None
        The score from which the model calls a species known, where the index has a model with one.
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
    ):
        self.scores, self.indices = scores, indices
        self.ids, self.labels, self.paths = ids, labels, paths
        self.query, self.threshold = query, threshold
        self._image = image  # what to show for the query: images as they were given, or None

    @property
    def _single(self) -> bool:
        """Tell whether this is the result of one query."""
        return self.scores.ndim == 1

    @property
    def close(self) -> Any:
        """Whether the best match reaches `threshold`; for many queries a list.

        False where there is no match, and None where there is no threshold to compare with.
        """
        if not self._single:
            return [result.close for result in self]
        if not len(self):
            return False
        return None if self.threshold is None else bool(self.scores[0] >= self.threshold)

    def __len__(self) -> int:
        """Return the number of matches; of many queries, the number of queries."""
        return len(self.scores)

    def __getitem__(self, i: int) -> Any:
        """Return one match, or the result of one query."""
        i = range(len(self))[i]
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
        )

    def __iter__(self) -> Iterator[Any]:
        """Iterate over matches, or over the results of the queries."""
        return (self[i] for i in range(len(self)))

    def to_pandas(self) -> pandas.DataFrame:
        """Return a table with the columns query, rank (from 1), id, label, score, path."""
        from birdembed.base.optional import need

        table = need("pandas", "pandas", "SearchResult.to_pandas")
        results: Sequence[SearchResult] = [self] if self._single else list(self)
        rows = [
            (result.query, rank, match.id, match.label, match.score, match.path)
            for result in results
            for rank, match in enumerate(result, 1)
        ]
        return table.DataFrame(rows, columns=["query", "rank", "id", "label", "score", "path"])

    def plot(self, **options: Any) -> Figure:
        """Draw queries and matches with labels and scores.

        Parameters
        ----------
        **options
            As `birdembed.plot_grid` takes them.

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
    """Return what to call a query."""
    return "a query" if query is None else os.fspath(query) if _is_path(query) else f"query {query}"


def _is_path(value: Any) -> bool:
    """Tell whether a value is a path."""
    return isinstance(value, (str, os.PathLike))
