"""The reference pages, from the code: what the config takes, what the commands take, what the files hold.

The site makes them when it is built (``hooks.py``), so they are never stale. Each is Markdown.
"""

from __future__ import annotations

import ast
import io
import json
import re
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import typer

from crossrec_cli.artifacts import columns, files, schemas
from crossrec_cli.cli import app
from crossrec_cli.config.document import json_schema
from crossrec_cli.errors import ExitCode
from crossrec_cli.pipeline.table import STAGES

Json = dict[str, Any]


def pages() -> dict[str, str]:
    """Every generated page by its path in the site."""
    return {
        "reference/config.md": config_page(json_schema()),
        "reference/commands.md": commands_page(typer.main.get_command(app)),
        "reference/files.md": files_page(),
        "reference/exit-codes.md": exit_codes_page(),
    }


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; a bar in a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


# Config


def config_page(schema: Json) -> str:
    """One heading a section of the config, one row a field."""
    text = [
        "# Config",
        "One YAML file, in which an unknown key is an error. [Write a config](../how-to/config.md) says how to check "
        "it. Each heading below is a section, and each row is a field. In a path, `[]` is each entry of a list and "
        "`NAME` any name. What holds for several sections is written once.",
    ]
    paths = section_paths(schema)
    for name, path in paths.items():
        section = schema["$defs"].get(name, schema)
        text += [f"## {path}", plain(section.get("description", "")), fields_table(section, paths)]
    return "\n\n".join(part for part in text if part) + "\n"


def section_paths(schema: Json) -> dict[str, str]:
    """The dotted path at which each kind of section is first met, by its name in the schema."""
    paths = {"": "Top level"}

    def walk(section: Json, path: str) -> None:
        for field, value in section["properties"].items():
            for name, suffix in inner_sections(value):
                here = f"{path}.{field}{suffix}".lstrip(".")
                if paths.setdefault(name, here) == here:
                    walk(schema["$defs"][name], here)

    walk(schema, "")
    return paths


def inner_sections(field: Json) -> Iterator[tuple[str, str]]:
    """The names of the sections that a field holds, and what stands behind the field's name to get to one."""
    if "$ref" in field:
        yield field["$ref"].rpartition("/")[2], ""
    for choice in field.get("anyOf", ()):
        yield from inner_sections(choice)
    for key, suffix in (("items", "[]"), ("additionalProperties", ".NAME")):
        if isinstance(field.get(key), dict):
            yield from ((name, suffix + rest) for name, rest in inner_sections(field[key]))


def fields_table(section: Json, paths: Mapping[str, str]) -> str:
    """Name, type, default and meaning of each field."""
    required = section.get("required", ())
    rows = [
        [f"`{name}`", kind(field, paths), default(field, name in required), plain(field.get("description", ""))]
        for name, field in section["properties"].items()
    ]
    return table(["field", "type", "default", "meaning"], rows)


def default(field: Json, required: bool) -> str:
    """A field's default as YAML has it."""
    if required:
        return "required"
    if "$ref" in field or "default" not in field:
        return ""
    value = field["default"]
    return f"`{value}`" if isinstance(value, str) else f"`{json.dumps(value, ensure_ascii=False)}`".replace('"', "")


def kind(field: Json, paths: Mapping[str, str]) -> str:
    """What a field may hold, in words."""
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(kind(choice, paths) for choice in field["anyOf"]))
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "$ref" in field:
        path = paths[field["$ref"].rpartition("/")[2]]
        return f"[section](#{re.sub(r'[^a-z_]', '', path.lower())})"
    words = {"array": "list", "object": "sections by name", "integer": "whole number", "boolean": "`true` or `false`"}
    name = words.get(field["type"], {"null": "`null`", "string": "text"}.get(field["type"], field["type"]))
    entries = f" of {kind(field['items'], paths)}" if field.get("items") else ""
    return f"{name}{entries} {bounds(field)}".strip()


def bounds(field: Json) -> str:
    """Of a number; the largest integers are no bound that anybody meets."""
    words = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    return ", ".join(f"{sign} {field[key]}" for key, sign in words.items() if field.get(key, 2**31) != 2**31)


def plain(text: str) -> str:
    """A docstring as one paragraph of Markdown."""
    return " ".join(text.split()).replace("``", "`")


