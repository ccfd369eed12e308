"""The parameters of the endpoints that take a photo, from the address or the form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any, TypeAlias

from fastapi import HTTPException
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, BeforeValidator, Field, ValidationError, model_validator
from typing_extensions import Self

from birdembed.base.similar_words import did_you_mean
from birdembed.base.text import shortened
from birdembed.serve.errors import MAX_K
from birdembed.serve.numbers import ascii_number, whole

WHOLE, NUMBER = BeforeValidator(whole), BeforeValidator(ascii_number)
_SHOWN = 20  # characters of an unknown name


Pairs: TypeAlias = Iterable[tuple[str, str]]  # names and values, in the order of the request


def refuse_repeats(given: Pairs) -> None:
    """Raise a 422 if a parameter is given twice, because one of the values would be lost."""
    for name, times in Counter(name for name, _ in given).items():
        if times > 1:
            raise HTTPException(
                422,
                f"the parameter {shortened(name, _SHOWN)!r} is given {times} times; give it once, "
                "in the address or in the form",
            )


class Parameters(BaseModel):
    """No parameters. Every class refuses names that it does not have."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, given: Any) -> Any:
        known = list(cls.model_fields)
        for name in given:
            if name not in known:
                shown = repr(shortened(name, _SHOWN))
                taken = f"the parameters are {', '.join(known)}" if known else "it takes none"
                raise ValueError(f"no parameter {shown}{did_you_mean(name, known)} ({taken})")
        return given

    @classmethod
    def read(cls, query: Pairs, form: Pairs) -> Self:
        """Return the values of an address and of a form.

        Raises
        ------
        RequestValidationError
            A value is out of range, or a name is unknown.
        HTTPException
            422: a parameter is given twice.
        """
        given = [*query, *form]
        refuse_repeats(given)
        try:
            return cls.model_validate(dict(given))
        except ValidationError as error:
            raise RequestValidationError(error.errors()) from None


class IdentifyParameters(Parameters):
    """Parameters of /identify."""

    k: Annotated[
        int, WHOLE, Field(ge=1, le=MAX_K, description="number of results (default: 5)")
    ] = 5


class SearchParameters(IdentifyParameters):
    """Parameters of /search."""

    min_score: Annotated[
        float | None,
        NUMBER,
        Field(ge=-1, le=1, description="leave out photos with a lower score"),
    ] = None


class LookParameters(IdentifyParameters):
    """Parameters of /look."""

    n: Annotated[int, WHOLE, Field(ge=1, le=MAX_K, description="number of photos")] = 12
    example: Annotated[
        int | None,
        WHOLE,
        Field(ge=0, description="row of the photo in the index, which is left out"),
    ] = None
    of: Annotated[
        str | None,
        Field(description="mark of the example; an error if the row is another photo by now"),
    ] = None
