"""Raw exports to clean tables. Every row that is left out is counted and written down with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count

import ibis
import ibis.expr.types as ir

from crossrec_cli.artifacts import tables as t
from crossrec_cli.config.schema import Config, Data, Domains, Interactions
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
from crossrec_cli.data.ledger import Ledger, Reason
from crossrec_cli.data.values import moment, words
from crossrec_cli.data.values import number as number_in
from crossrec_cli.errors import InputError

CLOCK = "clock"
"""When an interaction happened: its timestamp, or an order that only compares within a user."""
USER, ITEM = "user", "item"
"""Numbers of the person and the item, in the order of their ids."""
LISTING = "listing"
"""Number of the item on its platform, as ``ACCOUNT`` is of the user."""
IS_RETURN = "is_return"
TELLS_APART = [CLOCK, t.PLATFORM, t.EVENT, t.QUANTITY, t.RATING]
"""Rows of one user and item that agree in these are the same row twice."""


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
]
SMALLEST_WEIGHT = 1e-6
"""However old: a weight of 0 would take the interaction away."""


@dataclass(frozen=True)
class Cleaned:
    """What can be learned from."""

    rows: ir.Table
    """user, item, account, listing, platform, domain, clock, timestamp, event, quantity, rating, weight."""
    items: ir.Table
    """The catalogue: item, item_id, platform, domain, category, brand, price, price_band, language, text."""
    users: ir.Table
    """user, user_id, platform, tags."""
    accounts: ir.Table
    """The platforms' own user ids: account, user_id."""
    listings: ir.Table
    """The platforms' own item ids: listing, item_id."""
    item_links: ir.Table | None
    """Items whose texts say that they are the same."""


def clean(engine: Engine, config: Config, ledger: Ledger, limit: int | None = None) -> Cleaned:
    """Read every platform and keep what can be learned from.

    Args:
        engine: the engine.
        config: the whole config.
        ledger: told what became of every row.
        limit: rows to read of each source, for a quick look; None for all.

    Raises:
        InputError: if a file, column or category is missing, a rule is set to fail and met something, or nothing is
            left of source or target.
    """
    data = config.data
    listings, item_links = _listings(engine, data, ledger, limit)
    items = price_bands(assign_domains(engine, _one_listing_each(listings, data), config.domains))
    items = engine.keep(items, "items")
    files_users = read_users(engine, data, ledger, limit)
    raw = [_read_interactions(engine, data, index, ledger, limit) for index in range(len(data.platforms))]
    accounts = _accounts(engine, raw, files_users, data, ledger, limit)
    rows = _known(engine, raw, accounts, listings, items, config, ledger)
    names = (
        accounts.select(ACCOUNT, **{t.USER_ID: accounts[OWN]}),
        listings.select(LISTING, **{t.ITEM_ID: listings[OWN]}),
    )
    ledger.names = {ACCOUNT: names[0], LISTING: names[1]}
    for rule in (_no_duplicates, _no_returns, _no_bots, _no_repeats):
        rows = rule(engine, rows, data, ledger)
    rows = _enough_interactions(engine, _decayed(engine, rows, data), data, ledger)
    _require_both_domains(engine, rows, config.domains)
    catalogue = items.filter(items[t.DOMAIN].notnull() & _has_text(items, data))
    if data.min_interactions.item:
        catalogue = catalogue.semi_join(rows, ITEM)
    return Cleaned(rows, catalogue, _users(files_users, accounts, rows), *names, item_links)


def _listings(engine: Engine, data: Data, ledger: Ledger, limit: int | None) -> tuple[ir.Table, ir.Table | None]:
    """Every platform's items with ``LISTING``, ``ITEM`` and ``ID``; and what text matching proposes."""
    own = read_items(engine, data, ledger, limit).rename({OWN: t.ITEM_ID})
    own = engine.keep(with_id(own.drop(SOURCE_ROW), data), "items")
    links = read_links(engine, data.identity.items, "data.identity.items", limit)
    match, proposed = data.identity.match_items, None
    if match is not None:
        proposed = propose(engine, own, match)
        if match.apply is not None:
            links.append(as_links(own, proposed.filter(proposed["confidence"] >= match.apply)))
    numbers = number(engine, own, data, links, ledger, "items").rename({LISTING: ACCOUNT, ITEM: KEY, t.ITEM_ID: ID})
    listings = engine.keep(own.inner_join(numbers, [t.PLATFORM, OWN]), "items")
    return listings, None if match is None or proposed is None else _with_texts(proposed, listings)


