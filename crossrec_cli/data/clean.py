"""Raw exports to clean tables. Every row that is left out is counted and written down with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count

import ibis
import ibis.expr.types as ir

from crossrec_cli.artifacts import tables as t
from crossrec_cli.config.data import Data, Domains, Interactions
from crossrec_cli.config.schema import Config
from crossrec_cli.data.catalogue import (
    assign_domains,
    price_bands,
    read_items,
    read_users,
    reader,
    tag_list,
    union,
)
from crossrec_cli.data.engine import SOURCE_ROW, Engine
from crossrec_cli.data.identity import ACCOUNT, ID, KEY, OWN, as_links, number, propose, read_links, with_id
from crossrec_cli.data.ledger import COLUMNS, Ledger, Reason
from crossrec_cli.data.values import identifier, moment, words
from crossrec_cli.data.values import number as number_in
from crossrec_cli.errors import InputError

CLOCK = "clock"
"""When an interaction happened: its timestamp, or an order that only compares within a user."""
USER, ITEM = "user", "item"
"""Numbers of the person and the item, in the order of their ids."""
LISTING = "listing"
"""Number of the item on its platform, as ``ACCOUNT`` is of the user."""
IS_RETURN = "is_return"
PURCHASE = "purchase"
WRITTEN_QUANTITY, WRITTEN_RATING = "written_quantity", "written_rating"
"""Whether the file says something there, readable or not."""
ROW_RULES = [
    Reason.NO_USER,
    Reason.NO_ITEM,
    Reason.NO_TIME,
    Reason.NO_QUANTITY,
    Reason.NO_RATING,
    Reason.FUTURE,
    Reason.UNKNOWN_EVENT,
    Reason.LOW_RATING,
    Reason.NOTHING,
    Reason.UNKNOWN_ITEM,
    Reason.NO_TEXT,
    Reason.OUTSIDE,
]
SMALLEST_WEIGHT = 1e-6
"""However old: a weight of 0 would take the interaction away."""


@dataclass(frozen=True)
class Cleaned:
    """What can be learned from."""

    rows: ir.Table
    """user, item, clock, source_row, and what ``varying`` names."""
    left_users: ir.Table
    """Users with enough interactions; the others' rows are still among ``rows``."""
    left_items: ir.Table
    """Items with enough interactions, likewise."""
    items: ir.Table
    """The catalogue: item, item_id, platform, domain, category, brand, price, price_band, language, text."""
    users: ir.Table
    """user, user_id, platform, tags."""
    accounts: ir.Table
    """The platforms' own user ids: platform, own id, account, user."""
    listings: ir.Table
    """The platforms' own item ids: platform, own id, listing, item."""
    item_links: ir.Table | None
    """Items whose texts say that they are the same."""


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
    parts = [_read_interactions(engine, data, index, limit) for index in range(len(data.platforms))]
    accounts = _accounts(engine, parts, files_users, data, ledger)
    rows = _numbered(engine, parts, accounts, listings, items, data, ledger)
    for part in parts:
        engine.drop(part)
    for rule in (_no_returns, _no_repeats, _no_bots):
        rows = rule(engine, rows, data, ledger)
    ledger.note_left("clean", rows, "no interaction is left; look at data.clean")
    rows, left = _enough_interactions(engine, _decayed(engine, rows, data), data, ledger)
    catalogue = items.filter(items[t.DOMAIN].notnull() & _has_text(items, data))
    bought = catalogue.semi_join(left[ITEM], ITEM)
    _require_both_domains(engine, bought, config.domains)
    if data.min_interactions.item:
        catalogue = bought
    users = _users(files_users, accounts, left[USER], data)
    return Cleaned(rows, left[USER], left[ITEM], catalogue, users, accounts, listings, item_links)


