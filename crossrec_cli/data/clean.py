"""Raw exports to clean tables. Every filter is counted, so that no row is lost without a word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import count
from string import Formatter

import ibis
import ibis.expr.types as ir
from ibis.backends.duckdb import Backend

from crossrec_cli.artifacts import tables as t
from crossrec_cli.config.schema import Config, Data, Domains, Interactions, Items, Platform, template_fields
from crossrec_cli.data import engine
from crossrec_cli.errors import InputError

CLOCK = "clock"
"""When an interaction happened: its timestamp, or an order that only compares within a user."""


@dataclass
class Funnel:
    """What is left after each step of cleaning."""

    rows: list[dict[str, str | int]] = field(default_factory=list)

    def count(self, step: str, interactions: ir.Table, if_none: str) -> ir.Table:
        """Note a table's size under a step's name and hand the table on.

        Raises:
            InputError: with ``if_none``, if the table is empty.
        """
        size = interactions.aggregate(
            interactions=interactions.count(),
            users=interactions[t.USER_ID].nunique(),
            items=interactions[t.ITEM_ID].nunique(),
        ).to_pyarrow()
        self.rows.append({t.STEP: step, **size.to_pylist()[0]})
        if not self.interactions:
            raise InputError(if_none)
        return interactions

    @property
    def interactions(self) -> int:
        """Interactions left after the latest step."""
        return int(self.rows[-1]["interactions"])


def clean(connection: Backend, config: Config) -> tuple[ir.Table, ir.Table, ir.Table, Funnel]:
    """Read every platform and keep what can be learned from.

    Returns:
        interactions (user_id, item_id, platform, domain, timestamp, clock, event, value), items (item_id,
        platform, domain, category, brand, price, language, text), users (user_id, platform, tags), and the funnel.

    Raises:
        InputError: if a file, column or category is missing, or nothing is left of the target.
    """
    funnel = Funnel()
    items = _assign_domains(_items(connection, config.data), config.domains)
    users = _users(connection, config.data)
    rows = funnel.count("read", _interactions(connection, config.data), "the interaction files hold no row")
    complete = rows.drop_null([t.USER_ID, t.ITEM_ID, CLOCK])
    why = "no interaction has a user, an item and a readable time; look at data.platforms[0].interactions.columns"
    rows = funnel.count("with user, item and time", complete, why)
    rows = funnel.count("item is known", rows.semi_join(items, t.ITEM_ID), _no_item_known(rows, items))
    in_domain = items.filter(items[t.DOMAIN].notnull())
    rows = rows.inner_join(in_domain.select(t.ITEM_ID, t.DOMAIN), t.ITEM_ID)
    rows = _keep(connection, funnel, "in source or target", _one_clock(rows, config.data))
    if config.data.repeats == "first":
        first = _one_per(rows, [t.USER_ID, t.ITEM_ID], [CLOCK, t.PLATFORM, t.EVENT, t.VALUE])
        rows = _keep(connection, funnel, "first of each user and item", first)
    rows = _enough_interactions(connection, rows, config.data, funnel)
    _require_both_domains(rows, config.domains)
    catalogue = in_domain if config.data.min_interactions.item == 0 else in_domain.semi_join(rows, t.ITEM_ID)
    return rows, catalogue, _all_users(users, rows), funnel


def _no_item_known(rows: ir.Table, items: ir.Table) -> str:
    bought, known = rows[t.ITEM_ID].min().to_pyarrow().as_py(), items[t.ITEM_ID].min().to_pyarrow().as_py()
    return f"no interaction's item id is among the items' ids; compare '{bought}' with '{known}'"


def _keep(connection: Backend, funnel: Funnel, step: str, rows: ir.Table) -> ir.Table:
    name = f"interactions_{len(funnel.rows)}"
    why = f"no interaction is left after '{step}'; look at domains and at data.min_interactions"
    return funnel.count(step, engine.materialize(connection, name, rows, "interactions"), why)


def _union(parts: Sequence[ir.Table]) -> ir.Table:
    return ibis.union(*parts) if len(parts) > 1 else parts[0]


def _id(column: ir.Column, platform: Platform, data: Data) -> ir.StringValue:
    """An id as text; with several platforms each keeps its own, marked by the platform's name."""
    text = _words(column)
    return text if len(data.platforms) == 1 else ibis.literal(f"{platform.name}:") + text


def _words(column: ir.Column) -> ir.StringValue:
    """Text without space around it, null where there is none; 1.0 is 1, as it was before a missing value beside it."""
    text = column.cast("string")
    if column.type().is_floating():
        number = column.isnan().ifelse(ibis.null(column.type()), column)
        integer = number.try_cast("int64")
        text = ibis.ifelse(number == integer, integer.cast("string"), number.cast("string"))
    return text.strip().nullif("")