def _with_texts(proposed: ir.Table, listings: ir.Table) -> ir.Table:
    """Proposed pairs in the form of ``tables.ITEM_LINKS``; applied are those that are one item by now."""
    for name, prefix in ((ID, ""), (f"other_{ID}", "other_")):
        end = listings.select(
            **{name: listings[ID], f"{prefix}{t.TEXT}": listings[t.TEXT], f"{prefix}{ITEM}": listings[ITEM]}
        )
        proposed = proposed.inner_join(end, name)
    return proposed.mutate(
        applied=proposed[ITEM] == proposed[f"other_{ITEM}"],
        **{t.ITEM_ID: proposed[ID], f"other_{t.ITEM_ID}": proposed[f"other_{ID}"]},
    ).order_by(ibis.desc("confidence"), t.ITEM_ID)


def _one_listing_each(listings: ir.Table, data: Data) -> ir.Table:
    """Of an item on several platforms the listing that has a text, on the platform that the config names first."""
    place = ibis.cases(*((listings[t.PLATFORM] == shop.name, nth) for nth, shop in enumerate(data.platforms)), else_=-1)
    order = [listings[t.TEXT].isnull(), place, listings[LISTING]]
    nth = ibis.row_number().over(group_by=ITEM, order_by=order)
    return listings.mutate(nth=nth).filter(ibis._.nth == 0).drop("nth", LISTING, OWN, ID)


def _has_text(items: ir.Table, data: Data) -> ir.BooleanValue:
    """Whether an item stays, for its text's sake."""
    return items[t.TEXT].notnull() | (data.clean.items_without_text == "keep")


def _read_interactions(engine: Engine, data: Data, index: int, ledger: Ledger, limit: int | None) -> ir.Table:
    """One platform's rows that can be read, with its own user and item ids."""
    platform, key = data.platforms[index], f"data.platforms[{index}].interactions"
    spec = platform.interactions
    raw = engine.read(spec, limit)
    column = reader(raw, spec, key)
    timestamp = moment(column(t.TIMESTAMP, "timestamp(6)"))
    kind = words(column(t.EVENT, "string"))
    if spec.columns.event is None:
        kind = ibis.literal(t.RATING if spec.columns.rating else PURCHASE)
    part = raw.select(
        SOURCE_ROW,
        **{
            t.USER_ID: words(column(t.USER_ID, "string")),
            t.ITEM_ID: words(column(t.ITEM_ID, "string")),
            t.PLATFORM: ibis.literal(platform.name),
            t.TIMESTAMP: timestamp,
            CLOCK: number_in(column(t.ORDER, "float64")) if spec.columns.timestamp is None else timestamp,
            t.EVENT: kind,
            t.QUANTITY: number_in(column(t.QUANTITY, "float64")),
            t.RATING: number_in(column(t.RATING, "float64")),
            WRITTEN_QUANTITY: words(column(t.QUANTITY, "string")).notnull(),
            WRITTEN_RATING: words(column(t.RATING, "string")).notnull(),
        },
    )
    part = part.mutate(**_worth(part, spec), **{t.REASON: _unusable(part, spec, data)})
    kept = engine.keep(part.drop(WRITTEN_QUANTITY, WRITTEN_RATING), spec.path)
    readable = ledger.sort_out(kept, ROW_RULES, "interactions", first=True)
    _note_left(engine, ledger, "readable", readable, f"{spec.path}: no row is readable")
    return readable


def _worth(part: ir.Table, spec: Interactions) -> dict[str, ir.Value]:
    """What each row counts, and whether it takes a purchase back."""
    kind, back = part[t.EVENT], [name for name, event in spec.events.items() if event.returns]
    weights = [(kind == name, event.weight) for name, event in spec.events.items()]
    is_return = (part[t.QUANTITY] < 0).fill_null(False)
    return {
        t.WEIGHT: (ibis.cases(*weights, else_=1.0) if weights else ibis.literal(1.0)).cast("float64"),
        IS_RETURN: is_return | kind.isin(back).fill_null(False) if back else is_return,
    }


