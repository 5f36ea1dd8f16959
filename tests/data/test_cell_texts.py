"""Texts for people that are read out of a cell."""

from __future__ import annotations

import pytest
from evaluated import check, read

from crossrec_cli.config.data_fields import Clean
from crossrec_cli.data import cells as c

MARKUP = {
    "<b>Rock</b> &amp; <i>Roll</i>": "Rock & Roll",
    "a<br>b<BR/>c": "a b c",
    '<a href="x>y" class=z>link</a>': "link",
    "<ul>\n<li>a</li><li>b</li></ul>": "a b",
    "<o:p>a</o:p>": "a",
    "<script>alert('<b>')</script>a": "a",
    '<SCRIPT type="x">\nlet b = 1 < 2\n</SCRIPT >a<style>p {c: d}</style>b': "a b",
    "a<!-- c\n<b> -->b": "a b",
    "<p></p>": None,
    "&lt;b&gt;a&lt;/b&gt;": "a",
    "R&amp;amp;B": "R&B",
    "&amp;#39;n&#39;": "'n'",
    "&#x1F680; &euro;5 5&quot;": '🚀 €5 5"',
    "&#0;a&#xD800;": "\ufffda\ufffd",
    "AT&T & &bogus;": "AT&T & &bogus;",
    "3 < 4": "3 < 4",
    "3<4 and 5>4": "3<4 and 5>4",
    "if a < b > c": "if a < b > c",
    "I <3 you": "I <3 you",
    "a <b": "a <b",
}
CONTROL = {
    "a\0b\x07c": "a b c",
    "a\tb\nc\r\nd": "a b c d",
    "a\x7fb\x85c\x9fd": "a b c d",
    "a\u00a0b\u2003c\u3000d\u2028e": "a b c d e",
    "\ufeffa\ufeff": "a",
    "  a   b  ": "a b",
    "\x1f": None,
    "\u200b\u00ad": None,
    "": None,
    None: None,
}
COMPATIBLE = {
    "ﬁne": "fine",
    "Ⅳ ②": "IV 2",
    "ｆｕｌｌ": "full",
    "e\u0301": "é",
    "ﻻ": "لا",
    "10 m²": "10 m2",
    "™": "TM",
}
AS_IT_IS = [
    "中文 标题",
    "日本語のタイトル",
    "한국어 제목",
    "كِتَابٌ جَدِيد",
    "می\u200cخواهم",
    "\u200fעברית\u200f",
    "हिन्दी क्\u200dष",
    "ภาษาไทย",
    "Ελληνικά",
    "Straße",
    "👩\u200d🚀",
    "👩🏽\u200d🤝\u200d👨🏻",
    "🇩🇪🇫🇷",
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "❤\ufe0f\u200d🔥",
    "1\ufe0f⃣",
]


@pytest.mark.parametrize(
    "expected",
    [MARKUP, CONTROL, COMPATIBLE, {text: text for text in AS_IT_IS}],
    ids=["markup", "control", "compatible", "as it is"],
)
def test_texts_for_people(expected):
    check(c.plain, expected, None, Clean())


def test_each_cleaning_of_texts_can_be_left_out():
    text = "<b>ﬁ&amp;</b>\ta"
    for switch, expected in (
        ("markup", "<b>fi&amp;</b> a"),
        ("nfkc", "ﬁ& a"),
        ("control_characters", "fi& \ta"),
    ):
        assert read(c.plain, [text], None, Clean(**{switch: False})) == [expected]
