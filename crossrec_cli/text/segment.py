"""Words of scripts without spaces between them: Chinese, Japanese and Thai, by the extra ``cjk``."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from platformdirs import user_cache_path

HAN, KANA, THAI = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff", "\u3041-\u30ff\u31f0-\u31ff", "\u0e01-\u0e4e"
UNSPACED = f"[{HAN}{KANA}{THAI}]"
"""A letter of these scripts, as a pattern."""
_RUNS = re.compile(f"(?P<han>[{HAN}{KANA}]+)|(?P<thai>[{THAI}]+)")
_JAPANESE = re.compile(f"[{KANA}]")
SPLITTERS = ("jieba", "janome", "pythainlp")
"""For Chinese, Japanese and Thai."""

Split = Callable[[str], Iterable[str]]


def spaced(text: str, for_search: bool = False) -> str:
    """The text with a space around each word of these scripts; as it is where the script's splitter is not installed.

    A text with a kana is Japanese, other Chinese characters are Chinese.

    Args:
        text: any string.
        for_search: whether the words in a longer Chinese word come before it, so that each of them finds it. In the
            scorer ``words`` they would count for more than the word itself.
    """
    if not _RUNS.search(text):
        return text
    of_han = _japanese() if _JAPANESE.search(text) else _chinese(for_search)

    def words(run: re.Match[str]) -> str:
        split = of_han if run["han"] else _thai()
        return f" {' '.join(split(run[0]))} " if split else run[0]

    return _RUNS.sub(words, text)


def marks() -> str:
    """Signs that are part of a Thai word, but no letters to ``re``, where the splitter for Thai is installed."""
    return THAI if find_spec(SPLITTERS[-1]) else ""


def splitters() -> dict[str, str]:
    """The versions of the splitters that are installed, by name."""
    versions = {}
    for name in SPLITTERS:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def _chinese(for_search: bool) -> Split | None:
    if (tokenizer := _jieba()) is None:
        return None
    cut = tokenizer.cut_for_search if for_search else tokenizer.cut
    return lambda text: cut(text, HMM=False)


@cache
def _jieba() -> Any:
    """A tokenizer that keeps its dictionary in the user's cache; None if it is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its syntax, and of pkg_resources
            import jieba  # noqa: PLC0415  an extra
    except ImportError:
        return None
    jieba.setLogLevel("WARNING")  # it says how long its dictionary took
    tokenizer = jieba.Tokenizer()
    folder = user_cache_path("crossrec") / "jieba"
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer.tmp_dir = str(folder)  # else a folder that all users of the machine write to
    return tokenizer


@cache
def _japanese() -> Split | None:
    try:
        from janome.tokenizer import Tokenizer  # noqa: PLC0415  an extra
    except ImportError:
        return None
    tokenizer = Tokenizer(wakati=True)
    return lambda text: [str(word) for word in tokenizer.tokenize(text, wakati=True)]


@cache
def _thai() -> Split | None:
    os.environ.setdefault("PYTHAINLP_DATA", str(user_cache_path("crossrec") / "pythainlp"))  # else a folder in the home
    try:
        from pythainlp.tokenize import word_tokenize  # noqa: PLC0415  an extra
    except ImportError:
        return None
    return lambda text: word_tokenize(text, engine="newmm")