def _unusable(part: ir.Table, spec: Interactions, data: Data) -> ir.StringValue:
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
        rules.append((part[t.TIMESTAMP] > ibis.literal(latest), Reason.FUTURE))
    if spec.events and spec.columns.event:
        known = part[t.EVENT].isin(list(spec.events)).fill_null(False)
        rules.append((~known, Reason.UNKNOWN_EVENT))
    for name, event in spec.events.items():
        if event.at_least is not None:
            enough = (part[t.RATING] >= event.at_least).fill_null(False)
            rules.append(((part[t.EVENT] == name) & ~enough, Reason.LOW_RATING))
    rules.append((part[t.QUANTITY] == 0, Reason.NOTHING))
    return ibis.cases(*((test.fill_null(False), reason.value) for test, reason in rules), else_=ibis.null("string"))


def _accounts(
    engine: Engine, raw: Sequence[ir.Table], users: ir.Table | None, data: Data, ledger: Ledger, limit: int | None
) -> ir.Table:
    """Every platform's user ids, of whoever did something or stands in a users file, and whose they are."""
    own = [part.select(t.PLATFORM, **{OWN: part[t.USER_ID]}).distinct() for part in raw]
    if users is not None:
        own.append(users.select(t.PLATFORM, **{OWN: users[t.USER_ID]}))
    links = read_links(engine, data.identity.users, "data.identity.users", limit)
    return number(engine, union(own), data, links, ledger, "users").rename({USER: KEY, t.USER_ID: ID})


def _known(
    engine: Engine,
    raw: Sequence[ir.Table],
    accounts: ir.Table,
    listings: ir.Table,
    items: ir.Table,
    config: Config,
    ledger: Ledger,
) -> ir.Table:
    """Rows by number, of items that are in the items file, in source or target."""
    data = config.data
    domains = items.select(ITEM, t.DOMAIN, has_text=_has_text(items, data))
    known = listings.select(t.PLATFORM, OWN, LISTING, ITEM).inner_join(domains, ITEM)
    parts = []
    for platform, part in zip(data.platforms, raw, strict=True):
        user = accounts.filter(accounts[t.PLATFORM] == platform.name)
        user = user.select(ACCOUNT, USER, **{t.USER_ID: user[OWN]})
        item = known.filter(known[t.PLATFORM] == platform.name)
        item = item.select(LISTING, ITEM, t.DOMAIN, "has_text", **{t.ITEM_ID: item[OWN]})
        numbered = part.inner_join(user, t.USER_ID).left_join(item, t.ITEM_ID)
        parts.append(numbered.drop(f"{t.ITEM_ID}_right"))
    rows = union(parts)
    reason = ibis.cases(
        (rows[ITEM].isnull(), Reason.UNKNOWN_ITEM.value),
        (~rows["has_text"], Reason.NO_TEXT.value),
        (rows[t.DOMAIN].isnull(), Reason.OUTSIDE.value),
        else_=ibis.null("string"),
    )
    # The platforms' own ids are long; from here on only rows that are left out have them.
    ids = {name: reason.notnull().ifelse(rows[name], ibis.null("string")) for name in (t.USER_ID, t.ITEM_ID)}
    rows = engine.keep(rows.mutate(**ids, **{t.REASON: reason}).drop("has_text"), "interactions")
    hint = _ids_to_compare(engine, raw, listings)
    left = ledger.sort_out(rows, [Reason.UNKNOWN_ITEM, Reason.NO_TEXT, Reason.OUTSIDE], "interactions", hint=hint)
    left = _one_clock(left.drop(t.USER_ID, t.ITEM_ID), data)
    _note_left(
        engine, ledger, "known item", left, "no interaction is left whose item is in source or target; look at domains"
    )
    return left


def _ids_to_compare(engine: Engine, raw: Sequence[ir.Table], listings: ir.Table) -> str:
    bought = engine.fetch(raw[0].limit(1).select(t.ITEM_ID))[t.ITEM_ID][0].as_py()
    known = engine.fetch(listings.limit(1).select(OWN))[OWN][0].as_py()
    return f"compare the items' ids: '{bought}' in the interactions, '{known}' in the items"


def _one_clock(rows: ir.Table, data: Data) -> ir.Table:
    """Where only an order inside a category is known, source history counts as earlier than target history."""
    if data.platforms[0].interactions.columns.order is None:
        return rows
    earliest, latest = rows[CLOCK].min(), rows[CLOCK].max()
    span = (latest - earliest + 1).over(ibis.window())
    return rows.mutate(**{CLOCK: rows[CLOCK] + ibis.ifelse(rows[t.DOMAIN] == t.TARGET, span, 0)})