def _items(engine: Engine, config: Config, ledger: Ledger) -> tuple[ir.Table, ir.Table, ir.Table | None]:
    """The items with domain and price band; the platforms' ids and whose they are; what text matching proposes."""
    data = config.data
    own = with_id(read_items(engine, data, ledger).rename({OWN: t.ITEM_ID}), data)
    links = read_links(engine, data.identity.items, "data.identity.items")
    match, proposed = data.identity.match_items, None
    if match is not None:
        proposed = propose(engine, own, match)
        if match.apply is not None:
            links.append(as_links(own, proposed.filter(proposed["confidence"] >= match.apply)))
    listings = number(engine, own, data, links, ledger, "items", repeats=False).rename(
        {LISTING: ACCOUNT, ITEM: KEY, t.ITEM_ID: ID}
    )
    items = own.inner_join(listings, [t.PLATFORM, OWN])
    if len(data.platforms) > 1 or links:
        items = _one_listing_each(items, data)
    items = price_bands(assign_domains(engine, items.drop(SOURCE_ROW, LISTING, OWN, ID), config.domains))
    item_links = None
    if proposed is not None:
        kept = engine.keep(_with_texts(proposed, own, listings), "items")  # a kept table has no order
        item_links = kept.order_by(ibis.desc("confidence"), t.ITEM_ID, f"other_{t.ITEM_ID}")
    items = engine.keep(items, "items")
    engine.drop(own)
    return items, listings, item_links


def _with_texts(proposed: ir.Table, own: ir.Table, listings: ir.Table) -> ir.Table:
    """Proposed pairs in the form of ``tables.ITEM_LINKS``; applied are those that are one item by now."""
    known = own.select(t.PLATFORM, OWN, ID, t.TEXT).inner_join(
        listings.select(t.PLATFORM, OWN, ITEM), [t.PLATFORM, OWN]
    )
    for name, prefix in ((ID, ""), (f"other_{ID}", "other_")):
        end = known.select(**{name: known[ID], f"{prefix}{t.TEXT}": known[t.TEXT], f"{prefix}{ITEM}": known[ITEM]})
        proposed = proposed.inner_join(end, name)
    return proposed.mutate(
        applied=proposed[ITEM] == proposed[f"other_{ITEM}"],
        **{t.ITEM_ID: proposed[ID], f"other_{t.ITEM_ID}": proposed[f"other_{ID}"]},
    )


def _one_listing_each(items: ir.Table, data: Data) -> ir.Table:
    """Of an item on several platforms the listing that has a text, on the platform that the config names first."""
    place = ibis.cases(*((items[t.PLATFORM] == shop.name, nth) for nth, shop in enumerate(data.platforms)), else_=-1)
    nth = ibis.row_number().over(group_by=ITEM, order_by=[items[t.TEXT].isnull(), place, items[LISTING]])
    return items.mutate(nth=nth).filter(ibis._.nth == 0).drop("nth")


def _has_text(items: ir.Table, data: Data) -> ir.BooleanValue:
    """Whether an item stays, for its text's sake."""
    return items[t.TEXT].notnull() | (data.clean.items_without_text == "keep")


def _read_interactions(engine: Engine, data: Data, index: int, limit: int | None) -> ir.Table:
    """One platform's rows with its own user and item ids, and with ``REASON`` where a row cannot be used."""
    platform, key = data.platforms[index], f"data.platforms[{index}].interactions"
    spec = platform.interactions
    raw = engine.read(spec, limit)
    column = reader(raw, spec, key)
    timed = spec.columns.timestamp is not None
    kind = words(column(t.EVENT, "string"))
    if spec.columns.event is None:
        kind = ibis.literal(t.RATING if spec.columns.rating else PURCHASE)
    part = raw.select(
        SOURCE_ROW,
        **{
            t.USER_ID: identifier(column(t.USER_ID, "string")),
            t.ITEM_ID: identifier(column(t.ITEM_ID, "string")),
            t.PLATFORM: ibis.literal(platform.name),
            CLOCK: moment(column(t.TIMESTAMP, "string")) if timed else number_in(column(t.ORDER, "string")),
            t.EVENT: kind,
            t.QUANTITY: number_in(column(t.QUANTITY, "float64")),
            t.RATING: number_in(column(t.RATING, "float64")),
            WRITTEN_QUANTITY: words(column(t.QUANTITY, "string")).notnull(),
            WRITTEN_RATING: words(column(t.RATING, "string")).notnull(),
        },
    )
    part = part.mutate(**_worth(part, spec), **{t.REASON: _unusable(part, spec, data)})
    return engine.read_once(part.drop(WRITTEN_QUANTITY, WRITTEN_RATING), spec)


