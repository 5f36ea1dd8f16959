"""Raw exports of all platforms to clean tables. Every removed row is counted, and kept with its reason."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

import ibis
import ibis.expr.types as ir

from crossrec_cli.artifacts import columns as c
from crossrec_cli.config.data_fields import Data
from crossrec_cli.config.schema import Config
from crossrec_cli.config.source_fields import Platform
from crossrec_cli.config.task_fields import Domains
from crossrec_cli.data.catalogue import assign_domains, excluded, price_bands, read_items, read_users, tag_list, union
from crossrec_cli.data.engine import Engine
from crossrec_cli.data.identity import OTHER_ITEM_ID, as_links, list_id, number, propose, read_links
from crossrec_cli.data.ids import ITEM_FORMS, USER_FORMS
from crossrec_cli.data.interactions import CLOCK, MARK, columns_to_carry, read_interactions
from crossrec_cli.data.ledger import COLUMNS, FILE_BITS, Ledger, Reason
from crossrec_cli.data.raw_files import SOURCE_ROW
from crossrec_cli.data.row_rules import (
    decayed,
    duplicates,
    enough_interactions,
    no_bots,
    no_overruled,
    no_repeats,
    no_returns,
)
from crossrec_cli.errors import InputError

LISTED = "listed"
"""Whether a user is in a users file."""
FEW_MATCH = 0.1
"""A warning if less than this share of the smaller number of ids is in both files."""
ROW_RULES = [
    Reason.NO_USER,
    Reason.NO_ITEM,
    Reason.NO_TIME,
    Reason.NO_QUANTITY,
    Reason.NO_RATING,
    Reason.TOO_EARLY,
    Reason.FUTURE,
    Reason.UNKNOWN_EVENT,
    Reason.LOW_RATING,
    Reason.ZERO_QUANTITY,
    Reason.EXCLUDED,
    Reason.UNKNOWN_ITEM,
    Reason.NO_TEXT,
    Reason.OUTSIDE,
]


@dataclass(frozen=True)
class Cleaned:
    """The clean tables, before the split."""

    rows: ir.Table
    """user_key, item_key, clock, source_row, what ``columns_to_carry`` names, and ``MARK`` with ``split.column``."""
    left_users: ir.Table
    """user_key of users with enough interactions; ``rows`` still has the others' rows."""
    left_items: ir.Table
    """item_key of items with enough interactions, likewise."""
    items: ir.Table
    """The catalogue: item_key, item_id, platform, domain, category, brand, price, price_band, language, text."""
    users: ir.Table
    """user_key, user_id, platform, tags, and ``LISTED``."""
    user_ids: ir.Table
    """The platforms' user ids: platform, and all of ``USER_FORMS``."""
    item_ids: ir.Table
    """The platforms' item ids: platform, and all of ``ITEM_FORMS``."""
    item_links: ir.Table | None
    """Pairs of items that have similar texts; None unless ``data.identity.match_items`` is set."""

    def without(self, engine: Engine, items: ir.Table) -> Cleaned:
        """Without some items, and without users who have no other items and are in no users file."""
        left_items = engine.keep(self.left_items.anti_join(items, c.ITEM_KEY), "items")
        rest = self.rows.semi_join(left_items, c.ITEM_KEY).semi_join(self.left_users, c.USER_KEY)
        rest = engine.keep(rest.select(c.USER_KEY).distinct(), "users")
        users = self.users.mutate(stays=self.users[LISTED]).left_join(rest.mutate(has_rows=True), c.USER_KEY)
        users = users.filter(users["stays"] | users["has_rows"].fill_null(False)).select(self.users.columns)
        return replace(
            self,
            left_users=rest,
            left_items=left_items,
            items=engine.keep(self.items.anti_join(items, c.ITEM_KEY), "items"),
            users=engine.keep(users, "users"),
        )


