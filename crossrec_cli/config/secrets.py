"""Addresses without accounts."""

from __future__ import annotations

import re

MASKED = "***"
"""Replaces names, passwords and queries in addresses."""
_SECRET = re.compile(r"(?<=://)[^/@\s'\"]+(?=@)|(?<=\?)[^\s'\"]+")


def mask(text: str) -> str:
    """A text without the accounts in its addresses: names, passwords, and everything after a ``?``."""
    return _SECRET.sub(MASKED, text) if "://" in text else text