def varying(data: Data) -> list[str]:
    """Columns that tell more than the others do; the rest is not carried along, but filled in at the end.

    Without links, the platforms' own ids follow from the user and the item.
    """
    specs = [platform.interactions for platform in data.platforms]
    weights = {event.weight for spec in specs for event in spec.events.values()} | {1.0}
    differ = {
        t.EVENT: any(spec.columns.event for spec in specs) or len({bool(spec.columns.rating) for spec in specs}) > 1,
        t.QUANTITY: any(spec.columns.quantity for spec in specs),
        t.RATING: any(spec.columns.rating for spec in specs),
        t.WEIGHT: len(weights) > 1,
        IS_RETURN: _may_return(data),
        ACCOUNT: bool(data.identity.users),
        LISTING: bool(data.identity.items or data.identity.match_items),
    }
    return [name for name, differs in differ.items() if differs]


def _may_return(data: Data) -> bool:
    specs = [platform.interactions for platform in data.platforms]
    return any(spec.columns.quantity or any(event.returns for event in spec.events.values()) for spec in specs)


def _worth(part: ir.Table, spec: Interactions) -> dict[str, ir.Value]:
    """What each row counts, and whether it takes a purchase back."""
    kind, back = part[t.EVENT], [name for name, event in spec.events.items() if event.returns]
    weights = [(kind == name, event.weight) for name, event in spec.events.items()]
    is_return = (part[t.QUANTITY] < 0).fill_null(False)
    return {
        # To Ibis a cast to float64 would be none, and to an engine 2.0 is a decimal with one digit behind the point.
        t.WEIGHT: (ibis.cases(*weights, else_=1.0) if weights else ibis.literal(1.0)).cast("float32"),
        IS_RETURN: is_return | kind.isin(back).fill_null(False) if back else is_return,
    }


def _unusable(part: ir.Table, spec: Interactions, data: Data) -> ir.IntegerValue:
    """The first reason why a row cannot be used; null if it can."""
    rules = [
        (part[t.USER_ID].isnull(), Reason.NO_USER),
        (part[t.ITEM_ID].isnull(), Reason.NO_ITEM),
        (part[CLOCK].isnull(), Reason.NO_TIME),
        (part[WRITTEN_QUANTITY] & part[t.QUANTITY].isnull(), Reason.NO_QUANTITY),
        (part[WRITTEN_RATING] & part[t.RATING].isnull(), Reason.NO_RATING),
    ]
    if data.clean.future != "keep":
        latest = data.clean.latest or datetime.now(UTC).replace(tzinfo=None) + timedelta(days=1)
        if spec.columns.timestamp is not None:
            rules.append((part[CLOCK] > ibis.literal(latest), Reason.FUTURE))
    if spec.events and spec.columns.event:
        known = part[t.EVENT].isin(list(spec.events)).fill_null(False)
        rules.append((~known, Reason.UNKNOWN_EVENT))
    for name, event in spec.events.items():
        if event.at_least is not None:
            enough = (part[t.RATING] >= event.at_least).fill_null(False)
            rules.append(((part[t.EVENT] == name) & ~enough, Reason.LOW_RATING))
    rules.append((part[t.QUANTITY] == 0, Reason.NOTHING))
    return Reason.first(*rules)