def clean(engine: Engine, config: Config, ledger: Ledger, limit: int | None = None) -> Cleaned:
    """Read every platform and keep the rows that can be used.

    Args:
        engine: the engine.
        config: the whole config.
        ledger: counts and keeps the removed rows.
        limit: interactions to read of each platform, for a quick check; None for all.

    Raises:
        InputError: if a file, column or category is missing, a rule is set to fail and a row breaks it, or nothing of
            the source or the target is left.
    """
    data = config.data
    items, item_ids, item_links = _items(engine, config, ledger)
    files_users = read_users(engine, data, ledger)
    parts, first_files = [], []
    for index in range(len(data.platforms)):
        first_files.append(len(engine.read_files))
        parts.append(read_interactions(engine, data, index, limit, ledger, config.split.column))
    user_ids = _user_ids(engine, parts, files_users, data, ledger)
    rows = _numbered(engine, parts, user_ids, item_ids, items, data, ledger)
    for part in parts:
        engine.drop(part)
    _note_times(engine, rows, first_files, data, ledger)
    for rule in (no_returns, no_overruled, no_repeats, no_bots):
        rows = rule(engine, rows, data, ledger)
    ledger.note_left("clean", rows, "no interaction is left; look at data.clean")
    ledger.note(c.REACH, c.IN_CATALOGUE, engine.count(items.filter(items[c.DOMAIN] == c.TARGET)))
    ledger.note(c.REACH, c.PEOPLE, engine.count(_people(files_users, user_ids, rows).distinct()))
    rows, left = enough_interactions(engine, decayed(engine, rows, data), data, ledger)
    catalogue = items.filter(items[c.DOMAIN].notnull() & _has_text(items, data))
    left_users, left_items = left[c.USER_KEY], left[c.ITEM_KEY]
    bought = catalogue.semi_join(left_items, c.ITEM_KEY)
    require_both_domains(engine, bought, config.domains)
    if data.min_interactions.item and config.split.strategy != "cold_items":
        catalogue = bought  # ``split`` then also removes items without training; cold items would show by being bought
    users = _users(files_users, user_ids, left_users, data)
    return Cleaned(rows, left_users, left_items, catalogue, users, user_ids, item_ids, item_links)


def _items(engine: Engine, config: Config, ledger: Ledger) -> tuple[ir.Table, ir.Table, ir.Table | None]:
    """The items with domain and price band; the forms of all item ids; the pairs that text matching proposes."""
    data = config.data
    listings = read_items(engine, data, ledger)
    listings = listings.mutate(**{c.ITEM_ID: list_id(listings, data, ITEM_FORMS)})
    links = read_links(engine, data.identity.items, "data.identity.items", ledger)
    match, proposed = data.identity.match_items, None
    if match is not None:
        proposed = propose(engine, listings, match)
        if match.apply is not None:
            links.append(as_links(listings, proposed.filter(proposed["confidence"] >= match.apply)))
    item_ids = number(engine, listings, data, links, ledger, ITEM_FORMS, repeats=False)
    items = listings.drop(c.ITEM_ID).inner_join(item_ids, [c.PLATFORM, c.PLATFORM_ITEM_ID])
    if len(data.platforms) > 1 or links:
        items = _one_listing_each(items, data)
    items = items.drop(SOURCE_ROW, c.PLATFORM_ITEM_ID, c.ITEM_NUMBER)
    items = price_bands(assign_domains(engine, items, config.domains))
    item_links = None
    if proposed is not None:
        kept = engine.keep(_with_texts(proposed, listings, item_ids), "items")  # a kept table has no order
        item_links = kept.order_by(ibis.desc("confidence"), c.ITEM_ID, OTHER_ITEM_ID)
    items = engine.keep(items, "items")
    engine.drop(listings)
    return items, item_ids, item_links


def _with_texts(proposed: ir.Table, listings: ir.Table, item_ids: ir.Table) -> ir.Table:
    """Proposed pairs in the form of ``schemas.ITEM_LINKS``; pairs that are now one item are ``applied``."""
    own = [c.PLATFORM, c.PLATFORM_ITEM_ID]
    listings = listings.select(*own, c.ITEM_ID, c.TEXT).inner_join(item_ids.select(*own, c.ITEM_KEY), own)
    for prefix in ("", "other_"):
        end = {f"{prefix}{name}": listings[name] for name in (c.ITEM_ID, c.TEXT, c.ITEM_KEY)}
        proposed = proposed.inner_join(listings.select(**end), f"{prefix}{c.ITEM_ID}")
    return proposed.mutate(applied=proposed[c.ITEM_KEY] == proposed[f"other_{c.ITEM_KEY}"])


def _one_listing_each(items: ir.Table, data: Data) -> ir.Table:
    """One listing of an item on several platforms: one with a text, on the platform that the config names first."""
    index = ibis.cases(*((items[c.PLATFORM] == shop.name, i) for i, shop in enumerate(data.platforms)), else_=-1)
    order = [items[c.TEXT].isnull(), index, items[c.ITEM_NUMBER]]
    nth = ibis.row_number().over(group_by=c.ITEM_KEY, order_by=order)
    return items.mutate(nth=nth).filter(ibis._.nth == 0).drop("nth")


def _has_text(items: ir.Table, data: Data) -> ir.BooleanValue:
    """Whether an item has a text, or needs none."""
    return items[c.TEXT].notnull() | (data.clean.items_without_text == "keep")


