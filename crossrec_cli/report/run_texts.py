"""The page's texts on the run: cost, feedback, example users, sources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

RUN_TEXTS: Final[Mapping[str, tuple[str, str]]] = {
    # cost
    "Time and memory": ("Zeit und Speicher", "时间与内存"),
    "In total {duration}, for a model with {parameters:,} trained parameters. Memory is the peak of the process up "
    "to the end of the stage.": (
        "Insgesamt {duration}, für ein Modell mit {parameters:,} trainierten Parametern. Speicher ist der "
        "Höchststand des Prozesses bis zum Ende der Stufe.",
        "总计 {duration}，模型有 {parameters:,} 个训练参数。内存是进程到该阶段结束为止的峰值。",
    ),
    "In training the peak was {memory}, of the GPU if there is one.": (
        "Im Training lag der Höchststand bei {memory}, auf der GPU, falls vorhanden.",
        "训练时的峰值为 {memory}；有 GPU 时指 GPU 显存。",
    ),
    "The last column is an estimate for ten times the users, items and interactions, from each stage's growth "
    "between one and three million interactions of a generated shop. Beyond that, ranking grows faster: with users "
    "times items.": (
        "Die letzte Spalte ist eine Schätzung für zehnmal so viele Nutzer, Artikel und Interaktionen, aus dem "
        "Wachstum jeder Stufe zwischen ein und drei Millionen Interaktionen eines generierten Shops. Darüber wächst "
        "das Ranking schneller: mit Nutzern mal Artikeln.",
        "最后一列是用户、商品和交互都增至十倍时的估计，依据各阶段在一个生成的商店上从一百万到三百万次交互的增长得出。"
        "超出该范围后，排序的开销增长更快：与用户数乘以商品数成正比。",
    ),
    "Cost by stage": ("Aufwand nach Stufe", "各阶段的开销"),
    "stage": ("Stufe", "阶段"),
    "time": ("Zeit", "时间"),
    "CPU time": ("CPU-Zeit", "CPU 时间"),
    "memory": ("Speicher", "内存"),
    "per second": ("pro Sekunde", "每秒"),
    "ten times the data": ("zehnfache Datenmenge", "十倍数据"),
    "{count:,.0f} users": ("{count:,.0f} Nutzer", "{count:,.0f} 个用户"),
    "{count:,.0f} interactions": ("{count:,.0f} Interaktionen", "{count:,.0f} 次交互"),
    # feedback, examples, sources
    "User feedback": ("Feedback der Nutzer", "用户反馈"),
    "Not measured: no feedback file was given (evaluate.feedback).": (
        "Nicht gemessen: Es wurde keine Datei mit Feedback angegeben (evaluate.feedback).",
        "未衡量：没有提供反馈文件（evaluate.feedback）。",
    ),
    "Logged is the mean over the impressions of the file. IPS and SNIPS estimate from them what an impression in "
    "crossrec's lists of {k} would bring. Each impression is weighted by how much more likely it would be seen "
    "there. If few logged impressions are in crossrec's lists, their effective number is small and the figure means "
    "little.": (
        "logged ist der Mittelwert über die Impressionen der Datei. IPS und SNIPS schätzen daraus, was eine "
        "Impression in den Listen von crossrec (Länge {k}) bringen würde. Jede Impression wird damit gewichtet, um "
        "wie viel wahrscheinlicher sie dort gesehen würde. Stehen nur wenige protokollierte Impressionen in den "
        "Listen von crossrec, ist ihre effektive Anzahl klein und der Wert sagt wenig.",
        "logged 是文件中所有曝光的均值。IPS 和 SNIPS 据此估计，一次曝光如果出现在 crossrec 长度为 {k} 的列表中会带来"
        "多少收益。每次曝光按其在该列表中被看到的可能性高出多少来加权。如果记录的曝光很少出现在 crossrec 的列表中，其"
        "有效数量就小，该数字意义不大。",
    ),
    "Feedback": ("Feedback", "反馈"),
    "reward, segment": ("Belohnung, Segment", "奖励，分组"),
    "95 %": ("95 %", "95 %"),
    "measure": ("Maß", "指标"),
    "value": ("Wert", "值"),
    "effective impressions": ("effektive Impressionen", "有效曝光"),
    "impressions": ("Impressionen", "曝光"),
    "Example users": ("Beispielnutzer", "示例用户"),
    "Test users drawn at random, before their test purchase. ✓ marks what they bought next.": (
        "Zufällig gezogene Testnutzer vor ihrem Testkauf. ✓ markiert, was sie als Nächstes gekauft haben.",
        "随机抽取的测试用户，处于其测试购买之前。✓ 标出他们接下来购买的商品。",
    ),
    "User {name}": ("Nutzer {name}", "用户 {name}"),
    "history, newest first": ("Kaufhistorie, neueste zuerst", "购买记录，最新的在前"),
    "crossrec's list, best first": ("Liste von crossrec, beste zuerst", "crossrec 的列表，最佳的在前"),
    "nothing yet": ("noch nichts", "尚无"),
    "Sources": ("Herkunft", "来源"),
    "Seed {seed}.": ("Seed: {seed}.", "随机种子：{seed}。"),
    "Artifacts": ("Artefakte", "产物"),
    "id": ("ID", "标识"),
    "started": ("Beginn", "开始时间"),
    "Versions": ("Versionen", "版本"),
    "software": ("Software", "软件"),
    "version": ("Version", "版本"),
    "Config": ("Konfiguration", "配置"),
    "field": ("Feld", "字段"),
}
"""By English text, in German and in Chinese."""
