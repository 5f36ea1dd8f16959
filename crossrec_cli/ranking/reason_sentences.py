"""Why an item is listed, as a sentence in English, German or Chinese."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from crossrec_cli.artifacts import columns as c

AUTO, ENGLISH = "auto", "en"
OF_SCORER = {
    "text": "texts",
    "words": "texts",
    "attributes": "attributes",
    "popularity": "popularity",
    "neighbours": "buyers",
    "linear": "buyers",
    "federated": "platforms",
    "neural": "history",
}
"""The kind of reason of each scorer."""


@dataclass(frozen=True)
class Wording:
    """The parts of a sentence in one language."""

    kinds: Mapping[str, str]
    """How a history item supports an entry, by kind of reason."""
    terms: Mapping[str, str]
    """The columns and domains that a sentence names."""
    nothing: str
    in_common: str
    between: tuple[str, str]
    """Between items, and between facts in common."""
    end: str


WORDINGS: Mapping[str, Wording] = {
    ENGLISH: Wording(
        {
            "texts": "like what was bought: {}",
            "attributes": "same brand, category or price as {}",
            "popularity": "sells well with {}",
            "buyers": "buyers of {} buy it",
            "platforms": "on all platforms, buyers of things like {} buy things like it",
            "history": "fits a history with {}",
        },
        {},
        "It sells well; nothing in the history speaks for it.",
        "; in common: {}",
        ("; ", ", "),
        ".",
    ),
    "de": Wording(
        {
            "texts": "ähnlich wie Gekauftes: {}",
            "attributes": "gleiche Marke, Kategorie oder Preislage wie {}",
            "popularity": "verkauft sich gut zusammen mit {}",
            "buyers": "wird gekauft von Käufern von {}",
            "platforms": "auf allen Plattformen wird Ähnliches gekauft von Käufern von Ähnlichem wie {}",
            "history": "passt zu früheren Käufen wie {}",
        },
        {c.BRAND: "Marke", c.CATEGORY: "Kategorie", c.SOURCE: "Quelle", c.TARGET: "Ziel"},
        "Verkauft sich gut; in den bisherigen Käufen spricht nichts dafür.",
        "; gemeinsam: {}",
        ("; ", ", "),
        ".",
    ),
    "zh": Wording(
        {
            "texts": "与已购商品相似：{}",
            "attributes": "与以下商品的品牌、类别或价位相同：{}",
            "popularity": "常与以下商品一起热销：{}",
            "buyers": "购买以下商品的顾客也会购买：{}",
            "platforms": "在所有平台上，购买过与以下商品相似之物的顾客也购买此类商品：{}",
            "history": "符合包含以下商品的购买记录：{}",
        },
        {c.BRAND: "品牌", c.CATEGORY: "类别", c.SOURCE: "来源", c.TARGET: "目标"},
        "销量好；购买记录中没有支持它的商品。",
        "；共同点：{}",
        ("；", "、"),
        "。",
    ),
}
"""By language."""


def language_of(chosen: str, items: pa.Table) -> str:
    """The language of sentences: the chosen one; with ``auto`` that of most target items, if there is a wording for it.

    Args:
        chosen: ``report.language``.
        items: rows of ``schemas.ITEMS``.
    """
    if chosen != AUTO:
        return chosen
    spoken = items.filter(pc.equal(items[c.DOMAIN], c.TARGET))[c.LANGUAGE].drop_null().value_counts().to_pylist()
    most = max(spoken, key=lambda count: (count["counts"], count["values"]), default={"values": ENGLISH})["values"]
    return most if most in WORDINGS else ENGLISH


class NamedItem(NamedTuple):
    """An item of the history that supports an entry of a list."""

    name: str
    """Of its item."""
    domain: str
    scorer: str
    """The one with the largest share of it."""
    share: float
    """Of all that raises the score in the history."""


def sentence(reasons: Sequence[NamedItem], shared: Sequence[str], language: str = ENGLISH) -> str:
    """Why an item is listed, in one sentence: the purchases by kind of reason, the strongest first.

    Args:
        reasons: the strongest first.
        shared: what the items have in common, as in the column ``in_common``.
        language: one of ``WORDINGS``.
    """
    wording = WORDINGS[language]
    if not reasons:
        return wording.nothing
    kinds: dict[str, list[str]] = {}
    for name, of_domain, scorer, share in reasons:
        domain = wording.terms.get(of_domain, of_domain)
        kinds.setdefault(OF_SCORER[scorer], []).append(f"{name} ({share:.0%}, {domain})")
    items, facts = wording.between
    text = items.join(wording.kinds[kind].format(items.join(of_kind)) for kind, of_kind in kinds.items())
    in_common = wording.in_common.format(facts.join(_fact(fact, wording) for fact in shared)) if shared else ""
    return f"{text[0].upper()}{text[1:]}{in_common}{wording.end}"


def _fact(fact: str, wording: Wording) -> str:
    """``brand X`` in the sentence's language."""
    column, space, value = fact.partition(" ")
    return f"{wording.terms[column]}{space}{value}" if space and column in wording.terms else fact
