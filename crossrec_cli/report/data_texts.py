"""The page's texts on the data and their drift, and the data's own words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

DATA_TEXTS: Final[Mapping[str, tuple[str, str]]] = {
    # between words and sentences
    ", ": (", ", "、"),
    " and ": (" und ", "、"),
    " ": (" ", ""),
    "{low} to {high}": ("{low} bis {high}", "{low} 至 {high}"),
    "{value} ({low} to {high})": ("{value} ({low} bis {high})", "{value}（{low} 至 {high}）"),
    "{name} among {count}": ("{name} unter {count}", "{name}（{count} 个候选）"),
    # values of the data that are words of the page too
    "source": ("Quelle", "源域"),
    "target": ("Ziel", "目标域"),
    "both": ("beide", "两者"),
    "users": ("Nutzer", "用户"),
    "items": ("Artikel", "商品"),
    "interactions": ("Interaktionen", "交互"),
    "density": ("Dichte", "密度"),
    "others": ("andere", "其他模型"),
    "new users": ("neue Nutzer", "新用户"),
    "gone users": ("nicht mehr vorhandene Nutzer", "消失的用户"),
    "interactions of new users": ("Interaktionen neuer Nutzer", "新用户的交互"),
    "new items": ("neue Artikel", "新商品"),
    "gone items": ("nicht mehr vorhandene Artikel", "消失的商品"),
    "interactions of new items": ("Interaktionen mit neuen Artikeln", "新商品的交互"),
    "categories of interactions": ("Kategorien der Interaktionen", "交互的品类"),
    "prices of interactions": ("Preise der Interaktionen", "交互的价格"),
    "interactions of a user": ("Interaktionen je Nutzer", "每个用户的交互数"),
    "scores of the first entry": ("Scores des ersten Eintrags", "列表首位的分数"),
    "mean": ("Mittelwert", "均值"),
    "small": ("gering", "小"),
    "moderate": ("mäßig", "中等"),
    "large": ("groß", "大"),
    "items without a category": ("Artikel ohne Kategorie", "没有品类的商品"),
    # the data
    "The data": ("Die Daten", "数据"),
    "Look for rules that remove more than they should, months without data, and a few items with nearly all "
    "interactions.": (
        "Zu achten ist auf Regeln, die mehr entfernen als sie sollen, auf Monate ohne Daten und auf wenige Artikel "
        "mit fast allen Interaktionen.",
        "请留意删除过多的规则、没有数据的月份，以及几乎占据全部交互的少数商品。",
    ),
    "Where source and target share hardly any users, there is little to transfer.": (
        "Wo Quelle und Ziel kaum gemeinsame Nutzer haben, lässt sich wenig übertragen.",
        "如果源域和目标域几乎没有共同用户，可迁移的知识就很少。",
    ),
    "The target is the whole catalogue: source and target are the same items.": (
        "Das Ziel ist der ganze Katalog: Quelle und Ziel sind dieselben Artikel.",
        "目标域是整个商品目录：源域和目标域的商品相同。",
    ),
    "Source and target": ("Quelle und Ziel", "源域与目标域"),
    "Rows kept after each step": ("Verbliebene Zeilen nach jedem Schritt", "每一步之后保留的行"),
    "Rows removed by each rule": ("Entfernte Zeilen je Regel", "每条规则删除的行"),
    "step": ("Schritt", "步骤"),
    "rule": ("Regel", "规则"),
    "count": ("Anzahl", "数量"),
    "Items to check": ("Zu prüfende Artikel", "需要检查的商品"),
    "Joined ids": ("Zusammengeführte IDs", "合并的 id"),
    "Share of the interactions with the most bought items": (
        "Anteil der meistgekauften Artikel an den Interaktionen",
        "最畅销商品占交互的比例",
    ),
    "In the {domain}, the most bought {items} of the items have {share} of the interactions.": (
        "{domain}: Auf die meistgekauften {items} der Artikel entfallen {share} der Interaktionen.",
        "{domain}：最畅销的 {items} 商品占交互的 {share}。",
    ),
    "In the {domain}, the most bought {items} of the items have {share} of the interactions, {more} of the items "
    "have {larger}.": (
        "{domain}: Auf die meistgekauften {items} der Artikel entfallen {share} der Interaktionen, auf {more} der "
        "Artikel {larger}.",
        "{domain}：最畅销的 {items} 商品占交互的 {share}，{more} 的商品占 {larger}。",
    ),
    "Share of the items, most bought first": ("Anteil der Artikel, meistgekaufte zuerst", "商品比例（最畅销的在前）"),
    "Share of the items": ("Anteil der Artikel", "商品比例"),
    "Share of the interactions": ("Anteil der Interaktionen", "交互比例"),
    "Domain": ("Domäne", "域"),
    "Shared users, by category": ("Gemeinsame Nutzer nach Kategorie", "共同用户，按品类"),
    "Shared users, by platform": ("Gemeinsame Nutzer nach Plattform", "共同用户，按平台"),
    "Category": ("Kategorie", "品类"),
    "Platform": ("Plattform", "平台"),
    "A stronger colour is a larger share of the smaller one's users. The diagonal has all users of one.": (
        "Je kräftiger die Farbe, desto größer der Anteil an den Nutzern der kleineren Gruppe. Auf der Diagonale "
        "stehen alle Nutzer einer Gruppe.",
        "颜色越深，共同用户占较小一方用户的比例越大。对角线是各自的全部用户。",
    ),
    "Largest: {share}, {first} and {second}.": (
        "Am größten: {share}, {first} und {second}.",
        "最大：{share}，{first} 与 {second}。",
    ),
    "Smallest: {share}, {first} and {second}.": (
        "Am kleinsten: {share}, {first} und {second}.",
        "最小：{share}，{first} 与 {second}。",
    ),
    "First": ("Erste", "第一个"),
    "Second": ("Zweite", "第二个"),
    "Users of both": ("Gemeinsame Nutzer", "共同用户"),
    "Share of the smaller": ("Anteil an der kleineren", "占较小一方的比例"),
    "Interactions in each month": ("Interaktionen je Monat", "每月的交互"),
    "Interactions in each year": ("Interaktionen je Jahr", "每年的交互"),
    "Month": ("Monat", "月份"),
    "Year": ("Jahr", "年份"),
    "Interactions": ("Interaktionen", "交互"),
    "From {first} to {last}, some in every month.": (
        "Von {first} bis {last}, in jedem Monat welche.",
        "从 {first} 到 {last}，每个月都有。",
    ),
    "From {first} to {last}, some in every year.": (
        "Von {first} bis {last}, in jedem Jahr welche.",
        "从 {first} 到 {last}，每年都有。",
    ),
    "From {first} to {last}, none in {missing} of {spanned} months.": (
        "Von {first} bis {last}, Monate ohne Interaktionen: {missing} von {spanned}.",
        "从 {first} 到 {last}，{spanned} 个月中有 {missing} 个月没有。",
    ),
    "From {first} to {last}, none in {missing} of {spanned} years.": (
        "Von {first} bis {last}, Jahre ohne Interaktionen: {missing} von {spanned}.",
        "从 {first} 到 {last}，{spanned} 年中有 {missing} 年没有。",
    ),
    # drift
    "Drift since the run before": ("Drift seit dem vorherigen Lauf", "与上一次运行相比的漂移"),
    "Compared with the files that these replaced. The population stability index says how far a distribution is from "
    "the one before, less what chance alone gives: up to {moderate:g} small, above {large:g} large.": (
        "Verglichen mit den Dateien, die durch diese ersetzt wurden. Der Population Stability Index sagt, wie weit "
        "eine Verteilung von der vorherigen entfernt ist, abzüglich dessen, was der Zufall allein ergibt: bis "
        "{moderate:g} gering, über {large:g} groß.",
        "与被替换的文件比较。群体稳定性指标（PSI）衡量一个分布与之前的差距，已扣除纯属偶然的部分：不超过 "
        "{moderate:g} 为小，超过 {large:g} 为大。",
    ),
    "Sizes": ("Größen", "规模"),
    "New and gone": ("Neu und nicht mehr vorhanden", "新增与消失"),
    "Distributions": ("Verteilungen", "分布"),
    "before": ("vorher", "之前"),
    "now": ("jetzt", "现在"),
    "stability index": ("Stabilitätsindex", "稳定性指标"),
    "drift": ("Drift", "漂移"),
    "figure": ("Kennzahl", "统计量"),
    "share of {category}": ("Anteil „{category}“", "“{category}”的份额"),
}
"""By English text, in German and in Chinese."""