def _accounts(
    engine: Engine, parts: Sequence[ir.Table], users: ir.Table | None, data: Data, ledger: Ledger
) -> ir.Table:
    """Every platform's user ids, of whoever did something or stands in a users file, and whose they are."""
    own = []
    for platform, part in zip(data.platforms, parts, strict=True):
        # Kept, so that nulls are looked for among the distinct ids alone.
        ids = engine.keep(part.select(**{OWN: part[t.USER_ID]}).distinct(), "interactions").drop_null(OWN)
        own.append(ids.select(OWN, **{t.PLATFORM: ibis.literal(platform.name)}))
    if users is not None:
        own.append(users.select(**{OWN: users[t.USER_ID]}, **{t.PLATFORM: users[t.PLATFORM]}))
    links = read_links(engine, data.identity.users, "data.identity.users")
    return number(engine, union(own), data, links, ledger, "users", repeats=len(own) > 1).rename(
        {USER: KEY, t.USER_ID: ID}
    )


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
    domains = items.select(ITEM, t.DOMAIN, has_text=_has_text(items, data))
    known = listings.select(t.PLATFORM, OWN, LISTING, ITEM).inner_join(domains, ITEM)
    numbered = []
    for platform, part in zip(data.platforms, parts, strict=True):
        user = accounts.filter(accounts[t.PLATFORM] == platform.name)
        user = user.select(ACCOUNT, USER, **{t.USER_ID: user[OWN]})
        item = known.filter(known[t.PLATFORM] == platform.name)
        item = item.select(LISTING, ITEM, t.DOMAIN, "has_text", **{t.ITEM_ID: item[OWN]})
        found = part.left_join(user, t.USER_ID).left_join(item, t.ITEM_ID)
        numbered.append(found.drop(t.USER_ID, f"{t.USER_ID}_right", t.ITEM_ID, f"{t.ITEM_ID}_right"))
    rows = _one_clock(union(numbered), data)
    of_item = Reason.first(
        (rows[ITEM].isnull(), Reason.UNKNOWN_ITEM),
        (~rows["has_text"], Reason.NO_TEXT),
        (rows[t.DOMAIN].isnull(), Reason.OUTSIDE),
    )
    carried = [SOURCE_ROW, USER, ITEM, CLOCK, *varying(data)]
    rows = rows.select(*carried, **{t.REASON: ibis.coalesce(rows[t.REASON], of_item)})
    joined = engine.keep(rows, "interactions")  # joining and sorting at once takes too much memory
    rows, repeats = _duplicates(joined, data)
    rows = engine.keep(rows, "interactions")
    engine.drop(joined)
    read = engine.count(rows)
    if not read:
        raise InputError(f"{data.platforms[0].interactions.path}: holds no row")
    ledger.note("interactions_left", "read", read)
    hint = _ids_to_compare(engine, parts[0], listings)
    return ledger.sort_out(rows, [*ROW_RULES, *repeats], "interactions", first=True, hint=hint)


def _ids_to_compare(engine: Engine, part: ir.Table, listings: ir.Table) -> str:
    bought = engine.fetch(part.select(t.ITEM_ID).drop_null().limit(1))[t.ITEM_ID].to_pylist()
    known = engine.fetch(listings.select(OWN).limit(1))[OWN].to_pylist()
    return (
        f"{COLUMNS}; an item's id is '{bought[0] if bought else ''}' there, '{known[0] if known else ''}' in the items"
    )


def _one_clock(rows: ir.Table, data: Data) -> ir.Table:
    """Where only an order inside a category is known, source history counts as earlier than target history."""
    if data.platforms[0].interactions.columns.order is None:
        return rows
    earliest, latest = rows[CLOCK].min(), rows[CLOCK].max()
    span = (latest - earliest + 1).over(ibis.window())
    return rows.mutate(**{CLOCK: rows[CLOCK] + ibis.ifelse(rows[t.DOMAIN] == t.TARGET, span, 0)})


def _no_bots(engine: Engine, rows: ir.Table, data: Data, ledger: Ledger) -> ir.Table:
    """All that a user did who did too much on some day."""
    if data.clean.bots is None or data.platforms[0].interactions.columns.timestamp is None:
        return rows
    counts = rows.group_by(USER).aggregate(n=rows.count())  # few have to be looked at day by day
    busy = rows.semi_join(counts.filter(counts["n"] > data.clean.bots), USER)
    days = busy.group_by(USER, day=busy[CLOCK].truncate("D")).aggregate(n=busy.count())
    bots = engine.keep(days.filter(days["n"] > data.clean.bots).select(USER).distinct(), "interactions")
    theirs = rows.semi_join(bots, USER).mutate(**{t.REASON: ibis.literal(Reason.BOT.code, "int8")})
    ledger.leave_out(theirs, [Reason.BOT], "interactions")
    return rows.anti_join(bots, USER) if engine.count(bots) else rows


def in_time(rows: ir.Table) -> list[str]:
    """The order of one user's rows of one item; those that agree in all of it stand there twice."""
    return [name for name in (CLOCK, LISTING, t.EVENT, t.QUANTITY, t.RATING) if name in rows.columns]


