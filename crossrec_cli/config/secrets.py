"""Addresses without what they tell of accounts."""

from __future__ import annotations

import re

MASKED = "***"
"""In place of names, passwords and queries in addresses."""
_SECRET = re.compile(r"(?<=://)[^/@\s'\"]+(?=@)|(?<=\?)[^\s'\"]+")


def mask(text: str) -> str:
    """A text without what addresses in it tell of accounts: names, passwords, and whatever stands behind a ``?``."""
    return _SECRET.sub(MASKED, text) if "://" in text else text