def _no_duplicates(engine: Engine, rows: ir.Table, data: Data, ledger: Ledger) -> ir.Table:
    """Rows that stand there twice, and double clicks."""
    rules = data.clean
    in_time = ibis.window(group_by=[USER, ITEM], order_by=[*TELLS_APART, SOURCE_ROW])
    before = {name: rows[name].lag().over(in_time) for name in TELLS_APART}
    again = ibis.and_(*(rows[name].identical_to(before[name]) for name in TELLS_APART))
    tests = [(again, Reason.DUPLICATE)] if rules.duplicates == "drop" else []
    if rules.near_duplicates and data.platforms[0].interactions.columns.timestamp:
        seconds = (rows[CLOCK].epoch_seconds() - before[CLOCK].epoch_seconds()) <= rules.near_duplicates
        alike = ibis.and_(*(rows[name].identical_to(before[name]) for name in (t.PLATFORM, t.EVENT)))
        tests.append((alike & seconds & ~again, Reason.NEAR_DUPLICATE))
    if not tests:
        return rows
    reason = ibis.cases(*((test.fill_null(False), why.value) for test, why in tests), else_=ibis.null("string"))
    marked = engine.keep(rows.mutate(**{t.REASON: reason}), "interactions")
    return ledger.sort_out(marked, [why for _, why in tests], "interactions")


def _no_returns(engine: Engine, rows: ir.Table, data: Data, ledger: Ledger) -> ir.Table:
    """Returns, and with ``cancel`` the purchases that they take back."""
    specs = [platform.interactions for platform in data.platforms]
    possible = any(spec.columns.quantity or any(event.returns for event in spec.events.values()) for spec in specs)
    if not possible or data.clean.returns == "keep":
        return rows
    reason = rows[IS_RETURN].ifelse(Reason.RETURN.value, ibis.null("string"))
    if data.clean.returns == "cancel":
        units = ibis.coalesce(rows[t.QUANTITY].abs(), 1.0)
        pair = ibis.window(group_by=[USER, ITEM])
        back = rows[IS_RETURN].ifelse(units, 0.0).sum().over(pair)
        bought = rows[IS_RETURN].ifelse(0.0, units).sum().over(pair)
        reason = ibis.coalesce(reason, (back >= bought).ifelse(Reason.RETURNED.value, ibis.null("string")))
    marked = engine.keep(rows.mutate(**{t.REASON: reason}), "interactions")
    return ledger.sort_out(marked, [Reason.RETURN, Reason.RETURNED], "interactions")


def _no_bots(engine: Engine, rows: ir.Table, data: Data, ledger: Ledger) -> ir.Table:
    """All that a user did who did too much on some day."""
    if data.clean.bots is None or data.platforms[0].interactions.columns.timestamp is None:
        return rows
    days = rows.group_by(USER, day=rows[CLOCK].truncate("D")).aggregate(n=rows.count())
    bots = engine.keep(days.filter(days["n"] > data.clean.bots).select(USER).distinct(), "interactions")
    if not engine.fetch(bots.aggregate(n=bots.count()))["n"][0].as_py():
        ledger.note("removed", Reason.BOT, 0, "interactions")
        return rows
    bots = bots.mutate(**{t.REASON: ibis.literal(Reason.BOT.value)})
    marked = engine.keep(rows.left_join(bots, USER).drop(f"{USER}_right"), "interactions")
    return ledger.sort_out(marked, [Reason.BOT], "interactions")


def _no_repeats(engine: Engine, rows: ir.Table, data: Data, ledger: Ledger) -> ir.Table:
    """One row for a user and item, as ``data.repeats`` says."""
    if data.repeats == "keep":
        return rows
    order = [*TELLS_APART, SOURCE_ROW]
    if data.repeats == "strongest":
        order = [ibis.desc(t.WEIGHT), *order]
    if data.repeats == "last":
        order = [ibis.desc(CLOCK), *order[1:]]
    nth = ibis.row_number().over(group_by=[USER, ITEM], order_by=order)
    marked = {t.REASON: (nth > 0).ifelse(Reason.REPEAT.value, ibis.null("string"))}
    if data.repeats == "sum":
        counted = rows[t.WEIGHT] * ibis.coalesce(rows[t.QUANTITY].abs(), 1.0)
        marked[t.WEIGHT] = counted.sum().over(group_by=[USER, ITEM])
    rows = engine.keep(rows.mutate(**marked), "interactions")
    rows = ledger.sort_out(rows, [Reason.REPEAT], "interactions")
    _note_left(engine, ledger, "one of each user and item", rows, "no interaction is left; look at data.clean")
    return rows


