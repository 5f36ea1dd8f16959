"""The config as text: with its defaults, without secrets, and as a JSON Schema for editors."""

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
    """The config without the accounts in addresses: names, passwords, and everything after a ``?``."""

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
    """The same for a part of the config; ``default`` is the section that this one replaces, if any."""
    if isinstance(value, dict | tuple):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _set_in(child, (*path, key), None)
    if not isinstance(value, Section):
        return
    for name, field in type(value).model_fields.items():
        current, here = getattr(value, name), (*path, name)
        if default is not None:
            usual = getattr(default, name)
        elif field.is_required():
            yield from _set_in(current, here, None)
            continue
        else:
            usual = field.get_default(call_default_factory=True)
        if isinstance(usual, Section):
            yield from _set_in(current, here, usual)
        elif current != usual:
            yield here, usual
            yield from _set_in(current, here, None)


def annotated(config: Config) -> str:
    """The config as YAML with every field, masked; a value that is not the default has the default in a comment."""
    config = masked(config)
    text = dump_config(config)
    lines = text.splitlines()
    ends = dict(_ends(yaml.compose(text, yaml.SafeLoader), ()))
    for path, usual in set_fields(config).items():
        lines[ends[path]] += f"  # default: {json.dumps(usual, ensure_ascii=False)}"
    return "\n".join(lines) + "\n"


def _ends(node: yaml.Node | None, path: KeyPath) -> Iterator[tuple[KeyPath, int]]:
    """For each field, the line that gets its comment."""
    if isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            yield from _ends(child, (*path, index))
    elif isinstance(node, yaml.MappingNode):
        for key, child in node.value:
            here = (*path, key.value)
            yield here, (child.end_mark if isinstance(child, yaml.ScalarNode) else key.start_mark).line
            yield from _ends(child, here)


class _Untitled(GenerateJsonSchema):
    """No titles, which would only repeat the keys."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Always False."""
        return False


def json_schema() -> dict[str, Any]:
    """The config as a JSON Schema, with the meaning of each field. It allows a little more than ``load_config``."""
    schema = Config.model_json_schema(schema_generator=_Untitled)
    for section in _sections(Config):
        fields = schema["$defs"].get(section.__name__, schema)["properties"]
        for parent in reversed(section.__mro__[: section.__mro__.index(Section)]):
            for name, meaning in _meanings(parent).items():
                fields[name]["description"] = meaning
    return {"$schema": DIALECT} | schema


def _sections(section: type[Section]) -> Iterator[type[Section]]:
    """A section and all within it."""
    yield section
    for field in section.model_fields.values():
        for inner in models_in(field.annotation):
            yield from _sections(inner)


def _meanings(section: type) -> dict[str, str]:
    """The docstrings of the fields of a class. Pydantic can read them too, but only at every start of the command."""
    (tree,) = ast.parse(inspect.getsource(section)).body
    assert isinstance(tree, ast.ClassDef)
    return {
        field.target.id: " ".join(text.value.value.split())
        for field, text in zip(tree.body, tree.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    }