def _duplicates(rows: ir.Table, data: Data) -> tuple[ir.Table, list[Reason]]:
    """Mark rows that stand there twice and double clicks; and repeats, where the first of all is to stay anyway."""
    usable = rows[t.REASON].isnull()
    pair = ibis.window(group_by=[rows[USER], rows[ITEM], usable], order_by=[*in_time(rows), SOURCE_ROW])
    same = {name: rows[name].identical_to(rows[name].lag().over(pair)) for name in in_time(rows)}
    nth = ibis.row_number().over(pair)
    twice = (nth > 0) & ibis.and_(*same.values())
    tests = [(twice, Reason.DUPLICATE)] if data.clean.duplicates == "drop" else []
    if data.clean.near_duplicates and data.platforms[0].interactions.columns.timestamp:
        kind = [rows[name] for name in (LISTING, t.EVENT, IS_RETURN) if name in rows.columns]
        alike = ibis.window(group_by=[rows[USER], rows[ITEM], usable, *kind], order_by=[*in_time(rows), SOURCE_ROW])
        until = rows[CLOCK].lag().over(alike) + ibis.interval(seconds=data.clean.near_duplicates)
        tests.append(((rows[CLOCK] <= until) & ~twice, Reason.NEAR_DUPLICATE))
    if _first_stays(data):
        tests.append((nth > 0, Reason.REPEAT))
    if not tests:
        return rows, []
    return rows.mutate(**{t.REASON: ibis.coalesce(rows[t.REASON], Reason.first(*tests))}), [why for _, why in tests]


def _first_stays(data: Data) -> bool:
    """Whether the first of a user's interactions with an item is the one to keep, whatever returns there are."""
    by_weight = data.repeats == "strongest" and t.WEIGHT in varying(data)
    return data.repeats in ("first", "strongest") and not by_weight and not _may_return(data)


def _no_returns(engine: Engine, rows: ir.Table, data: Data, ledger: Ledger) -> ir.Table:
    """Returns, and with ``cancel`` the purchases that they take back."""
    if not _may_return(data) or data.clean.returns == "keep":
        return rows
    if data.clean.returns == "cancel":
        marked = _given_back(rows)
    else:
        marked = rows.mutate(**{t.REASON: Reason.first((rows[IS_RETURN], Reason.RETURN))})
    marked = engine.keep(marked, "interactions")
    engine.drop(rows)
    return ledger.sort_out(marked, [Reason.RETURN, Reason.RETURNED], "interactions")


def _given_back(rows: ir.Table) -> ir.Table:
    """Mark returns, and all that somebody did with an item of which they gave back as many as they bought.

    Who viewed and bought bought once: what counts as bought is what weighs the most of it.
    """
    pair = ibis.window(group_by=[USER, ITEM])
    if t.WEIGHT in rows.columns:
        weight = rows[IS_RETURN].ifelse(0.0, rows[t.WEIGHT])
        rows = rows.mutate(bought=weight == weight.max().over(pair))
    else:
        rows = rows.mutate(bought=~rows[IS_RETURN])
    units = ibis.coalesce(rows[t.QUANTITY].abs(), 1.0) if t.QUANTITY in rows.columns else ibis.literal(1.0)
    back = rows[IS_RETURN].ifelse(units, 0.0).sum().over(pair)
    bought = (rows["bought"] & ~rows[IS_RETURN]).ifelse(units, 0.0).sum().over(pair)
    why = Reason.first((rows[IS_RETURN], Reason.RETURN), (back >= bought, Reason.RETURNED))
    return rows.mutate(**{t.REASON: why}).drop("bought")


def _no_repeats(engine: Engine, rows: ir.Table, data: Data, ledger: Ledger) -> ir.Table:
    """One row for a user and item, as ``data.repeats`` says."""
    if data.repeats == "keep" or _first_stays(data):
        return rows
    order = [*in_time(rows), SOURCE_ROW]
    if data.repeats == "strongest" and t.WEIGHT in rows.columns:
        order = [ibis.desc(t.WEIGHT), *order]
    if data.repeats == "last":
        order = [ibis.desc(CLOCK), *order[1:]]
    nth = ibis.row_number().over(group_by=[USER, ITEM], order_by=order)
    marked = {t.REASON: Reason.first((nth > 0, Reason.REPEAT))}
    if data.repeats == "sum":
        weight = rows[t.WEIGHT] if t.WEIGHT in rows.columns else ibis.literal(1.0)
        units = ibis.coalesce(rows[t.QUANTITY].abs(), 1.0) if t.QUANTITY in rows.columns else ibis.literal(1.0)
        marked[t.WEIGHT] = (weight * units).sum().over(group_by=[USER, ITEM])
    repeated = engine.keep(rows.mutate(**marked), "interactions")
    engine.drop(rows)
    return ledger.sort_out(repeated, [Reason.REPEAT], "interactions")