def _column(table: ir.Table, name: str | None, dtype: str, key: str, path: str) -> ir.Column:
    """The file's column of that name, or nulls where the config names none."""
    if name is None:
        return ibis.null(dtype)
    if name not in table.columns:
        close = get_close_matches(name, table.columns, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"it has {', '.join(table.columns)}"
        raise InputError(f"{path}: has no column '{name}', which {key} names; {hint}")
    return table[name]


def _reader(raw: ir.Table, spec: Interactions | Items, key: str) -> Callable[[str, str], ir.Column]:
    """Gives the file's column for one of ours, as the config's ``columns`` map it."""

    def column(name: str, dtype: str) -> ir.Column:
        return _column(raw, getattr(spec.columns, name), dtype, f"{key}.columns.{name}", spec.path)

    return column


def _one_per(table: ir.Table, keys: str | list[str], order: str | list[str]) -> ir.Table:
    """The first row of each key in an order that does not depend on the file's."""
    nth = ibis.row_number().over(group_by=keys, order_by=order)
    return table.mutate(nth=nth).filter(ibis._.nth == 0).drop("nth")


def _tag_list(tags: Sequence[ir.Value]) -> ir.ArrayValue:
    """A user's tags without the nulls among them; of no tag at all, an empty list of text."""
    return ibis.array([*tags] or [ibis.null("string")]).filter(lambda tag: tag.notnull())


def _interactions(connection: Backend, data: Data) -> ir.Table:
    parts = []
    for index, platform in enumerate(data.platforms):
        spec = platform.interactions
        raw = engine.read(connection, spec.path)
        column = _reader(raw, spec, f"data.platforms[{index}].interactions")
        timestamp = _timestamp(column(t.TIMESTAMP, "timestamp(6)"))
        order = column(t.ORDER, "int64").try_cast("float64")
        part = raw.select(
            **{
                t.USER_ID: _id(column(t.USER_ID, "string"), platform, data),
                t.ITEM_ID: _id(column(t.ITEM_ID, "string"), platform, data),
                t.PLATFORM: ibis.literal(platform.name),
                t.TIMESTAMP: timestamp,
                CLOCK: order if spec.columns.timestamp is None else timestamp,
                t.EVENT: _words(column(t.EVENT, "string")),
                t.VALUE: column(t.VALUE, "float64").try_cast("float64"),
            }
        )
        parts.append(engine.materialize(connection, f"raw_interactions_{index}", part, spec.path))
    return _union(parts)


def _timestamp(column: ir.Column) -> ir.TimestampValue:
    """UTC, from a time, ISO text, or a number of seconds, milli-, micro- or nanoseconds since 1970."""
    if column.type().is_numeric():
        return _since_1970(column.cast("float64"))
    if column.type().is_string():
        # A text without a zone is UTC, as the engine's own zone is.
        moment = column.try_cast("timestamp('UTC', 6)").try_cast("timestamp(6)")
        return ibis.coalesce(moment, _since_1970(column.try_cast("float64")))
    return column.try_cast("timestamp(6)")


def _since_1970(number: ir.FloatingValue) -> ir.TimestampValue:
    """The unit shows in the size: seconds reach 10^11 in the year 5138, milliseconds passed it in 1973."""
    size = number.abs()
    milliseconds = ibis.cases(
        (size < 1e11, number * 1000), (size < 1e14, number), (size < 1e17, number / 1e3), else_=number / 1e6
    )
    return milliseconds.round().try_cast("int64").as_timestamp("ms").cast("timestamp(6)")


def _items(connection: Backend, data: Data) -> ir.Table:
    parts = []
    for index, platform in enumerate(data.platforms):
        spec = platform.items
        raw = engine.read(connection, spec.path)
        column = _reader(raw, spec, f"data.platforms[{index}].items")
        for name in template_fields(spec.text):
            _column(raw, name, "string", f"data.platforms[{index}].items.text", spec.path)
        part = raw.select(
            **{
                t.ITEM_ID: _id(column(t.ITEM_ID, "string"), platform, data),
                t.PLATFORM: ibis.literal(platform.name),
                t.CATEGORY: _words(column(t.CATEGORY, "string")),
                t.BRAND: _words(column(t.BRAND, "string")),
                t.PRICE: column(t.PRICE, "float64").try_cast("float64"),
                t.LANGUAGE: _words(column(t.LANGUAGE, "string")),
                t.TEXT: _text(raw, spec.text),
            }
        )
        parts.append(engine.materialize(connection, f"raw_items_{index}", part, spec.path))
    items = _union(parts).drop_null(t.ITEM_ID)
    described = [t.TEXT, t.CATEGORY, t.BRAND, t.PRICE, t.LANGUAGE]
    return _one_per(items, t.ITEM_ID, described)


def _text(raw: ir.Table, template: str) -> ir.StringValue:
    """The template filled in. An empty column takes the punctuation behind it along."""
    parts = [(literal, name) for literal, name, _, _ in Formatter().parse(template)]
    literals = [literal for literal, _ in parts[1:]]
    if parts[-1][1] is not None:
        literals.append("")
    text = ibis.literal(parts[0][0])
    for name, literal in zip(template_fields(template), literals, strict=True):
        value = _words(raw[name])
        text = text + ibis.ifelse(value.isnull(), "", value + literal)
    return text.strip()


def _users(connection: Backend, data: Data) -> ir.Table | None:
    parts = []
    for index, platform in enumerate(data.platforms):
        if platform.users is None:
            continue
        spec, key = platform.users, f"data.platforms[{index}].users"
        raw = engine.read(connection, spec.path)
        user_id = _column(raw, spec.columns.user_id, "string", f"{key}.columns.user_id", spec.path)
        tags = [_column(raw, tag, "string", f"{key}.tags", spec.path) for tag in spec.tags]
        named = [ibis.literal(f"{tag}=") + _words(value) for tag, value in zip(spec.tags, tags, strict=True)]
        part = raw.select(
            **{
                t.USER_ID: _id(user_id, platform, data),
                t.PLATFORM: ibis.literal(platform.name),
                t.TAGS: _tag_list(named),
            }
        )
        parts.append(engine.materialize(connection, f"raw_users_{index}", part, spec.path))
    if not parts:
        return None
    return _one_per(_union(parts).drop_null(t.USER_ID), t.USER_ID, t.TAGS)


def _all_users(users: ir.Table | None, rows: ir.Table) -> ir.Table:
    """The users file's users, and whoever bought something without standing in it."""
    buyers = rows.group_by(t.USER_ID).aggregate(**{t.PLATFORM: rows[t.PLATFORM].min()})
    buyers = buyers.mutate(**{t.TAGS: _tag_list([])})
    if users is None:
        return buyers
    return users.union(buyers.anti_join(users, t.USER_ID).select(*users.columns))


def _assign_domains(items: ir.Table, domains: Domains) -> ir.Table:
    known = sorted(filter(None, items[t.CATEGORY].as_table().distinct().to_pyarrow()[t.CATEGORY].to_pylist()))
    for name, domain in ((t.SOURCE, domains.source), (t.TARGET, domains.target)):
        for category in domain.category:
            if category != "*" and category not in known:
                close = get_close_matches(category, known, n=1)
                hint = f"did you mean '{close[0]}'?" if close else f"there are {', '.join(known[:20])}"
                raise InputError(f"domains.{name}.category: no item is in category '{category}'; {hint}")
    category = items[t.CATEGORY]
    is_target = category.isin(domains.target.category)
    is_source = category.notnull() if "*" in domains.source.category else category.isin(domains.source.category)
    domain = ibis.cases((is_target, t.TARGET), (is_source, t.SOURCE), else_=ibis.null("string"))
    return items.mutate(**{t.DOMAIN: domain})


def _one_clock(rows: ir.Table, data: Data) -> ir.Table:
    """Where only an order inside a category is known, source history counts as earlier than target history."""
    if data.platforms[0].interactions.columns.order is None:
        return rows
    earliest, latest = rows[CLOCK].min(), rows[CLOCK].max()
    span = (latest - earliest + 1).over(ibis.window())
    return rows.mutate(**{CLOCK: rows[CLOCK] + ibis.ifelse(rows[t.DOMAIN] == t.TARGET, span, 0)})


def _enough_interactions(connection: Backend, rows: ir.Table, data: Data, funnel: Funnel) -> ir.Table:
    """The k-core over users and items, taken away round by round until nothing more falls."""
    for round_number in count(1):
        before = funnel.interactions
        for key, minimum in (
            (t.USER_ID, data.min_interactions.user),
            (t.ITEM_ID, data.min_interactions.item),
        ):
            enough = rows.mutate(of_key=rows.count().over(ibis.window(group_by=key)))
            rows = enough.filter(enough.of_key >= minimum).drop("of_key")
        rows = _keep(connection, funnel, f"enough interactions, round {round_number}", rows)
        if funnel.interactions == before:
            break
    return rows


def _require_both_domains(rows: ir.Table, domains: Domains) -> None:
    counts = dict(rows.group_by(t.DOMAIN).aggregate(n=rows.count()).to_pyarrow().to_pandas().itertuples(index=False))
    for name, domain in ((t.TARGET, domains.target), (t.SOURCE, domains.source)):
        if not counts.get(name):
            raise InputError(
                f"domains.{name}: no interaction with {', '.join(domain.category)} is left after cleaning; "
                "look at the categories and at data.min_interactions"
            )
