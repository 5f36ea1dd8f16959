"""Search requests and their results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from crossrec_cli.errors import ConfigError
from crossrec_cli.runtime.progress import Reporter

if TYPE_CHECKING:  # pydantic takes a moment to import
    from crossrec_cli.config.schema import Config


@dataclass(frozen=True)
class SearchRequest:
    """One query, or a file of them, or nothing, which only builds the index."""

    query: str | None = None
    user: str | None = None
    queries: Path | None = None

    def __post_init__(self) -> None:
        if self.query is not None and self.queries:
            raise ConfigError(["a query and --queries were given; remove one of them"])
        if self.user is not None and self.query is None:
            raise ConfigError(["--user needs a query; a file of --queries names users itself, as user_id"])
        if self.query is not None and not self.query.strip():
            raise ConfigError(["the query is empty"])

    def __bool__(self) -> bool:
        return self.query is not None or self.queries is not None

    def results(
        self, config: Config, inputs: Mapping[str, Path], index: Path, report: Reporter
    ) -> tuple[pa.Table, int]:
        """The results, and the number of queries.

        Args:
            config: the whole config.
            inputs: the files that the stage search reads.
            index: the folder that the stage search left.
            report: gets the progress, and the number of unknown users in a warning.

        Returns:
            Rows of ``schemas.FOUND``, query by query, best first; and the number of queries.

        Raises:
            InputError: if there is no such user, or the file cannot be read.
        """
        from crossrec_cli.ranking.searcher import Searcher, read_queries  # noqa: PLC0415  torch takes a moment to import

        queries, users = read_queries(self.queries) if self.queries else ([], [])
        searcher = Searcher.load(config, inputs, index)
        if self.query is not None:
            return searcher.search(self.query, self.user, k=config.search.k), 1
        indices = searcher.known_users(users)
        if unknown := {user for user, at in zip(users, indices, strict=True) if user is not None and at < 0}:
            report.warn(f"--queries: {len(unknown):,} users are not in the data; each is answered as an unknown user")
        with report.progress("searching", len(queries), "queries") as advance:
            return searcher.search_all(queries, users, config.search.k, advance), len(queries)
