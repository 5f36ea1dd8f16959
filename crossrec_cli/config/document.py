"""The config written out: with its defaults, without what is secret, and as a JSON Schema for editors."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic.json_schema import GenerateJsonSchema

from crossrec_cli.config.field_types import Section
from crossrec_cli.config.load import KeyPath, dump_config, models_in
from crossrec_cli.config.schema import Config
from crossrec_cli.config.secrets import mask

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def masked(config: Config) -> Config:
    """The config without what addresses tell of accounts: names, passwords, and whatever stands behind a ``?``."""

    def hide(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: hide(child) for key, child in value.items()}
        if isinstance(value, list):
            return [hide(child) for child in value]
        return mask(value) if isinstance(value, str) else value

    return Config.model_validate_json(json.dumps(hide(config.model_dump(mode="json"))))


def set_fields(config: Config) -> dict[KeyPath, Any]:
    """The fields whose value is not the default, with the default."""
    return dict(_set_in(config, (), None))


def _set_in(value: Any, path: KeyPath, default: Any) -> Iterator[tuple[KeyPath, Any]]:
    """Of a value that may hold sections; ``default`` is a section that this one stands in place of, if any."""
    if isinstance(value, dict | tuple):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _set_in(child, (*path, key), None)
    if not isinstance(value, Section):
        return
    for name, field in type(value).model_fields.items():
        mine, here = getattr(value, name), (*path, name)
        if default is not None:
            usual = getattr(default, name)
        elif field.is_required():
            yield from _set_in(mine, here, None)
            continue
        else:
            usual = field.get_default(call_default_factory=True)
        if isinstance(usual, Section):
            yield from _set_in(mine, here, usual)
        elif mine != usual:
            yield here, usual
            yield from _set_in(mine, here, None)


def annotated(config: Config) -> str:
    """The config as YAML with every field, masked; what is not the default has the default in a comment."""
    config = masked(config)
    text = dump_config(config)
    lines = text.splitlines()
    ends = dict(_ends(yaml.compose(text, yaml.SafeLoader), ()))
    for path, usual in set_fields(config).items():
        lines[ends[path]] += f"  # default: {json.dumps(usual, ensure_ascii=False)}"
    return "\n".join(lines) + "\n"


def _ends(node: yaml.Node | None, path: KeyPath) -> Iterator[tuple[KeyPath, int]]:
    """The line behind which there is room for a comment on each field."""
    if isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            yield from _ends(child, (*path, index))
    elif isinstance(node, yaml.MappingNode):
        for key, child in node.value:
            here = (*path, key.value)
            yield here, (child.end_mark if isinstance(child, yaml.ScalarNode) else key.start_mark).line
            yield from _ends(child, here)


class _Untitled(GenerateJsonSchema):
    """Without a title that repeats each key."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Never."""
        return False


def json_schema() -> dict[str, Any]:
    """The config as a JSON Schema, with what each field means. It allows somewhat more than ``load_config``."""
    found = Config.model_json_schema(schema_generator=_Untitled)
    for section in _sections(Config):
        fields = found["$defs"].get(section.__name__, found)["properties"]
        for parent in reversed(section.__mro__[: section.__mro__.index(Section)]):
            for name, meaning in _meanings(parent).items():
                fields[name]["description"] = meaning
    return {"$schema": DIALECT} | found


def _sections(section: type[Section]) -> Iterator[type[Section]]:
    """A section and all within it."""
    yield section
    for field in section.model_fields.values():
        for inner in models_in(field.annotation):
            yield from _sections(inner)


def _meanings(section: type) -> dict[str, str]:
    """What stands below the fields of a class. Pydantic could read it, but would at every start of the command."""
    (tree,) = ast.parse(inspect.getsource(section)).body
    assert isinstance(tree, ast.ClassDef)
    return {
        field.target.id: " ".join(text.value.value.split())
        for field, text in zip(tree.body, tree.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    }