# Commands


def commands_page(group: Any) -> str:
    """Every command with its arguments and options."""
    text = ["# Commands", "`crossrec COMMAND --help` says the same in a terminal."]
    for path, command in commands(group, "crossrec"):
        usage = " ".join([path, *(part.metavar for part in command.params if not part.opts[0].startswith("-"))])
        text += [f"## {path.removeprefix('crossrec ')}", f"    {usage} [OPTIONS]", plain(command.help or "")]
        rows = [[option(part), plain(part.help or "")] for part in command.params if not part.hidden]
        text += [table(["argument or option", "meaning"], rows)] if rows else []
    return "\n\n".join(text) + "\n"


def commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    """All commands of a Typer group and of the groups in it, with the words that name each."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def option(part: Any) -> str:
    """The names of an argument or option, with what it takes."""
    if not part.opts[0].startswith("-"):
        return f"`{part.metavar}`"
    value = "" if part.is_flag else f" {part.metavar or 'VALUE'}"
    return ", ".join(f"`{name}{value}`" for name in part.opts)


# Files


@dataclass(frozen=True)
class File:
    """What the reference says of a Parquet file."""

    note: str
    """The comment behind ``pa.schema(``."""
    columns: list[list[str]]
    """Name, type and meaning of each."""


ROWS = {
    files.INTERACTIONS: "a kept interaction",
    files.ITEMS: "an item of the catalogue",
    files.USERS: "a user",
    files.CASES: "a held-out interaction",
    files.QUALITY: "a figure of the data; `quality.html` draws them",
    files.REJECTED: "a row of a raw file that was removed",
    files.ITEM_LINKS: "a pair of items of two platforms whose texts agree",
    files.LISTINGS: "a platform's own id of an item",
    files.ITEM_TEXT: "an item, with the language model's embedding of its text",
    files.TAG_NAMES: "a tag that the model knows",
    files.ADAPT_LEARNING: "an epoch of the `neural` scorer",
    files.ADDED: "an item added since training; behind these columns it has those of `finetune/item_vectors.parquet`",
    files.UPDATED: "an item of the catalogue that a later file changed",
    files.ITEM_VECTORS: "an item, with its vector in each scorer",
    files.FUSION: "a feature of a scorer and a group of users",
    files.TERMS: "a dimension that stands for a word or a value",
    files.FINETUNE_LEARNING: "an epoch of the `neural` scorer",
    files.METRICS: "a model's metric at one k in one segment of the users",
    files.SIGNIFICANCE: "another model compared with crossrec",
    files.EXAMPLES: "an item in the history or list of one of a hundred test users",
    files.FEEDBACK: "an estimate of a reward in a segment",
    files.ACCURACY: "a segment of a domain",
    files.CALIBRATION: "a bin of pairs of a user and an item with similar scores",
    files.SOURCE_SHARE: "a segment of the users, or a pair of categories",
    files.PER_USER: "a model and a test user",
    files.TRANSFER_TABLE: "a segment and a control",
    files.RECOMMENDATIONS: "an entry of a user's list",
    files.BLEND: "one choice of weights for the parts of a search score",
    files.TRIALS: "a trial, the best first",
    files.FOUND: "an item that a query of `search --queries` found",
    files.SIMILAR: "an item of another item's list, by `similar --all`",
    files.AUDIENCE: "a user of an audience, the likeliest buyer first",
    files.IMPRESSIONS: "an item of a list that `serve` showed, by `feedback`; of an empty list, the list",
}
"""What a row of each file is."""
OTHER_SCHEMAS = {
    files.ADAPT_LEARNING: "LEARNING",
    files.FINETUNE_LEARNING: "LEARNING",
    files.ADDED: "ITEMS",
    files.UPDATED: "ITEMS",
    files.TRANSFER_TABLE: "TRANSFER",
}
"""Files whose schema in ``schemas`` does not have the name of the file's constant in ``stages``."""


def files_page() -> str:
    """Every stage's inputs, and every file's columns."""
    text = [
        "# Files",
        "A stage runs again when a file that it reads, or a config field that it depends on, has changed. "
        "[The run directory](../explanation/run-directory.md) says where the files are and what else is there.",
        "## What each stage reads",
    ]
    for stage in STAGES:
        parts = {"files": stage.reads, "files, where they are there": stage.reads_if_there, "config": stage.fields}
        lines = [f"    - {name}: {codes(names)}" for name, names in parts.items() if names]
        text.append("\n".join([f"- **{stage.name}**", *lines]))
    for path, file in parquet_files().items():
        note = f" {file.note[:1].upper()}{file.note[1:]}." if file.note else ""
        text += [f"## {path}", f"A row is {ROWS[path]}.{note}", table(["column", "type", "meaning"], file.columns)]
    return "\n\n".join(part for part in text if part) + "\n"


def codes(names: tuple[str, ...]) -> str:
    """Names as code."""
    return ", ".join(f"`{name}`" for name in names)


def parquet_files() -> dict[str, File]:
    """Every Parquet file that crossrec writes, by its path in the run directory."""
    documented = commented_schemas()
    constants = {value: name for name, value in vars(files).items() if str(value).endswith(".parquet")}
    described = with_changing_columns()
    for path, name in constants.items():
        if path not in described:
            described[path] = documented[OTHER_SCHEMAS.get(path, name)]
    reasons = documented["WHY"].columns
    described[files.RECOMMENDATIONS].columns.extend([*column[:2], f"with reasons: {column[2]}"] for column in reasons)
    return {path: described[path] for path in constants}


def with_changing_columns() -> dict[str, File]:
    """Files whose columns depend on the config."""
    vectors = [
        *columns_of(pa.schema([schemas.ITEMS.field(name) for name in (columns.ITEM_INDEX, columns.ITEM_ID)])),
        [f"`{columns.DOMAIN}`", "string", "source or target"],
        [
            "`SCORER_vector`",
            "list of float",
            "the item's vector in that scorer; of a sparse one the values that are not 0",
        ],
        ["`SCORER_terms`", "list of int32", "of a sparse vector: which dimensions these are"],
    ]
    per_user = [*columns_of(schemas.per_user([])), ["`METRIC@K`", "double", "such as `ndcg@10`; one column each"]]
    return {
        files.ITEM_TEXT: File("", columns_of(schemas.embeddings(384))),
        files.ITEM_VECTORS: File("", vectors),
        files.PER_USER: File("", per_user),
    }


def columns_of(schema: pa.Schema, comments: Mapping[str, str] | None = None) -> list[list[str]]:
    """Name, type and comment of each column."""
    return [[f"`{field.name}`", type_name(field.type), (comments or {}).get(field.name, "")] for field in schema]


def type_name(kind: pa.DataType) -> str:
    """Arrow's type in words."""
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        return f"list of {type_name(kind.value_type)}"
    if pa.types.is_struct(kind):
        return "(" + ", ".join(f"`{field.name}` {type_name(field.type)}" for field in kind) + ")"
    return str(kind)


def commented_schemas() -> dict[str, File]:
    """The schemas of ``schemas`` by name, with the comments behind ``pa.schema(`` and behind each column."""
    source = Path(schemas.__file__).read_text(encoding="utf-8")
    words = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {word.start[0]: word.string.lstrip("# ") for word in words if word.type == tokenize.COMMENT}
    found = {}
    for node in ast.parse(source).body:
        match node:
            case ast.Assign(targets=[ast.Name(name)], value=ast.Call(args=[ast.Dict(keys)])):
                schema = getattr(schemas, name)
                lines = {key.lineno for key in keys if key}
                one_line = lines == {node.lineno}
                meanings = {} if one_line else meanings_of(schema, keys, comments)
                found[name] = File(comments.get(node.lineno, ""), columns_of(schema, meanings))
    return found


def meanings_of(schema: pa.Schema, keys: Sequence[ast.expr | None], comments: Mapping[int, str]) -> dict[str, str]:
    """The comment on each column's line."""
    lines = [key.lineno for key in keys if key]
    return {column: comments.get(line, "") for column, line in zip(schema.names, lines, strict=True)}


# Exit codes


def exit_codes_page() -> str:
    """What the shell sees."""
    rows = [[str(code.value), code.meaning] for code in ExitCode]
    text = ["# Exit codes", "How a command ends, for scripts, cron and CI.", table(["code", "meaning"], rows)]
    return "\n\n".join(text) + "\n"
