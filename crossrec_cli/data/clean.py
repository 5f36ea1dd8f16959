"""Raw exports to clean tables, of all platforms. Every row that is left out is counted, and kept with its reason."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import ibis
import ibis.expr.types as ir

from crossrec_cli.artifacts import columns as c
from crossrec_cli.config.data_fields import Data, Domains
from crossrec_cli.config.schema import Config
from crossrec_cli.config.source_fields import Platform
from crossrec_cli.data.catalogue import assign_domains, excluded, price_bands, read_items, read_users, tag_list, union
from crossrec_cli.data.engine import Engine
from crossrec_cli.data.identity import ACCOUNT, ID, KEY, OWN, as_links, number, propose, read_links, with_id
from crossrec_cli.data.interactions import CLOCK, ITEM, LISTING, MARK, USER, columns_to_carry, read_interactions
from crossrec_cli.data.ledger import COLUMNS, FILE_BITS, Ledger, Reason
from crossrec_cli.data.raw_files import SOURCE_ROW
from crossrec_cli.data.row_rules import decayed, duplicates, enough_interactions, no_bots, no_repeats, no_returns
from crossrec_cli.errors import InputError

LISTED = "listed"
"""Whether a user stands in a users file."""
FEW_MATCH = 0.1
"""Of the smaller number of ids."""
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
    Reason.NOTHING,
    Reason.EXCLUDED,
    Reason.UNKNOWN_ITEM,
    Reason.NO_TEXT,
    Reason.OUTSIDE,
]


@dataclass(frozen=True)
class Cleaned:
    """What can be learned from."""

    rows: ir.Table
    """user, item, clock, source_row, what ``columns_to_carry`` names, and ``MARK`` where a row has a purpose."""
    left_users: ir.Table
    """Users with enough interactions; the others' rows are still among ``rows``."""
    left_items: ir.Table
    """Items with enough interactions, likewise."""
    items: ir.Table
    """The catalogue: item, item_id, platform, domain, category, brand, price, price_band, language, text."""
    users: ir.Table
    """user, user_id, platform, tags, and ``LISTED``."""
    accounts: ir.Table
    """The platforms' own user ids: platform, own id, account, user."""
    listings: ir.Table
    """The platforms' own item ids: platform, own id, listing, item."""
    item_links: ir.Table | None
    """Items whose texts say that they are the same."""

    def without(self, engine: Engine, items: ir.Table) -> Cleaned:
        """Without some items, and without users who have nothing else and stand in no users file."""
        left_items = engine.keep(self.left_items.anti_join(items, ITEM), "items")
        rest = self.rows.semi_join(left_items, ITEM).semi_join(self.left_users, USER).select(USER).distinct()
        rest = engine.keep(rest, "users")
        users = self.users.mutate(stays=self.users[LISTED]).left_join(rest.mutate(has_rows=True), USER)
        users = users.filter(users["stays"] | users["has_rows"].fill_null(False)).select(self.users.columns)
        return replace(
            self,
            left_users=rest,
            left_items=left_items,
            items=engine.keep(self.items.anti_join(items, ITEM), "items"),
            users=engine.keep(users, "users"),
        )


