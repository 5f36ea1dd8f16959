"""The forms of an id, and ids that do not come from a table: of the command line, the config and requests.

``cells.identifier`` reads the ids of tables by the same rules.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts.parquet import row_indices
from crossrec_cli.errors import InputError

SPACE = r"[\s\p{Z}\x{feff}]"
CONTROL = r"[\x00-\x1f\x7f]"
FLOAT = r"^(-?(?:0|[1-9]\d{0,14}))\.0$"
"""An integer printed as a float, with so few digits that it is exact."""
EXACT = 2**53
"""From here on several whole numbers share one float64."""


@dataclass(frozen=True)
class IdForms:
    """The columns of users' or items' ids, in the order in which one is made from another."""

    kind: str
    """``users`` or ``items``, for messages and figures."""
    platform_id: str
    number: str
    key: str
    list_id: str


USER_FORMS = IdForms("users", c.PLATFORM_USER_ID, c.USER_NUMBER, c.USER_KEY, c.USER_ID)
ITEM_FORMS = IdForms("items", c.PLATFORM_ITEM_ID, c.ITEM_NUMBER, c.ITEM_KEY, c.ITEM_ID)


def as_id(value: str | float) -> str:
    """An id as the tables have it: without space around it, 1.0 as 1.

    Raises:
        ValueError: if it cannot be an id, with the reason.
    """
    if isinstance(value, float):
        if not value.is_integer() or abs(value) >= EXACT:
            raise ValueError(f"{value!r} is not exactly one whole number; write ids as text or as whole numbers")
        value = int(value)
    try:
        text = _stripped(pa.array([str(value)], pa.string()))[0].as_py()
    except UnicodeEncodeError:
        raise ValueError(f"{value!r} is not valid text") from None
    if text is None:
        raise ValueError(f"{value!r} holds control characters" if str(value).strip() else "is empty")
    return str(text)


def as_ids(values: Iterable[str], where: str) -> pa.Array:
    """Several ids.

    Raises:
        InputError: if one cannot be an id; its message begins with ``where``.
    """
    values = list(values)
    try:
        ids = _stripped(pa.array(values, pa.string()))
        if ids.null_count:
            as_id(values[ids.is_null().index(True).as_py()])
    except UnicodeEncodeError:
        raise InputError(f"{where}: one id is not valid text") from None
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None
    return ids


def known_indices(named: Iterable[str], ids: pa.ChunkedArray, where: str) -> npt.NDArray[np.int64]:
    """The indices of ids in the data's column of ids, in their order.

    Raises:
        InputError: if one of them is not there; its message begins with ``where``.
    """
    asked = as_ids(named, where)
    indices = row_indices(pa.chunked_array([asked]), ids)
    if (indices < 0).any():
        raise InputError(f"{where} '{asked[int((indices < 0).argmax())]}': not in the data")
    return indices


def _stripped(texts: pa.Array) -> pa.Array:
    """Without space around them; null if empty, or if there are control characters inside."""
    stripped = pc.replace_substring_regex(texts, rf"^{SPACE}+|{SPACE}+$", "")
    stripped = pc.replace_substring_regex(stripped, FLOAT, r"\1")
    unusable = pc.or_(pc.equal(stripped, ""), pc.match_substring_regex(stripped, CONTROL))
    return pc.if_else(unusable, pa.scalar(None, pa.string()), stripped)
