from __future__ import annotations

from importlib.util import find_spec

import pytest

from crossrec_cli.models.words import terms
from crossrec_cli.ranking.search_score import Words
from crossrec_cli.text import segment

CASES = {
    "jieba": ("冷冻鸡胸肉 500g", "鸡胸肉", "草莓酸奶"),
    "janome": ("冷凍鶏肉とチーズ 500g", "チーズ", "苺のヨーグルト"),
    "pythainlp": ("แชมพูสระผมสมุนไพร", "แชมพู", "ข้าวหอมมะลิ"),
}


@pytest.mark.parametrize("splitter", CASES)
def test_a_word_inside_a_text_without_spaces_is_found(splitter):
    if find_spec(splitter) is None:
        pytest.skip("needs the extra crossrec[cjk]")
    text, word, other = CASES[splitter]
    assert word in segment.spaced(text).split()
    assert segment.spaced(text).replace(" ", "").startswith(text[:2])
    assert (Words.of([other, text]).scores([word])[0] > 0).tolist() == [False, True]
    assert word in [*terms(text)]


@pytest.fixture
def nothing_installed(monkeypatch):
    for name in ("_jieba", "_japanese", "_thai"):
        monkeypatch.setattr(segment, name, lambda: None)


def test_without_the_extra_a_run_stays_one_word(nothing_installed):
    for text, word, _ in [*CASES.values()][:2]:
        assert segment.spaced(text) == text
        assert not (Words.of([text, "soap"]).scores([word])[0] > 0).any()
        assert (Words.of([text, "soap"]).scores([text.split()[0]])[0] > 0).tolist() == [True, False]


def test_a_search_finds_a_word_in_a_longer_one():
    pytest.importorskip("jieba")
    assert (Words.of(["洗发水", "草莓酸奶"]).scores(["洗发"])[0] > 0).tolist() == [True, False]
    assert "洗发" not in [*terms("洗发水")]


def test_other_scripts_stay_as_they_are():
    for text in ("Crème Brûlée XR-500", "чай зелёный", "soap, 2 for 1", ""):
        assert segment.spaced(text) == text