def clean(engine: Engine, config: Config, ledger: Ledger, limit: int | None = None) -> Cleaned:
    """Read every platform and keep what can be learned from.

    Args:
        engine: the engine.
        config: the whole config.
        ledger: told what became of every row.
        limit: interactions to read of each platform, for a quick look; None for all.

    Raises:
        InputError: if a file, column or category is missing, a rule is set to fail and met something, or nothing is
            left of source or target.
    """
    data = config.data
    items, listings, item_links = _items(engine, config, ledger)
    files_users = read_users(engine, data, ledger)
    parts, first_files = [], []
    for index in range(len(data.platforms)):
        first_files.append(len(engine.read_files))
        parts.append(read_interactions(engine, data, index, limit, ledger, config.split.column))
    accounts = _accounts(engine, parts, files_users, data, ledger)
    rows = _numbered(engine, parts, accounts, listings, items, data, ledger)
    for part in parts:
        engine.drop(part)
    _note_times(engine, rows, first_files, data, ledger)
    for rule in (no_returns, no_repeats, no_bots):
        rows = rule(engine, rows, data, ledger)
    ledger.note_left("clean", rows, "no interaction is left; look at data.clean")
    ledger.note(c.REACH, c.IN_CATALOGUE, engine.count(items.filter(items[c.DOMAIN] == c.TARGET)))
    ledger.note(c.REACH, c.PEOPLE, engine.count(_users(files_users, accounts, rows, data)))
    rows, left = enough_interactions(engine, decayed(engine, rows, data), data, ledger)
    catalogue = items.filter(items[c.DOMAIN].notnull() & _has_text(items, data))
    bought = catalogue.semi_join(left[ITEM], ITEM)
    require_both_domains(engine, bought, config.domains)
    if data.min_interactions.item and config.split.strategy != "cold_items":
        catalogue = bought  # and in training, which ``split`` sees to; cold items would be known by having been bought
    users = _users(files_users, accounts, left[USER], data)
    return Cleaned(rows, left[USER], left[ITEM], catalogue, users, accounts, listings, item_links)


def _items(engine: Engine, config: Config, ledger: Ledger) -> tuple[ir.Table, ir.Table, ir.Table | None]:
    """The items with domain and price band; the platforms' ids and whose they are; what text matching proposes."""
    data = config.data
    own = with_id(read_items(engine, data, ledger).rename({OWN: c.ITEM_ID}), data)
    links = read_links(engine, data.identity.items, "data.identity.items", ledger)
    match, proposed = data.identity.match_items, None
    if match is not None:
        proposed = propose(engine, own, match)
        if match.apply is not None:
            links.append(as_links(own, proposed.filter(proposed["confidence"] >= match.apply)))
    listings = number(engine, own, data, links, ledger, "items", repeats=False).rename(
        {LISTING: ACCOUNT, ITEM: KEY, c.ITEM_ID: ID}
    )
    items = own.inner_join(listings, [c.PLATFORM, OWN])
    if len(data.platforms) > 1 or links:
        items = _one_listing_each(items, data)
    items = price_bands(assign_domains(engine, items.drop(SOURCE_ROW, LISTING, OWN, ID), config.domains))
    item_links = None
    if proposed is not None:
        kept = engine.keep(_with_texts(proposed, own, listings), "items")  # a kept table has no order
        item_links = kept.order_by(ibis.desc("confidence"), c.ITEM_ID, f"other_{c.ITEM_ID}")
    items = engine.keep(items, "items")
    engine.drop(own)
    return items, listings, item_links


def _with_texts(proposed: ir.Table, own: ir.Table, listings: ir.Table) -> ir.Table:
    """Proposed pairs in the form of ``schemas.ITEM_LINKS``; applied are those that are one item by now."""
    known = own.select(c.PLATFORM, OWN, ID, c.TEXT).inner_join(
        listings.select(c.PLATFORM, OWN, ITEM), [c.PLATFORM, OWN]
    )
    for name, prefix in ((ID, ""), (f"other_{ID}", "other_")):
        end = known.select(**{name: known[ID], f"{prefix}{c.TEXT}": known[c.TEXT], f"{prefix}{ITEM}": known[ITEM]})
        proposed = proposed.inner_join(end, name)
    return proposed.mutate(
        applied=proposed[ITEM] == proposed[f"other_{ITEM}"],
        **{c.ITEM_ID: proposed[ID], f"other_{c.ITEM_ID}": proposed[f"other_{ID}"]},
    )


def _one_listing_each(items: ir.Table, data: Data) -> ir.Table:
    """Of an item on several platforms the listing that has a text, on the platform that the config names first."""
    place = ibis.cases(*((items[c.PLATFORM] == shop.name, nth) for nth, shop in enumerate(data.platforms)), else_=-1)
    nth = ibis.row_number().over(group_by=ITEM, order_by=[items[c.TEXT].isnull(), place, items[LISTING]])
    return items.mutate(nth=nth).filter(ibis._.nth == 0).drop("nth")


def _has_text(items: ir.Table, data: Data) -> ir.BooleanValue:
    """Whether an item stays, for its text's sake."""
    return items[c.TEXT].notnull() | (data.clean.items_without_text == "keep")


