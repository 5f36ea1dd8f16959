"""Lists of some users on request; nothing is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.data.extra_files import read_file
from crossrec_cli.data.ids import as_ids, known_indices
from crossrec_cli.errors import ConfigError, InputError
from crossrec_cli.models.ragged import Ints
from crossrec_cli.runtime.progress import Reporter

if TYPE_CHECKING:  # torch takes a moment to import
    from crossrec_cli.ranking.recommender import Recommender

STDIN = Path("-")
ANONYMOUS = ""
"""The id of somebody who has none."""
FIRST = np.zeros(1, np.int64)
USERS = pa.schema([pa.field(c.USER_ID, pa.string(), nullable=False)])


@dataclass(frozen=True)
class ListRequest:
    """The users whose lists are requested."""

    users: Sequence[str] = ()
    file: Path | None = None
    """More users: Parquet or CSV with user_id; ``-``: an id a line from standard input."""
    history: Sequence[str] = ()
    """Items that the one user named, or else somebody without an id, has bought since the data, oldest first."""
    why_not: str | None = None
    """An item that is missing from the list of the one user named."""

    def __post_init__(self) -> None:
        """Check that the options fit together.

        Raises:
            ConfigError: if they do not.
        """
        if self.why_not is not None and (len(self.users) != 1 or self.file):
            raise ConfigError(["--why-not needs one --user"])
        if self.history and (len(self.users) > 1 or self.file or self.why_not is not None):
            raise ConfigError(["--history goes with one --user or with none, and with neither --users nor --why-not"])

    def __bool__(self) -> bool:
        return bool(self.users or self.file or self.history)

    def ids_of_file(self, stdin: Iterable[str]) -> pa.Array:
        """The users named by ``--users``."""
        if self.file is None:
            return pa.array([], pa.string())
        if self.file == STDIN:
            return as_ids((line for line in stdin if line.strip()), "--users -")
        return read_file(self.file, "--users", USERS)[c.USER_ID].combine_chunks()


@dataclass(frozen=True)
class RequestedLists:
    """The lists of the users of a request."""

    recommender: Recommender
    named: list[str]
    """The ids that ``--user`` names."""
    users: Ints
    """Indices of all users, int64."""
    history: Ints
    """Indices of the items of ``ListRequest.history``, int64."""

    @classmethod
    def of(cls, recommender: Recommender, request: ListRequest, file_ids: pa.Array, report: Reporter) -> RequestedLists:
        """Find the users; those of the file that are not in the data are counted in a warning.

        Args:
            recommender: makes the lists.
            request: names the users.
            file_ids: the ids of its file.
            report: gets the warning.

        Raises:
            InputError: if a user that ``--user`` names, or an item of ``--history``, is not in the data.
        """
        history = known_indices(request.history, recommender.dataset.items[c.ITEM_ID], "--history")
        named, known_ids = recommender.users(request.users, "--user"), recommender.dataset.users[c.USER_ID]
        indices = parquet.row_indices(pa.chunked_array([file_ids]), known_ids)
        if unknown := int((indices < 0).sum()):
            report.warn(f"--users {request.file}: {unknown:,} of {len(file_ids):,} users are not in the data")
        users = np.concatenate([named, indices[indices >= 0]])
        return cls(recommender, pc.take(known_ids, named).to_pylist(), users, history)

    def parts(self, report: Reporter) -> Iterator[pa.Table]:
        """Rows of ``schemas.RECOMMENDATIONS``, complete lists, some users at a time."""
        if len(self.history):
            user, at = (self.named[0], int(self.users[0])) if self.named else (ANONYMOUS, -1)
            no_tags, k = np.empty(0, np.int64), self.recommender.pool.rules.k
            yield from self.recommender.lists_of(self.recommender.one(user, at, self.history, no_tags, k), FIRST)
            return
        with report.progress("ranking", len(self.users), "users") as advance:
            yield from self.recommender.lists(self.users, advance)

    def check_complete(self, listed: Iterable[str]) -> None:
        """Check that each user that ``--user`` names has a list.

        Raises:
            InputError: if one has none.
        """
        if missing := set(self.named) - set(listed):
            raise InputError(
                f"--user {min(missing)}: has no list: the user has bought every item, or recommend.rules leave none"
            )


def reason_against(recommender: Recommender, request: ListRequest) -> dict[str, str]:
    """Why the item of ``--why-not`` is not in the user's list: both ids, and the reason in one line.

    Raises:
        InputError: if there is no such user.
    """
    from crossrec_cli.ranking.why_not import why_not  # noqa: PLC0415  torch takes a moment to import

    named = recommender.users(request.users, "--user")
    (user,) = pc.take(recommender.dataset.users[c.USER_ID], named).to_pylist()
    (rows,) = recommender.lists(named)
    (item,) = as_ids([request.why_not or ""], "--why-not").to_pylist()
    return {c.USER_ID: user, c.ITEM_ID: item, "reason": why_not(recommender, rows, user, item)}