def _decayed(engine: Engine, rows: ir.Table, data: Data) -> ir.Table:
    """Weights that halve with age."""
    if data.half_life_days is None:
        return rows
    latest = engine.fetch(rows.aggregate(latest=rows[CLOCK].max().epoch_seconds().cast("int64")))["latest"][0].as_py()
    halvings = (latest - rows[CLOCK].epoch_seconds()) / (86400 * data.half_life_days)
    weight = ibis.literal(0.5) ** halvings
    if t.WEIGHT in rows.columns:
        weight = rows[t.WEIGHT] * weight
    return rows.mutate(**{t.WEIGHT: ibis.greatest(weight, SMALLEST_WEIGHT)})


def _enough_interactions(
    engine: Engine, rows: ir.Table, data: Data, ledger: Ledger
) -> tuple[ir.Table, dict[str, ir.Table]]:
    """The k-core over users and items, taken away round by round until nothing more falls.

    Only the counts are rewritten in a round, not the interactions: a round costs two scans.

    Returns:
        The interactions, and the users and the items that stay.
    """
    least = {USER: data.min_interactions.user, ITEM: data.min_interactions.item}
    total = left = engine.count(rows)
    counts = {key: engine.keep(rows.group_by(key).aggregate(n=rows.count()), "interactions") for key in least}
    for nth in count(1):
        before = left
        for key, other in ((USER, ITEM), (ITEM, USER)):
            few = counts[key].filter(counts[key]["n"] < least[key])
            counts[key] = engine.keep(counts[key].filter(counts[key]["n"] >= max(least[key], 1)), "interactions")
            lost = rows.semi_join(few, key).semi_join(counts[other], other)
            lost = engine.keep(lost.group_by(other).aggregate(lost=lost.count()), "interactions")
            left -= engine.fetch(lost.aggregate(n=lost["lost"].sum()))["n"][0].as_py() or 0
            rest = counts[other].left_join(lost, other)
            rest = rest.select(other, n=rest["n"] - rest["lost"].coalesce(0))
            counts[other] = engine.keep(rest, "interactions")
        _note_core(engine, ledger, nth, left, counts)
        if left == before:
            break
    if left == total:
        return rows, counts
    of_user = rows.anti_join(counts[USER], USER).mutate(**{t.REASON: ibis.literal(Reason.FEW_OF_USER.code, "int8")})
    of_item = rows.semi_join(counts[USER], USER).anti_join(counts[ITEM], ITEM)
    if least[USER] <= 1:  # then a user falls with the last of their items alone
        of_user, of_item = of_user.limit(0), rows.anti_join(counts[ITEM], ITEM)
    of_item = of_item.mutate(**{t.REASON: ibis.literal(Reason.FEW_OF_ITEM.code, "int8")})
    ledger.leave_out(of_user.union(of_item), [Reason.FEW_OF_USER, Reason.FEW_OF_ITEM], "interactions")
    return rows, counts


def _note_core(engine: Engine, ledger: Ledger, nth: int, left: int, counts: dict[str, ir.Table]) -> None:
    step = f"enough interactions, round {nth}"
    ledger.note("interactions_left", step, left)
    for key, measure in ((USER, "users_left"), (ITEM, "items_left")):
        ledger.note(measure, step, engine.count(counts[key]))
    if not left:
        raise InputError(f"no interaction is left after '{step}'; look at data.min_interactions")


def _require_both_domains(engine: Engine, bought: ir.Table, domains: Domains) -> None:
    there = engine.fetch(bought.select(t.DOMAIN).distinct())[t.DOMAIN].to_pylist()
    for name, domain in ((t.TARGET, domains.target), (t.SOURCE, domains.source)):
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
        theirs = files_users.rename({OWN: t.USER_ID}).inner_join(accounts, [t.PLATFORM, OWN])
        there = there.union(theirs.select(USER), distinct=True)
        tags = theirs.select(USER, tag=theirs[t.TAGS].unnest()).distinct()
        tagged = tags.group_by(USER).aggregate(**{t.TAGS: tags["tag"].collect().sort()})
    people = with_id(accounts.semi_join(there, USER), data)
    people = people.filter(people[ID] == people[t.USER_ID]).select(USER, t.USER_ID, t.PLATFORM)
    nothing = tag_list([])
    if tagged is None:
        return people.mutate(**{t.TAGS: nothing})
    people = people.left_join(tagged, USER)
    return people.select(USER, t.USER_ID, t.PLATFORM, **{t.TAGS: ibis.coalesce(people[t.TAGS], nothing)})
