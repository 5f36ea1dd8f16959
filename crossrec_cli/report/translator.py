"""The texts of the page, in the shop's language.

The code has them in English, where they are used; ``result_texts.py`` and its like have them in German and Chinese.
Names stay as they are: of models, metrics, segments, cleaning rules, categories, config fields and commands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from crossrec_cli.report.data_texts import DATA_TEXTS
from crossrec_cli.report.model_texts import MODEL_TEXTS
from crossrec_cli.report.result_texts import RESULT_TEXTS
from crossrec_cli.report.run_texts import RUN_TEXTS


@dataclass(frozen=True)
class Translator:
    """Texts in one language."""

    language: str
    """As in ``report.language``, without ``auto``."""
    translations: Mapping[str, str] | None = field(repr=False)
    """By English text; None: the texts stay English."""

    def __call__(self, english: str, **values: object) -> str:
        """A text, with its fields filled in.

        Args:
            english: the text, with named fields as ``str.format`` knows them.
            values: of the fields.

        Raises:
            KeyError: if it has no translation: an English sentence on a German page would not be noticed.
        """
        text = english if self.translations is None else self.translations[english]
        return text.format(**values)

    def name(self, value: str) -> str:
        """A value of the data that is a word of the page too, such as ``users``; any other as it is."""
        return value if self.translations is None else self.translations.get(value, value)

    def join(self, names: Sequence[str]) -> str:
        """``a, b and c``."""
        return self(" and ").join(filter(None, [self(", ").join(names[:-1]), *names[-1:]]))

    def sentences(self, sentences: Iterable[str]) -> str:
        """Some sentences as a paragraph, without those that are empty."""
        return self(" ").join(filter(None, sentences))


IN_ENGLISH = Translator("en", None)
PARTS = (RESULT_TEXTS, MODEL_TEXTS, DATA_TEXTS, RUN_TEXTS)
"""Every text in German and Chinese, by English text."""
TRANSLATORS = {
    "en": IN_ENGLISH,
    "de": Translator("de", {english: german for part in PARTS for english, (german, _) in part.items()}),
    "zh": Translator("zh", {english: chinese for part in PARTS for english, (_, chinese) in part.items()}),
}
"""By language."""
