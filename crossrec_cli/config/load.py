"""Strict YAML: every problem in the file at once, each with file, line, column and the nearest known key.

Scalars follow YAML 1.2's core schema, in which ``1e-4`` is a number and ``off`` is text. PyYAML's default is
YAML 1.1, in which it is the other way round.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import ValidationError

from crossrec_cli.config.field_types import Section
from crossrec_cli.config.schema import Config
from crossrec_cli.errors import ConfigError

try:
    from yaml import CSafeDumper as SafeDumper  # libyaml, which writes the same in a fifth of the time
except ImportError:
    from yaml import SafeDumper  # type: ignore[assignment]

Key = str | int
KeyPath = tuple[Key, ...]

_SET_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*|\[[0-9]{1,9}\])*")
_SET_KEY = re.compile(r"(\w+)(\])?")


class _CoreLoader(yaml.SafeLoader):
    """Safe YAML with the scalars of YAML 1.2's core schema (https://yaml.org/spec/1.2.2/#103-core-schema)."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012  PyYAML's own class attribute


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."),
):
    _CoreLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))


def _core_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    """An int as YAML 1.2 writes it: ``010`` is ten, not eight."""
    text = str(loader.construct_scalar(node))
    return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


_CoreLoader.add_constructor("tag:yaml.org,2002:int", _core_int)
_CORE_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("bool", "null", "int", "float", "str", "seq", "map")}


class _CoreDumper(SafeDumper):
    """Writes values without quotes if ``_CoreLoader`` reads them back as the same."""

    yaml_implicit_resolvers = _CoreLoader.yaml_implicit_resolvers


MAX_NODES = 100_000
"""More than any config needs; nested aliases would otherwise grow without end."""


@dataclass
class _Source:
    """Plain data, and the position of each part in its file."""

    data: Any = None
    positions: dict[KeyPath, str] = field(default_factory=dict)
    """``file:line:column``, or the ``--set``."""
    problems: list[str] = field(default_factory=list)

    def position(self, path: KeyPath) -> str:
        """The position of ``path``, or of the nearest part of the config around it."""
        while path not in self.positions and path:
            path = path[:-1]
        return self.positions[path]


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read and check a config file.

    Args:
        path: the YAML file.
        overrides: ``a.b[0].c=value`` strings, checked as if they were in the file.

    Raises:
        ConfigError: with every problem, one line each.
    """
    try:
        source = _read(path)
        for override in overrides:
            _override(source, override)
        config = Config.model_validate_json(json.dumps(source.data))
    except ValidationError as error:
        source.problems += _explain(error, source)
    except RecursionError:
        raise ConfigError([f"{path}: nested too deep"]) from None
    if source.problems:
        raise ConfigError(sorted(set(source.problems), key=_by_line))
    return config


def dump_config(config: Config) -> str:
    """A config as YAML with every field, which ``load_config`` reads as the same config."""
    return yaml.dump(config.model_dump(mode="json"), Dumper=_CoreDumper, sort_keys=False, allow_unicode=True, width=120)


def _by_line(problem: str) -> list[int | str]:
    return [int(part) if part.isdecimal() else part for part in re.split(r"([0-9]{1,9})", problem)]


def _read(path: Path) -> _Source:
    try:
        loader = _CoreLoader(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror or error}"]) from None
    except (UnicodeDecodeError, yaml.reader.ReaderError):
        raise ConfigError([f"{path}: not a text file in UTF-8"]) from None
    source = _Source(positions={(): f"{path}:1:1"})
    try:
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError([f"{path}:1:1: a config is a mapping of keys to values, and this file is not"])
        source.data = _build(loader, node, (), source, str(path), frozenset())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise ConfigError([f"{path}{where}: not valid YAML: {error.problem or error.context}"]) from None
    return source


def _build(
    loader: _CoreLoader, node: yaml.Node, path: KeyPath, source: _Source, file: str, inside: frozenset[int]
) -> Any:
    """Plain data of a node; notes positions and duplicate keys in ``source``."""
    position = f"{file}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"
    source.positions.setdefault(path, position)
    if len(source.positions) > MAX_NODES:
        raise ConfigError([f"{file}: has more than {MAX_NODES:,} keys and values"])
    if node.tag not in _CORE_TAGS:
        source.problems.append(f"{position}: the tag {node.tag} is not for configs")
        return None
    if id(node) in inside:
        source.problems.append(f"{position}: this alias contains itself")
        return None
    inside |= {id(node)}
    if isinstance(node, yaml.SequenceNode):
        return [_build(loader, child, (*path, i), source, file, inside) for i, child in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        try:
            return loader.construct_object(node)
        except (yaml.constructor.ConstructorError, ValueError, KeyError):
            source.problems.append(f"{position}: cannot read {node.value!r} as {node.tag}")
            return None
    data: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = str(key_node.value)
        position = f"{file}:{key_node.start_mark.line + 1}:{key_node.start_mark.column + 1}"
        if key in data:
            first = source.positions[(*path, key)].rsplit(":", 2)[1]
            source.problems.append(f"{position}: duplicate key '{key}', already given on line {first}")
        source.positions.setdefault((*path, key), position)
        data[key] = _build(loader, value_node, (*path, key), source, file, inside)
    return data


def _override(source: _Source, override: str) -> None:
    """Put one ``--set`` into the data, as if it were in the file."""
    position = f"--set {override}"
    dotted, equals, text = override.partition("=")
    path = _set_path(dotted)
    if not equals or not path:
        source.problems.append(f"{position}: write it as key=value or list[0].key=value")
        return
    loader = _CoreLoader(text)
    try:
        node = loader.get_single_node()
    except yaml.YAMLError:
        source.problems.append(f"{position}: '{text}' is not valid YAML")
        return
    value = node and _build(loader, node, (), _Source(problems=source.problems), position, frozenset())
    parent: Any = source.data
    key: Any
    for here, (key, following) in enumerate(zip(path, (*path[1:], None), strict=True)):
        if isinstance(key, int) != isinstance(parent, list) or not isinstance(parent, list | dict):
            source.problems.append(f"{position}: {dotted_path(path[:here]) or 'the config'} is not a {_kind(key)}")
            return
        if isinstance(parent, list) and isinstance(key, int) and key >= len(parent):
            source.problems.append(f"{position}: {dotted_path(path[:here])} has only {len(parent)} entries")
            return
        if following is None:
            parent[key] = value
        elif isinstance(parent, dict) and parent.get(key) is None:
            parent[key] = {}
        parent = parent[key]
        source.positions[path[: here + 1]] = position
    inside = [other for other in source.positions if other[: len(path)] == path and other != path]
    for other in inside:  # what the file had there before
        del source.positions[other]


def _set_path(dotted: str) -> KeyPath:
    """``data.platforms[0].name`` as ``('data', 'platforms', 0, 'name')``; empty if it has another form."""
    if not _SET_PATH.fullmatch(dotted):
        return ()
    return tuple(int(name) if bracket else name for name, bracket in _SET_KEY.findall(dotted))


def _kind(key: Key) -> str:
    return "list" if isinstance(key, int) else "mapping"


def dotted_path(path: KeyPath) -> str:
    """``('data', 'platforms', 0, 'name')`` as ``data.platforms[0].name``."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)
    return text.removeprefix(".")


