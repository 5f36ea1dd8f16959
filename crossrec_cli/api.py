"""A trained run in Python: ``crossrec_cli.open("runs/demo")``. Every answer is a pandas frame.

Errors are those of the commands, ``crossrec_cli.errors.CrossrecError``, each in one line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet, schemas
from crossrec_cli.artifacts.files import EVALUATE, METRICS, RECOMMEND, RUN_CONFIG, SEARCH
from crossrec_cli.artifacts.store import MANIFEST, Artifact
from crossrec_cli.config.load import load_config
from crossrec_cli.config.schema import Config
from crossrec_cli.data.ids import as_id, known_indices
from crossrec_cli.errors import ArtifactError, ConfigError, InputError
from crossrec_cli.export.folder import open_export
from crossrec_cli.pipeline.current import inputs_of, up_to_date
from crossrec_cli.ranking.list_request import ListRequest, RequestedLists
from crossrec_cli.runtime.progress import Silent

if TYPE_CHECKING:  # torch takes a moment to import
    from crossrec_cli.ranking.recommender import Recommender
    from crossrec_cli.ranking.searcher import Searcher


def open_run(path: str | Path, overrides: Sequence[str] = ()) -> TrainedRun:
    """Open a run directory, the config file of a run, or a folder of ``crossrec export``.

    Args:
        path: the directory or file.
        overrides: fields of the config, each ``KEY=VALUE``, as for ``--set``.

    Raises:
        ArtifactError: if there is none of these.
        ConfigError: if the config or an override is wrong.
    """
    path = Path(path).absolute()
    if path.is_file():
        return TrainedRun(load_config(path, overrides), None)
    if (path / MANIFEST).is_file():
        return TrainedRun(*open_export(path, overrides))
    if not (path / RUN_CONFIG).is_file():
        raise ArtifactError(f"{path}: neither a run directory, nor a config file, nor a folder of 'crossrec export'")
    return TrainedRun(load_config(path / RUN_CONFIG, [f"run_dir={json.dumps(str(path))}", *overrides]), None)


@dataclass(frozen=True)
class TrainedRun:
    """Answers from one trained model, which is loaded with the first question and stays in memory."""

    config: Config
    exported: Artifact | None
    """The export that it reads in place of the stages' artifacts."""

    def recommend(self, users: Sequence[str] = (), k: int | None = None, history: Sequence[str] = ()) -> pd.DataFrame:
        """The best items for some users, or for somebody without an id.

        Args:
            users: their ids.
            k: how many items; default: ``recommend.k``.
            history: items that the one user, or somebody without an id, has bought since the data, oldest first.

        Returns:
            As recommendations.parquet: ``user_id``, ``rank``, ``item_id``, ``score``, ``price``, ``text``, and reasons
            where ``recommend.reasons`` asks for them.

        Raises:
            ConfigError: if there is neither a user nor a history, or several users and a history.
            InputError: if a user or an item is not in the data.
        """
        _check_length("k", k)
        request = ListRequest(_ids(users), history=_ids(history))
        if not request:
            raise ConfigError(["name users, or give a history"])
        recommender = self._recommender
        if k is not None:
            rules = replace(recommender.pool.rules, k=k)
            recommender = recommender.with_pool(replace(recommender.pool, rules=rules))
        lists = RequestedLists.of(recommender, request, pa.array([], pa.string()), Silent())
        return pa.concat_tables([recommender.schema.empty_table(), *lists.parts(Silent())]).to_pandas()

    def similar(self, items: Sequence[str], k: int = 10) -> pd.DataFrame:
        """What the buyers of each of some items are likely to buy.

        Returns:
            As similar.parquet: ``item_id``, ``rank``, ``similar_item_id``, ``score``, ``kind``, ``text``.

        Raises:
            InputError: if an item is not in the data.
        """
        from crossrec_cli.ranking.similar_items import SimilarItems  # noqa: PLC0415

        _check_length("k", k)
        asked = known_indices(dict.fromkeys(_ids(items)), self._recommender.dataset.items[c.ITEM_ID], "item")
        parts = SimilarItems(self._recommender).lists(asked, k)
        return pa.concat_tables([schemas.SIMILAR.empty_table(), *parts]).to_pandas()

    def audience(self, items: Sequence[str] = (), text: str | None = None, size: int = 5_000) -> pd.DataFrame:
        """The users who are likeliest to buy one of some items, or an item with this text.

        Returns:
            As audience.parquet: ``user_id``, ``rank``, ``score``, ``item_id``, ``because``.

        Raises:
            ConfigError: if there are neither items nor a text, or both.
            InputError: if an item is not in the data.
        """
        from crossrec_cli.ranking.audience import AudienceMaker  # noqa: PLC0415

        items = _ids(items)
        if bool(items) == (text is not None) or (text is not None and not text.strip()):
            raise ConfigError(["name items, or give a text"])
        _check_length("size", size)
        maker = AudienceMaker(self._recommender)
        audience = maker.of_text(text, self._inputs(SEARCH), size) if text is not None else maker.of_items(items, size)
        return pa.concat_tables([schemas.AUDIENCE.empty_table(), *maker.rows(audience)]).to_pandas()

    def search(self, query: str, user: str | None = None, k: int | None = None) -> pd.DataFrame:
        """The items that fit a query and the user's interest best: as found.parquet.

        Raises:
            ArtifactError: if ``crossrec search`` has not made an index yet.
            InputError: if there is no such user, or the query is empty.
        """
        _check_length("k", k)
        return self._searcher.search(query, user, k=k or self.config.search.k).to_pandas()

    @property
    def metrics(self) -> pd.DataFrame:
        """The figures of evaluate: as metrics.parquet.

        Raises:
            ArtifactError: if there is no up-to-date evaluation.
        """
        return parquet.read_table(up_to_date(self.config, EVALUATE, Silent()).file(METRICS)).to_pandas()

    @cached_property
    def _recommender(self) -> Recommender:
        from crossrec_cli.ranking.recommender import Recommender  # noqa: PLC0415

        return Recommender(self.config, self._inputs(RECOMMEND), Silent())

    @cached_property
    def _searcher(self) -> Searcher:
        from crossrec_cli.ranking.searcher import Searcher  # noqa: PLC0415

        index = up_to_date(self.config, SEARCH, Silent())
        return Searcher.load(self.config, self._inputs(SEARCH), index.path, self._recommender)

    def _inputs(self, stage: str) -> dict[str, Path]:
        """The files that a stage reads, by stage/name."""
        return inputs_of(self.config, stage, exported=self.exported)

    def __repr__(self) -> str:
        return f"crossrec_cli.open({os.path.relpath(self.config.run_dir)!r})"

    def _repr_html_(self) -> str:
        """How a notebook shows it."""
        dataset = self._recommender.dataset
        counts = [
            ("users", len(dataset.known_users)),
            ("items", dataset.items.num_rows),
            ("items to recommend", len(self._recommender.pool.items)),
            ("interactions", len(dataset.histories.items.values)),
        ]
        rows = "".join(f"<tr><td>{name}</td><td>{count:,}</td></tr>" for name, count in counts)
        return f"<b>crossrec</b> {escape(os.path.relpath(self.config.run_dir))}<table>{rows}</table>"


def _ids(given: Sequence[str] | str) -> list[str]:
    """Ids as text; one alone may stand for itself."""
    values = [given] if isinstance(given, str | int) else given
    try:
        return [as_id(value) for value in values]
    except ValueError as error:
        raise InputError(f"an id {error}") from None


def _check_length(name: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise ConfigError([f"{name} is {value}; it must be at least 1"])
