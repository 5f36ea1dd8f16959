"""The page's texts on whether it is better: verdict, transfer, comparison, segments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

RESULT_TEXTS: Final[Mapping[str, tuple[str, str]]] = {
    # the verdict
    "Does it recommend better?": ("Sind die Empfehlungen besser?", "推荐是否更好？"),
    "Yes: better than {model}, by {gain}.": ("Ja: besser als {model}, um {gain}.", "是：优于 {model}，提升 {gain}。"),
    "Yes: better than all {count} others, by {gain} over the best of them, {model}.": (
        "Ja: besser als alle {count} anderen Modelle, gegenüber dem besten davon, {model}, um {gain}.",
        "是：优于全部 {count} 个其他模型，比其中最好的 {model} 提升 {gain}。",
    ),
    "No: {model} is better.": ("Nein: {model} ist besser.", "否：{model} 更好。"),
    "No: {models} are better.": ("Nein: {models} sind besser.", "否：{models} 更好。"),
    "Not shown: the difference to {models} may be chance.": (
        "Nicht belegt: Der Unterschied zu {models} kann Zufall sein.",
        "尚无定论：与 {models} 的差异可能只是偶然。",
    ),
    "Not compared with any model: evaluate.baselines is empty.": (
        "Mit keinem Modell verglichen: evaluate.baselines ist leer.",
        "未与任何模型比较：evaluate.baselines 为空。",
    ),
    "crossrec reaches {name} {value:.4f} over {users}.": (
        "crossrec erreicht {name} {value:.4f} bei {users}.",
        "crossrec 在 {users}上的 {name} 为 {value:.4f}。",
    ),
    "{users:,} test users": ("{users:,} Testnutzern", "{users:,} 个测试用户"),
    "{evaluated:,} of {total:,} test users, drawn at random": (
        "{evaluated:,} von {total:,} Testnutzern, zufällig gezogen",
        "{total:,} 个测试用户中随机抽取的 {evaluated:,} 个用户",
    ),
    "The target is the whole catalogue, so source and target are the same items.": (
        "Das Ziel ist der ganze Katalog, Quelle und Ziel sind also dieselben Artikel.",
        "目标域是整个商品目录，因此源域和目标域的商品相同。",
    ),
    "The transfer gain is out of date ({reason}); run 'crossrec transfer' again.": (
        "Der Transfergewinn ist veraltet ({reason}); bitte „crossrec transfer“ erneut ausführen.",
        "迁移增益已过时（{reason}）；请重新运行“crossrec transfer”。",
    ),
    "Whether the source helps was not measured; 'crossrec transfer' measures it.": (
        "Ob die Quelle hilft, wurde nicht gemessen; „crossrec transfer“ misst es.",
        "尚未衡量源域是否有帮助；可用“crossrec transfer”衡量。",
    ),
    "The source helps: {gain}.": ("Die Quelle hilft: {gain}.", "源域有帮助：{gain}。"),
    "The source harms: {gain}.": ("Die Quelle schadet: {gain}.", "源域有害：{gain}。"),
    "It is unclear whether the source helps: {gain}.": (
        "Ob die Quelle hilft, ist unklar: {gain}.",
        "源域是否有帮助尚不明确：{gain}。",
    ),
    "Another model is better for {segments}.": (
        "In diesen Segmenten ist ein anderes Modell besser: {segments}.",
        "在以下分组中，另有模型更好：{segments}。",
    ),
    "Another model's mean is higher, perhaps by chance, for {segments}.": (
        "In diesen Segmenten hat ein anderes Modell einen höheren Mittelwert, vielleicht durch Zufall: {segments}.",
        "在以下分组中，另有模型的均值更高，但可能只是偶然：{segments}。",
    ),
    "{count} more": ("{count} weitere", "另外 {count} 个"),
    # whether the source helps
    "Does the source help?": ("Hilft die Quelle?", "源域是否有帮助？"),
    "The controls have the same budget: without the source's purchases, without the texts, and without training "
    "(without the scorer neural). Each figure is the mean of {seeds} seeds, user by user.": (
        "Die Kontrollen haben das gleiche Budget: ohne die Käufe der Quelle, ohne die Texte und ohne Training (ohne "
        "den Scorer neural). Jeder Wert ist ein Mittelwert über Seeds (Anzahl: {seeds}), Nutzer für Nutzer.",
        "各对照的预算相同：不用源域购买、不用文本、不做训练（不用打分器 neural）。每个数字都是 {seeds} 个随机种子的均"
        "值，逐用户计算。",
    ),
    "Frozen texts are read by the language model before its adaptation.": (
        "Bei frozen texts liest das Sprachmodell die Texte so, wie es vor seiner Anpassung war.",
        "frozen texts 表示由适配前的语言模型读取文本。",
    ),
    "The source harms {segments}.": (
        "Die Quelle schadet in diesen Segmenten: {segments}.",
        "源域对以下分组有害：{segments}。",
    ),
    "There is no segment that the source harms significantly.": (
        "In keinem Segment schadet die Quelle signifikant.",
        "没有任何分组因源域而显著变差。",
    ),
    "Transfer gain by segment": ("Transfergewinn nach Segment", "各分组的迁移增益"),
    "Right of 0 the source helps.": ("Rechts von 0 hilft die Quelle.", "在 0 右侧表示源域有帮助。"),
    "Gain in NDCG@10 over the target alone": (
        "Gewinn an NDCG@10 gegenüber dem Ziel allein",
        "相对于仅用目标域的 NDCG@10 提升",
    ),
    "crossrec and its controls": ("crossrec und seine Kontrollen", "crossrec 与各对照"),
    "segment, users": ("Segment, Nutzer", "分组，用户数"),
    "control": ("Kontrolle", "对照"),
    "NDCG@10": ("NDCG@10", "NDCG@10"),
    "HR@10": ("HR@10", "HR@10"),
    "gain (95 %)": ("Gewinn (95 %)", "提升（95 %）"),
    "transfer gain": ("Transfergewinn", "迁移增益"),
    "What the source contributes": ("Was die Quelle beiträgt", "源域的贡献"),
    "Of all that a user's purchases add to the scores of the listed items, as log-odds, how much comes from source "
    "purchases. A pair has the part of its source category in the scores of the listed items of its target category; "
    "below 0 it lowers them.": (
        "Angegeben ist, welcher Teil von allem, was die Käufe eines Nutzers zu den Scores der gelisteten Artikel "
        "beitragen (als Log-Odds), aus Käufen in der Quelle stammt. Ein Paar nennt den Anteil seiner Quellkategorie "
        "an den Scores der gelisteten Artikel seiner Zielkategorie; unter 0 senkt sie diese Scores.",
        "在用户的购买对列表商品分数的全部贡献（以对数几率计）中，有多少来自源域购买。每一对给出其源域品类在其目标域品"
        "类的列表商品分数中所占的份额；小于 0 表示它降低了分数。",
    ),
    "The source may say much and yet not help: whether it helps is the transfer gain.": (
        "Die Quelle kann viel beitragen und trotzdem nicht helfen: Ob sie hilft, sagt der Transfergewinn.",
        "源域可能贡献很大却没有帮助：是否有帮助要看迁移增益。",
    ),
    "The source may say much and yet not help: whether it helps is the transfer gain, which crossrec transfer "
    "measures.": (
        "Die Quelle kann viel beitragen und trotzdem nicht helfen: Ob sie hilft, sagt der Transfergewinn, den "
        "crossrec transfer misst.",
        "源域可能贡献很大却没有帮助：是否有帮助要看迁移增益，可用 crossrec transfer 衡量。",
    ),
    "source share (95 %)": ("Anteil der Quelle (95 %)", "源域份额（95 %）"),
    "The strongest pairs of categories": ("Die stärksten Paare von Kategorien", "关联最强的品类对"),
    "source → target": ("Quelle → Ziel", "源域 → 目标域"),
    "share": ("Anteil", "份额"),
    "listed items": ("gelistete Artikel", "列表商品数"),
    # compared with other models, by segment
    "Compared with other models": ("Im Vergleich mit anderen Modellen", "与其他模型的比较"),
    "All rank the same items for the same users.": (
        "Alle ordnen dieselben Artikel für dieselben Nutzer.",
        "所有模型都为相同的用户对相同的商品排序。",
    ),
    "All rank the target's items (external: only those in its lists) for the same users.": (
        "Alle ordnen die Artikel des Ziels (external: nur die in seinen Listen) für dieselben Nutzer.",
        "所有模型都为相同的用户对目标域的商品排序（external 只包括其列表中的商品）。",
    ),
    "All rank what was bought among {count:,} sampled items (which makes all figures larger) for the same users.": (
        "Alle ordnen das Gekaufte unter {count:,} zufällig gezogenen Artikeln ein (das macht alle Werte größer), für "
        "dieselben Nutzer.",
        "所有模型都为相同的用户，将所购商品与随机抽取的 {count:,} 件商品一起排序（这会使所有数字偏大）。",
    ),
    "All rank what was bought among the items of evaluate.negatives (which makes all figures larger) for the same "
    "users.": (
        "Alle ordnen das Gekaufte unter den Artikeln aus evaluate.negatives ein (das macht alle Werte größer), für "
        "dieselben Nutzer.",
        "所有模型都为相同的用户，将所购商品与 evaluate.negatives 中的商品一起排序（这会使所有数字偏大）。",
    ),
    "Each of these users then bought something new in the target.": (
        "Jeder dieser Nutzer hat danach im Ziel etwas Neues gekauft.",
        "这些用户随后都在目标域购买了新的商品。",
    ),
    "Chosen on validation: {settings}.": ("Auf der Validierung gewählt: {settings}.", "在验证集上选定：{settings}。"),
    "nothing": ("nichts", "无"),
    "{model} with λ {value:g}": ("{model} mit λ {value:g}", "{model}（λ 为 {value:g}）"),
    "{model} with neighbours {value:g}": ("{model} mit {value:g} Nachbarn", "{model}（{value:g} 个近邻）"),
    "{model} with a purchase's weight {value:g}": (
        "{model} mit Kaufgewicht {value:g}",
        "{model}（购买权重为 {value:g}）",
    ),
    "An interval holds 95 % of 2,000 bootstrap samples of users. p is the p value of Wilcoxon's signed-rank test, "
    "with Holm's correction for {count} comparisons.": (
        "Ein Intervall umfasst 95 % von 2,000 Bootstrap-Stichproben der Nutzer. p ist der p-Wert des "
        "Wilcoxon-Vorzeichen-Rang-Tests mit Holm-Korrektur; Zahl der Vergleiche: {count}.",
        "区间包含 2,000 个用户自助法（bootstrap）样本的 95 %。p 是 Wilcoxon 符号秩检验的 p 值，已对 {count} 次比较做 "
        "Holm 校正。",
    ),
    "{measure} of each model": ("{measure} jedes Modells", "各模型的 {measure}"),
    "From {first}, {high:.4f}, to {last}, {low:.4f}.": (
        "Von {first} ({high:.4f}) bis {last} ({low:.4f}).",
        "从 {first}（{high:.4f}）到 {last}（{low:.4f}）。",
    ),
    "Test, lists of {k}": ("Test, Listen der Länge {k}", "测试集，列表长度 {k}"),
    "crossrec's gain in {measure}": ("Gewinn von crossrec an {measure}", "crossrec 的 {measure} 提升"),
    "model": ("Modell", "模型"),
    "over": ("gegenüber", "相对于"),
    "By segment": ("Nach Segment", "按分组"),
    "A segment of fewer than {small} users is marked, and not in the chart: its figures are mostly chance.": (
        "Ein Segment mit weniger als {small} Nutzern ist markiert und fehlt im Diagramm: Seine Werte sind "
        "überwiegend Zufall.",
        "用户少于 {small} 个的分组会被标出，且不在图中：其数字大多出于偶然。",
    ),
    " (few)": (" (wenige)", "（用户少）"),
    "segment": ("Segment", "分组"),
    "best other": ("bestes anderes", "其他最佳"),
    "{count} segments, some of them overlapping.": (
        "Segmente: {count}, zum Teil überlappend.",
        "共 {count} 个分组，其中一些相互重叠。",
    ),
    "crossrec and the best other model, by segment": (
        "crossrec und das beste andere Modell, nach Segment",
        "crossrec 与其他最佳模型，按分组",
    ),
    "{measure} by segment": ("{measure} nach Segment", "各分组的 {measure}"),
}
"""By English text, in German and in Chinese."""