def _decayed(engine: Engine, rows: ir.Table, data: Data) -> ir.Table:
    """Weights that halve with age."""
    if data.half_life_days is None:
        return rows
    latest = engine.fetch(rows.aggregate(latest=rows[CLOCK].max().epoch_seconds()))["latest"][0].as_py()
    halvings = (latest - rows[CLOCK].epoch_seconds()) / (86400 * data.half_life_days)
    weight = rows[t.WEIGHT] * ibis.literal(0.5) ** halvings
    return rows.mutate(**{t.WEIGHT: ibis.greatest(weight, SMALLEST_WEIGHT)})


def _enough_interactions(engine: Engine, rows: ir.Table, data: Data, ledger: Ledger) -> ir.Table:
    """The k-core over users and items, taken away round by round until nothing more falls.

    Only the counts are rewritten in a round, not the interactions: a round costs two scans.
    """
    least = {USER: data.min_interactions.user, ITEM: data.min_interactions.item}
    left = engine.fetch(rows.aggregate(n=rows.count()))["n"][0].as_py()
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
    reason = ibis.cases(
        (rows[USER].notin(counts[USER][USER]), Reason.FEW_OF_USER.value),
        (rows[ITEM].notin(counts[ITEM][ITEM]), Reason.FEW_OF_ITEM.value),
        else_=ibis.null("string"),
    )
    rows = engine.keep(rows.mutate(**{t.REASON: reason}), "interactions")
    return ledger.sort_out(rows, [Reason.FEW_OF_USER, Reason.FEW_OF_ITEM], "interactions")


def _note_core(engine: Engine, ledger: Ledger, nth: int, left: int, counts: dict[str, ir.Table]) -> None:
    step = f"enough interactions, round {nth}"
    ledger.note("interactions_left", step, left)
    for key, measure in ((USER, "users_left"), (ITEM, "items_left")):
        ledger.note(measure, step, engine.fetch(counts[key].aggregate(n=counts[key].count()))["n"][0].as_py())
    if not left:
        raise InputError(f"no interaction is left after '{step}'; look at data.min_interactions")


def _note_left(engine: Engine, ledger: Ledger, step: str, rows: ir.Table, if_none: str) -> None:
    """Write down what is left, and stop if that is nothing."""
    wanted = {"interactions_left": rows.count()}
    if USER in rows.columns:
        wanted |= {"users_left": rows[USER].nunique(), "items_left": rows[ITEM].nunique()}
    for measure, value in engine.fetch(rows.aggregate(**wanted)).to_pylist()[0].items():
        ledger.note(measure, step, value)
        if not value:
            raise InputError(if_none)


def _require_both_domains(engine: Engine, rows: ir.Table, domains: Domains) -> None:
    counted = engine.fetch(rows.group_by(t.DOMAIN).aggregate(n=rows.count())).to_pylist()
    there = {row[t.DOMAIN] for row in counted}
    for name, domain in ((t.TARGET, domains.target), (t.SOURCE, domains.source)):
        if name not in there:
            raise InputError(
                f"domains.{name}: no interaction with {', '.join(domain.category)} is left after cleaning; "
                "look at the categories and at data.min_interactions"
            )


def _users(files_users: ir.Table | None, accounts: ir.Table, rows: ir.Table) -> ir.Table:
    """Whoever has an interaction or stands in a users file; of several platforms, with the tags of all."""
    there = rows.select(USER).distinct()
    tagged = None
    if files_users is not None:
        theirs = files_users.rename({OWN: t.USER_ID}).inner_join(accounts, [t.PLATFORM, OWN])
        there = there.union(theirs.select(USER), distinct=True)
        tags = theirs.select(USER, tag=theirs[t.TAGS].unnest()).distinct()
        tagged = tags.group_by(USER).aggregate(**{t.TAGS: tags["tag"].collect().sort()})
    people = accounts.semi_join(there, USER)
    people = people.group_by(USER, t.USER_ID).aggregate(**{t.PLATFORM: people[t.PLATFORM].min()})
    nothing = tag_list([])
    if tagged is None:
        return people.mutate(**{t.TAGS: nothing})
    people = people.left_join(tagged, USER)
    return people.select(USER, t.USER_ID, t.PLATFORM, **{t.TAGS: ibis.coalesce(people[t.TAGS], nothing)})