def _user_ids(
    engine: Engine, parts: Sequence[ir.Table], users: ir.Table | None, data: Data, ledger: Ledger
) -> ir.Table:
    """The forms of all user ids that have an interaction or are in a users file."""
    own, all_ids = c.PLATFORM_USER_ID, []
    for platform, part in zip(data.platforms, parts, strict=True):
        # Kept, so that only the distinct ids are searched for nulls.
        ids = engine.keep(part.select(own).distinct(), "interactions").drop_null(own)
        if users is not None and platform.users is not None:
            listed = users.filter(users[c.PLATFORM] == platform.name).select(own)
            _note_matches(engine, ids, listed, platform, ledger)
        all_ids.append(ids.select(own, **{c.PLATFORM: ibis.literal(platform.name)}))
    if users is not None:
        all_ids.append(users.select(own, c.PLATFORM))
    links = read_links(engine, data.identity.users, "data.identity.users", ledger)
    return number(engine, union(all_ids), data, links, ledger, USER_FORMS, repeats=len(all_ids) > 1)


def _note_matches(engine: Engine, buyers: ir.Table, listed: ir.Table, platform: Platform, ledger: Ledger) -> None:
    """Count the users of a users file with an interaction; warn if they are so few that the ids seem to differ."""
    own = c.PLATFORM_USER_ID
    sizes = [engine.count(ids) for ids in (listed, buyers, listed.semi_join(buyers, own))]
    ledger.note("listed_users", "in the users file", sizes[0], platform.name)
    ledger.note("listed_users", "with an interaction", sizes[2], platform.name)
    if sizes[2] < FEW_MATCH * min(sizes[:2]):
        one, other = (engine.fetch(ids.order_by(own).limit(1))[own][0].as_py() for ids in (listed, buyers))
        path = platform.users.path if platform.users else ""
        ledger.warnings.append(
            f"{path}: {sizes[2]:,} of {sizes[0]:,} ids of the users file bought anything; a user's id is '{one}' "
            f"there, '{other}' in the interactions"
        )


def _note_times(engine: Engine, rows: ir.Table, first_files: Sequence[int], data: Data, ledger: Ledger) -> None:
    """Note each platform's earliest and latest time, in seconds since 1970."""
    if data.platforms[0].interactions.columns.timestamp is None:
        return
    file = rows[SOURCE_ROW] >> FILE_BITS
    by_file = rows.group_by(file=file).aggregate(first=rows[CLOCK].min(), last=rows[CLOCK].max())
    spans: dict[str, list[datetime]] = {}
    for row in engine.fetch(by_file.order_by("file")).to_pylist():
        platform = data.platforms[bisect_right(first_files, row["file"]) - 1]
        spans.setdefault(platform.name, []).extend((row["first"], row["last"]))
    for name, times in spans.items():
        ledger.note("times", "earliest", min(times).replace(tzinfo=UTC).timestamp(), name)
        ledger.note("times", "latest", max(times).replace(tzinfo=UTC).timestamp(), name)


def _numbered(
    engine: Engine,
    parts: Sequence[ir.Table],
    user_ids: ir.Table,
    item_ids: ir.Table,
    items: ir.Table,
    data: Data,
    ledger: Ledger,
) -> ir.Table:
    """The usable rows of items in source or target, with keys instead of ids, without duplicates."""
    facts = items.select(c.ITEM_KEY, c.DOMAIN, has_text=_has_text(items, data))
    item_ids = item_ids.drop(c.ITEM_ID).inner_join(facts, c.ITEM_KEY)
    numbered = []
    for platform, part in zip(data.platforms, parts, strict=True):
        user = user_ids.filter(user_ids[c.PLATFORM] == platform.name).drop(c.PLATFORM, c.USER_ID)
        item = item_ids.filter(item_ids[c.PLATFORM] == platform.name).drop(c.PLATFORM)
        no_product = Reason.first((excluded(part[c.PLATFORM_ITEM_ID], platform.items.exclude), Reason.EXCLUDED))
        usable = part.mutate(**{c.REASON: ibis.coalesce(part[c.REASON], no_product)})
        joined = usable.left_join(user, c.PLATFORM_USER_ID).left_join(item, c.PLATFORM_ITEM_ID)
        own = (c.PLATFORM_USER_ID, c.PLATFORM_ITEM_ID)
        numbered.append(joined.drop(*own, *(f"{name}_right" for name in own)))
    rows = _one_clock(union(numbered), data)
    of_item = Reason.first(
        (rows[c.ITEM_KEY].isnull(), Reason.UNKNOWN_ITEM),
        (~rows["has_text"], Reason.NO_TEXT),
        (rows[c.DOMAIN].isnull(), Reason.OUTSIDE),
    )
    carried = [
        SOURCE_ROW,
        c.USER_KEY,
        c.ITEM_KEY,
        CLOCK,
        *columns_to_carry(data),
        *(name for name in (MARK,) if name in rows.columns),
    ]
    rows = rows.select(*carried, **{c.REASON: ibis.coalesce(rows[c.REASON], of_item)})
    joined = engine.keep(rows, "interactions")  # joining and sorting in one step needs too much memory
    rows, repeats = duplicates(joined, data)
    rows = engine.keep(rows, "interactions")
    engine.drop(joined)
    read = engine.count(rows)
    if not read:
        raise InputError(f"{data.platforms[0].interactions.path}: has no row")
    ledger.note("interactions_left", "read", read)
    hints = {Reason.UNKNOWN_ITEM: partial(_ids_to_compare, engine, parts[0], item_ids)}
    return ledger.remove_flagged(rows, [*ROW_RULES, *repeats], "interactions", first=True, hints=hints)


