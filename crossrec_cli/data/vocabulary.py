"""Names of columns in shops' files, in English, German and Chinese, by kind of file and our column."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping

USER = """
    user_id uid customer_id customer_no customer_number cust_id account_id client_id member_id household_id
    household_key visitor_id reviewer_id buyer_id person_id shopper_id user customer household member client buyer
    reviewer visitor shopper account Kundennummer Kunden_Nr Kunde_Nr KundenID Kunde Kundin Käufer Debitor
    Debitorennummer Mitgliedsnummer Mitglied Benutzer 用户ID 用户编号 用户 客户ID 客户编号 客户 会员ID 会员编号
    会员号 会员 顾客 买家ID 买家 u Email e_mail customer_email mail session_id session visit_id
"""
"""A session is only used if there is no longer-lived id."""
ITEM = """
    item_id iid product_id prod_id parent_asin asin sku sku_id StockCode article_id article_no article_number
    movie_id isbn ean gtin goods_id book_id listing_id product_code item_code item_no lineitem_sku variant_sku
    Artikelnummer Artikel_Nr ArtikelID Art_Nr ArtNr Produktnummer Produkt_Nr ProduktID Materialnummer 商品ID
    商品编号 商品编码 商品代码 货号 产品ID 产品编号 物品ID 款号 item product article Artikel Produkt Ware 商品 产品
    物品
"""
"""Numbers before names: if there is 'Artikelnummer', 'Artikel' is text for people."""
TIME = """
    timestamp event_time event_timestamp transaction_timestamp datetime time InvoiceDate order_date order_time
    order_timestamp ordered_at purchase_date purchase_time purchased_at transaction_date created_at sale_date
    unix_review_time review_time t_dat date day ts Bestelldatum Bestellzeit Bestellzeitpunkt Kaufdatum Auftragsdatum
    Rechnungsdatum Belegdatum Buchungsdatum Verkaufsdatum Zeitstempel Zeitpunkt Datum Zeit 时间戳 下单时间 购买时间
    订单时间 下单日期 购买日期 订单日期 时间 日期 paid_at processed_at
"""
COLUMNS: Mapping[str, Mapping[str, str]] = {
    "interactions": {
        "user_id": USER,
        "item_id": ITEM,
        "timestamp": TIME,
        "order": "pos position seq seq_id sequence step Reihenfolge 顺序 序号",
        "event": "event event_type action action_type behavior behavior_type behaviour interaction_type Ereignis "
        "Vorgang Vorgangsart Aktion 行为 行为类型 事件 事件类型",
        "quantity": "quantity qty units amount_of_units lineitem_quantity Menge Anzahl Stückzahl Stück 数量 购买数量 "
        "件数",
        "rating": "rating overall stars review_rating Bewertung Sterne 评分 评价",
    },
    "items": {
        "item_id": ITEM,
        "category": "category categories category_path category_code main_category department category_name "
        "product_category product_group_name product_group genres genre section class kind product_type domain "
        "Warengruppe Warengruppenname Kategorie Produktkategorie Artikelkategorie Produktgruppe Artikelgruppe "
        "Hauptkategorie Abteilung Sortiment 类别 商品类别 品类 商品品类 分类 商品分类 类目 商品类目",
        "brand": "brand brand_name manufacturer vendor store Marke Hersteller 品牌 品牌名称 厂商",
        "price": "price unit_price retail_price sales_price lineitem_price Preis Einzelpreis Stückpreis Verkaufspreis "
        "VK_Preis Bruttopreis 价格 单价 售价",
        "language": "language lang Sprache 语言",
    },
    "users": {"user_id": USER},
}
"""For each kind of file, our columns and their possible names, the most probable first."""
TEXT = """
    title name item_name product_name prod_name product_title lineitem_name display_name product_type
    product_type_name product_category description desc detail_desc product article item Titel Bezeichnung
    Artikelbezeichnung Produktbezeichnung Artikelname Produktname Artikel Produkt Beschreibung Artikelbeschreibung
    Produktbeschreibung 标题 商品标题 商品名称 商品名 产品名称 名称 描述 商品描述 商品 产品
"""
"""Columns with text about an item for people."""
EVENTS: Mapping[str, dict[str, object]] = {
    r"dislike|not.?interest|not.?for.?me|thumbs?.?down|downvote|gefällt.?nicht|kein.?interesse|不喜欢|不感兴趣": {
        "weight": -1.0
    },
    r"refund|return|cancel|retoure|storno|rückgabe|退": {"returns": True},
    r"view|click|impress|visit|pv|ansicht|klick|浏览|点击": {"weight": 0.1},
    r"cart|wish|fav|save|basket|warenkorb|merk|加购|收藏": {"weight": 0.5},
}
"""How events whose word matches a pattern probably count."""


def spelt(name: str) -> str:
    """A column's name for comparison: without case, spaces, punctuation and RecBole's type after a colon."""
    return re.sub(r":.*|[\W_]", "", unicodedata.normalize("NFKC", name).casefold())


def in_order(names: str, columns: Iterable[str]) -> list[str]:
    """The columns with one of the names, in any spelling, in the order of the names."""
    by_spelling = {spelt(column): column for column in reversed([*columns])}
    return list(dict.fromkeys(by_spelling[spelt(name)] for name in names.split() if spelt(name) in by_spelling))


def event_weights(events: Iterable[str]) -> dict[str, dict[str, object]]:
    """How each word of an event column probably counts."""
    return {
        word: next((worth for pattern, worth in EVENTS.items() if re.search(pattern, word.lower())), {})
        for word in events
    }