def _explain(error: ValidationError, source: _Source) -> Iterator[str]:
    """Pydantic's errors, each as one line with its position."""
    for problem in error.errors(include_url=False, include_input=True):
        path: KeyPath = tuple(problem["loc"])
        parent, name = path[:-1], dotted_path(path)
        kind, message = problem["type"], problem["msg"]
        if kind == "extra_forbidden":
            message = f"unknown key '{path[-1]}'" + _in(parent) + _nearest(str(path[-1]), _known_keys(parent))
        elif kind == "missing":
            message = f"missing key '{path[-1]}'" + _in(parent)
        elif kind == "value_error":
            message = f"{name or 'config'}: {message.removeprefix('Value error, ')}"
        elif kind == "literal_error":
            choices = problem["ctx"]["expected"]
            message = f"{name}: {problem['input']!r} is not one of {choices}"
        elif problem["input"] is None:
            message = f"missing value of '{path[-1]}'" + _in(parent)
        elif kind == "string_pattern_mismatch":
            message = f"{name}: {problem['input']!r} does not have the form {problem['ctx']['pattern']}"
        else:
            message = f"{name}: {message[0].lower()}{message[1:]}, not {_shown(problem['input'])}"
        yield f"{source.position(path)}: {message}"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 40 else text[:37] + "..."


def _in(parent: KeyPath) -> str:
    return f" in {dotted_path(parent)}" if parent else ""


def _nearest(key: str, keys: list[str]) -> str:
    close = get_close_matches(key, keys, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f"; known here: {', '.join(keys)}"


def _known_keys(path: KeyPath) -> list[str]:
    """The keys that the section at ``path`` takes."""
    model: type[Section] = Config
    named = False  # whether the next key is a name from the user, such as a word of an event column
    for key in path:
        if isinstance(key, str) and not named:
            annotation = model.model_fields[key].annotation
            model, named = next(models_in(annotation)), get_origin(annotation) is dict
        elif isinstance(key, str):
            named = False
    return list(model.model_fields)


def models_in(annotation: Any) -> Iterator[type[Section]]:
    """The sections in a field's type."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)