def _accounts(
    engine: Engine, parts: Sequence[ir.Table], users: ir.Table | None, data: Data, ledger: Ledger
) -> ir.Table:
    """Every platform's user ids, of whoever did something or stands in a users file, and whose they are."""
    own = []
    for platform, part in zip(data.platforms, parts, strict=True):
        # Kept, so that nulls are looked for among the distinct ids alone.
        ids = engine.keep(part.select(**{OWN: part[c.USER_ID]}).distinct(), "interactions").drop_null(OWN)
        if users is not None and platform.users is not None:
            listed = users.filter(users[c.PLATFORM] == platform.name).select(**{OWN: users[c.USER_ID]})
            _note_matches(engine, ids, listed, platform, ledger)
        own.append(ids.select(OWN, **{c.PLATFORM: ibis.literal(platform.name)}))
    if users is not None:
        own.append(users.select(**{OWN: users[c.USER_ID]}, **{c.PLATFORM: users[c.PLATFORM]}))
    links = read_links(engine, data.identity.users, "data.identity.users", ledger)
    return number(engine, union(own), data, links, ledger, "users", repeats=len(own) > 1).rename(
        {USER: KEY, c.USER_ID: ID}
    )


def _note_matches(engine: Engine, buyers: ir.Table, listed: ir.Table, platform: Platform, ledger: Ledger) -> None:
    """Count who of a users file has an interaction, and warn where these are so few that the ids seem to differ."""
    sizes = [engine.count(ids) for ids in (listed, buyers, listed.semi_join(buyers, OWN))]
    ledger.note("listed_users", "in the users file", sizes[0], platform.name)
    ledger.note("listed_users", "with an interaction", sizes[2], platform.name)
    if sizes[2] < FEW_MATCH * min(sizes[:2]):
        one, other = (engine.fetch(ids.order_by(OWN).limit(1))[OWN][0].as_py() for ids in (listed, buyers))
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
    found = rows.group_by(file=file).aggregate(first=rows[CLOCK].min(), last=rows[CLOCK].max())
    spans: dict[str, list[datetime]] = {}
    for row in engine.fetch(found.order_by("file")).to_pylist():
        platform = data.platforms[bisect_right(first_files, row["file"]) - 1]
        spans.setdefault(platform.name, []).extend((row["first"], row["last"]))
    for name, times in spans.items():
        ledger.note("times", "earliest", min(times).replace(tzinfo=UTC).timestamp(), name)
        ledger.note("times", "latest", max(times).replace(tzinfo=UTC).timestamp(), name)


def _numbered(
    engine: Engine,
    parts: Sequence[ir.Table],
    accounts: ir.Table,
    listings: ir.Table,
    items: ir.Table,
    data: Data,
    ledger: Ledger,
) -> ir.Table:
    """The usable rows of items in source or target, with numbers in place of ids, and none of them twice."""
    domains = items.select(ITEM, c.DOMAIN, has_text=_has_text(items, data))
    known = listings.select(c.PLATFORM, OWN, LISTING, ITEM).inner_join(domains, ITEM)
    numbered = []
    for platform, part in zip(data.platforms, parts, strict=True):
        user = accounts.filter(accounts[c.PLATFORM] == platform.name)
        user = user.select(ACCOUNT, USER, **{c.USER_ID: user[OWN]})
        item = known.filter(known[c.PLATFORM] == platform.name)
        item = item.select(LISTING, ITEM, c.DOMAIN, "has_text", **{c.ITEM_ID: item[OWN]})
        no_product = Reason.first((excluded(part[c.ITEM_ID], platform.items.exclude), Reason.EXCLUDED))
        usable = part.mutate(**{c.REASON: ibis.coalesce(part[c.REASON], no_product)})
        found = usable.left_join(user, c.USER_ID).left_join(item, c.ITEM_ID)
        numbered.append(found.drop(c.USER_ID, f"{c.USER_ID}_right", c.ITEM_ID, f"{c.ITEM_ID}_right"))
    rows = _one_clock(union(numbered), data)
    of_item = Reason.first(
        (rows[ITEM].isnull(), Reason.UNKNOWN_ITEM),
        (~rows["has_text"], Reason.NO_TEXT),
        (rows[c.DOMAIN].isnull(), Reason.OUTSIDE),
    )
    carried = [
        SOURCE_ROW,
        USER,
        ITEM,
        CLOCK,
        *columns_to_carry(data),
        *(name for name in (MARK,) if name in rows.columns),
    ]
    rows = rows.select(*carried, **{c.REASON: ibis.coalesce(rows[c.REASON], of_item)})
    joined = engine.keep(rows, "interactions")  # joining and sorting at once takes too much memory
    rows, repeats = duplicates(joined, data)
    rows = engine.keep(rows, "interactions")
    engine.drop(joined)
    read = engine.count(rows)
    if not read:
        raise InputError(f"{data.platforms[0].interactions.path}: holds no row")
    ledger.note("interactions_left", "read", read)
    hints = {Reason.UNKNOWN_ITEM: _ids_to_compare(engine, parts[0], listings)}
    return ledger.remove_flagged(rows, [*ROW_RULES, *repeats], "interactions", first=True, hints=hints)


