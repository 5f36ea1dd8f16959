"""Whom to forget, and how files name them."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import pyarrow as pa

from crossrec_cli.config.data_fields import Data
from crossrec_cli.config.secrets import MASKED
from crossrec_cli.data.catalogue import id_prefix
from crossrec_cli.data.ids import FLOAT

_FLOAT = re.compile(FLOAT)
PlatformId = tuple[str, str]
"""A platform's name, and an id as this platform writes it."""


@dataclass(frozen=True)
class People:
    """The people to forget."""

    ids: tuple[str, ...]
    """As lists have them."""
    platform_ids: frozenset[PlatformId] = frozenset()
    raw_rows: Mapping[str, Collection[int]] = field(default_factory=dict)
    """Their rows in raw files, counted from 1, by file."""
    raw_hashes: Mapping[str, str] = field(default_factory=dict)
    """The current hash of each of these files."""

    @classmethod
    def of(cls, ids: pa.Array, data: Data) -> People:
        """With the platforms' ids that their ids in lists are made of."""
        distinct = tuple(dict.fromkeys(ids.to_pylist()))
        own = [
            (platform.name, one.removeprefix(prefix))
            for platform in data.platforms
            for one in distinct
            if one.startswith(prefix := id_prefix(platform, data))
        ]
        return cls(distinct, frozenset(own))

    def with_platform_ids(self, more: Collection[PlatformId]) -> People:
        """With further ids of them."""
        return replace(self, platform_ids=self.platform_ids | frozenset(more))

    def with_raw_rows(self, rows: Mapping[str, Collection[int]], hashes: Mapping[str, str]) -> People:
        """With their rows in raw files."""
        return replace(self, raw_rows=rows, raw_hashes=hashes)

    @cached_property
    def column(self) -> pa.Array:
        """The ids as a column."""
        return pa.array(self.ids, pa.string())

    def one_in(self, cell: str | float | None) -> str | None:
        """The one of them whom a cell of a text file names; None if it names nobody of them.

        Ids are read as ``as_id`` does, which would take minutes for a million cells. ``csv_lines`` puts an apostrophe
        before some.
        """
        text = str(cell).strip().strip("\ufeff").strip()
        text = match[1] if (match := _FLOAT.match(text)) else text
        return next((form for form in (text, text.removeprefix("'")) if form in self._set), None)

    @cached_property
    def _set(self) -> frozenset[str]:
        return frozenset(self.ids)

    def hidden(self, line: str) -> str:
        """A line of a log without their ids.

        Messages have ids in quotes, or after the word "user". Elsewhere, a number or a word may mean anything, so that
        only ids of letters together with digits or signs, such as ``jazz7`` or an address, are hidden there too.
        """
        return self._named.sub(MASKED, line)

    @cached_property
    def _named(self) -> re.Pattern[str]:
        ids = {*self.ids, *(own for _, own in self.platform_ids)}
        forms = sorted({*ids, *(json.dumps(one)[1:-1] for one in ids)}, key=len, reverse=True)
        words = [re.escape(form) for form in forms if re.search(r"[^\W\d_]", form) and re.search(r"[\W\d_]", form)]
        any_form = "|".join(map(re.escape, forms))
        anywhere = [rf"(?<!\w)(?:{'|'.join(words)})(?!\w)"] if words else []
        return re.compile("|".join([rf"(?<=')(?:{any_form})(?=')", rf"(?<=\buser )(?:{any_form})(?!\w)", *anywhere]))
