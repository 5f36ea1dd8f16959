"""Config fields of which ids mean the same person or item: meaning, unit, bound, default."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from crossrec_cli.config.field_types import Section
from crossrec_cli.config.source_fields import Source


class LinkEnd(Section):
    """One side of a mapping table."""

    platform: str
    id: str
    """The column with that platform's id."""


class Links(Source):
    """A mapping table: in each row, the two ids mean the same. Two columns of one platform join its devices."""

    left: LinkEnd
    right: LinkEnd


class ItemMatch(Section):
    """Match items of different platforms by the rare words that their texts share."""

    propose: Annotated[float, Field(gt=0, le=1)] = 0.6
    """Pairs with at least this confidence are written to item_links.parquet."""
    apply: Annotated[float, Field(gt=0, le=1)] | None = None
    """Pairs with at least this confidence become one item; null: off."""


class Identity(Section):
    """Which ids of different platforms or devices mean the same person or item."""

    users: tuple[Links, ...] = ()
    items: tuple[Links, ...] = ()
    conflicts: Literal["apart", "merge", "fail"] = "apart"
    """What to do if links would join two ids of one platform, and no table joins ids of that platform: join none of
    them (``apart``), join all of them (``merge``), or stop (``fail``)."""
    match_items: ItemMatch | None = None
