"""A config with other values of some fields."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import ValidationError

from crossrec_cli.config.schema import Config
from crossrec_cli.errors import ConfigError


def with_values(config: Config, values: Mapping[str, object]) -> Config:
    """A config with other values of some fields, given by their dotted names.

    Raises:
        ConfigError: if they are not allowed, or not together.
    """
    data = config.model_dump(mode="json")
    for name, value in values.items():
        *sections, last = name.split(".")
        section = data
        for part in sections:
            section = section[part]
        section[last] = value
    try:
        return Config.model_validate_json(json.dumps(data))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise ConfigError([f"{where}: {problem['msg'].removeprefix('Value error, ')}"]) from None