def _ids_to_compare(engine: Engine, part: ir.Table, item_ids: ir.Table) -> str:
    tables = (part, item_ids)
    own = [engine.fetch(table.select(c.PLATFORM_ITEM_ID).drop_null().limit(1))[0].to_pylist() for table in tables]
    bought, listed = (ids[0] if ids else "" for ids in own)
    return f"{COLUMNS}; an item's id is '{bought}' there, '{listed}' in the items"


def _one_clock(rows: ir.Table, data: Data) -> ir.Table:
    """If only an order inside a category is known, source history counts as earlier than target history."""
    if data.platforms[0].interactions.columns.timestamp is not None:
        return rows
    earliest, latest = rows[CLOCK].min(), rows[CLOCK].max()
    span = (latest - earliest + 1).over(ibis.window())
    return rows.mutate(**{CLOCK: rows[CLOCK] + ibis.ifelse(rows[c.DOMAIN] == c.TARGET, span, 0)})


def require_both_domains(engine: Engine, bought: ir.Table, domains: Domains) -> None:
    """Check that there are items of source and target.

    Raises:
        InputError: if there are none of one.
    """
    present = engine.fetch(bought.select(c.DOMAIN).distinct())[c.DOMAIN].to_pylist()
    required = ((c.TARGET, domains.target), (c.SOURCE, domains.source))
    for name, domain in required[: 1 if domains.same else 2]:
        if name not in present:
            raise InputError(
                f"domains.{name}: no interaction with {', '.join(domain.category)} is left after cleaning; "
                "look at the categories and at data.min_interactions"
            )


def _people(files_users: ir.Table | None, user_ids: ir.Table, rows: ir.Table) -> ir.Table:
    """``USER_KEY`` of users with an interaction or in a users file, some of them twice."""
    users = rows.select(c.USER_KEY)
    if files_users is None:
        return users
    listed = files_users.inner_join(user_ids, [c.PLATFORM, c.PLATFORM_USER_ID])
    return users.union(listed.select(c.USER_KEY))


def _users(files_users: ir.Table | None, user_ids: ir.Table, left: ir.Table, data: Data) -> ir.Table:
    """Users with an interaction or in a users file. Who is on several platforms has the tags of all."""
    user = c.USER_KEY
    tagged = None
    if files_users is not None:
        listed = files_users.inner_join(user_ids, [c.PLATFORM, c.PLATFORM_USER_ID])
        tags = listed.select(user, tag=listed[c.TAGS].unnest()).distinct()
        tagged = tags.group_by(user).aggregate(**{c.TAGS: tags["tag"].collect().sort()})
        tagged = listed.select(user).distinct().left_join(tagged, user).select(user, c.TAGS)
    people = user_ids.semi_join(_people(files_users, user_ids, left), user)
    people = people.filter(list_id(people, data, USER_FORMS) == people[c.USER_ID])
    people = people.select(user, c.USER_ID, c.PLATFORM)
    nothing = tag_list([])
    if tagged is None:
        return people.mutate(**{c.TAGS: nothing, LISTED: ibis.literal(False)})
    people = people.left_join(tagged.mutate(**{LISTED: ibis.literal(True)}), user)
    all_tags, is_listed = ibis.coalesce(people[c.TAGS], nothing), people[LISTED].fill_null(False)
    return people.select(user, c.USER_ID, c.PLATFORM, **{c.TAGS: all_tags, LISTED: is_listed})