def _ids_to_compare(engine: Engine, part: ir.Table, listings: ir.Table) -> str:
    bought = engine.fetch(part.select(c.ITEM_ID).drop_null().limit(1))[c.ITEM_ID].to_pylist()
    known = engine.fetch(listings.select(OWN).limit(1))[OWN].to_pylist()
    return (
        f"{COLUMNS}; an item's id is '{bought[0] if bought else ''}' there, '{known[0] if known else ''}' in the items"
    )


def _one_clock(rows: ir.Table, data: Data) -> ir.Table:
    """Where only an order inside a category is known, source history counts as earlier than target history."""
    if data.platforms[0].interactions.columns.timestamp is not None:
        return rows
    earliest, latest = rows[CLOCK].min(), rows[CLOCK].max()
    span = (latest - earliest + 1).over(ibis.window())
    return rows.mutate(**{CLOCK: rows[CLOCK] + ibis.ifelse(rows[c.DOMAIN] == c.TARGET, span, 0)})


def require_both_domains(engine: Engine, bought: ir.Table, domains: Domains) -> None:
    """See that there are items of both.

    Raises:
        InputError: if there are none of one.
    """
    there = engine.fetch(bought.select(c.DOMAIN).distinct())[c.DOMAIN].to_pylist()
    wanted = ((c.TARGET, domains.target), (c.SOURCE, domains.source))
    for name, domain in wanted[: 1 if domains.same else 2]:
        if name not in there:
            raise InputError(
                f"domains.{name}: no interaction with {', '.join(domain.category)} is left after cleaning; "
                "look at the categories and at data.min_interactions"
            )


def _users(files_users: ir.Table | None, accounts: ir.Table, left: ir.Table, data: Data) -> ir.Table:
    """Whoever has an interaction or stands in a users file; of several platforms, with the tags of all."""
    there = left.select(USER)
    tagged = None
    if files_users is not None:
        theirs = files_users.rename({OWN: c.USER_ID}).inner_join(accounts, [c.PLATFORM, OWN])
        there = there.union(theirs.select(USER), distinct=True)
        tags = theirs.select(USER, tag=theirs[c.TAGS].unnest()).distinct()
        tagged = tags.group_by(USER).aggregate(**{c.TAGS: tags["tag"].collect().sort()})
        tagged = theirs.select(USER).distinct().left_join(tagged, USER).select(USER, c.TAGS)
    people = with_id(accounts.semi_join(there, USER), data)
    people = people.filter(people[ID] == people[c.USER_ID]).select(USER, c.USER_ID, c.PLATFORM)
    nothing = tag_list([])
    if tagged is None:
        return people.mutate(**{c.TAGS: nothing, LISTED: ibis.literal(False)})
    people = people.left_join(tagged.mutate(**{LISTED: ibis.literal(True)}), USER)
    tags, listed = ibis.coalesce(people[c.TAGS], nothing), people[LISTED].fill_null(False)
    return people.select(USER, c.USER_ID, c.PLATFORM, **{c.TAGS: tags, LISTED: listed})
