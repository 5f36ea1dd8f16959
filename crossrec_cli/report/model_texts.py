"""The page's texts on how the models rank: scorers, calibration, training, lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

MODEL_TEXTS: Final[Mapping[str, tuple[str, str]]] = {
    # scorers, calibration, training
    "Share of each scorer": ("Anteil jedes Scorers", "各打分器的份额"),
    "The score is a weighted sum of several scorers. The weights were fitted on validation, at these numbers of "
    "target purchases; between two of them they change gradually. A scorer's share is its weights times how much its "
    "scores differ between the items that a user may be shown, divided by the sum over all scorers.": (
        "Der Score ist eine gewichtete Summe mehrerer Scorer. Die Gewichte wurden auf der Validierung angepasst, für "
        "diese Anzahlen von Zielkäufen; dazwischen ändern sie sich allmählich. Anteil eines Scorers: seine Gewichte "
        "mal die Streuung seiner Scores über die Artikel, die einem Nutzer gezeigt werden können, geteilt durch die "
        "Summe über alle Scorer.",
        "分数是多个打分器的加权和。权重在验证集上按以下目标域购买次数拟合，两个次数之间逐渐变化。一个打分器的份额，是"
        "它的权重乘以它在可展示给用户的商品之间的分数差异，再除以所有打分器的总和。",
    ),
    "target history {length}": ("Zielkäufe: {length}", "目标域购买 {length} 次"),
    "target purchases": ("Zielkäufe", "目标域购买次数"),
    "Without target purchases {first} ({share:.0%}) has the largest share; with {count} or more it is {last} "
    "({last_share:.0%}).": (
        "Ohne Zielkäufe hat {first} ({share:.0%}) den größten Anteil; ab {count} Zielkäufen {last} ({last_share:.0%}).",
        "没有目标域购买时，{first}（{share:.0%}）的份额最大；达到 {count} 次及以上时，{last}（{last_share:.0%}）的份"
        "额最大。",
    ),
    "Scorer shares, by target purchases": ("Anteile der Scorer nach Zielkäufen", "各打分器的份额，按目标域购买次数"),
    "Scorer shares": ("Anteile der Scorer", "打分器份额"),
    "Share": ("Anteil", "份额"),
    "Scorer": ("Scorer", "打分器"),
    "Can the score be read as a probability?": ("Ist der Score als Wahrscheinlichkeit lesbar?", "分数能否当作概率？"),
    "The score is the probability that a user's next purchase in the target is this item. It was fitted on "
    "validation; here it is compared with the test purchases. AUC is the probability that a bought pair has a higher "
    "score than one that was not bought. The score is informative where its log-loss is below that of the base rate.": (
        "Der Score ist die Wahrscheinlichkeit, dass der nächste Kauf eines Nutzers im Ziel dieser Artikel ist. Er "
        "wurde auf der Validierung angepasst; hier wird er mit den Testkäufen verglichen. Die AUC ist die "
        "Wahrscheinlichkeit, dass ein gekauftes Paar einen höheren Score hat als ein nicht gekauftes. Aussagekräftig "
        "ist der Score dort, wo sein Log-Loss unter dem der Basisrate liegt.",
        "分数是用户在目标域的下一次购买就是这件商品的概率。它在验证集上拟合，这里与测试集的购买比较。AUC 是已购买的用"
        "户–商品对的分数高于未购买者的概率。对数损失低于基准率时，分数才有信息量。",
    ),
    "The row of the source is for purchases held out of the source, which the score is not made for. Compare the two "
    "by AUC only, as there are more purchases among the source's pairs.": (
        "Die Zeile der Quelle gilt für zurückgehaltene Käufe in der Quelle, für die der Score nicht gemacht ist. "
        "Vergleichbar ist nur die AUC, da unter den Paaren der Quelle mehr Käufe sind.",
        "源域一行针对源域中预留的购买，分数并非为此设计。两者只宜比较 AUC，因为源域的用户–商品对中购买更多。",
    ),
    "The score on pairs of a user and an item": ("Der Score für Paare aus Nutzer und Artikel", "用户–商品对的分数"),
    "gap": ("Differenz", "差值"),
    "pairs of": ("Paare aus", "范围"),
    "AUC": ("AUC", "AUC"),
    "Brier": ("Brier-Score", "Brier 分数"),
    "log-loss": ("Log-Loss", "对数损失"),
    "base-rate log-loss": ("Log-Loss der Basisrate", "基准率的对数损失"),
    "calibration error": ("Kalibrierungsfehler", "校准误差"),
    "bought": ("gekauft", "已购买"),
    "pairs": ("Paare", "用户–商品对"),
    "Calibration: score and share bought": ("Kalibrierung: Score und gekaufter Anteil", "校准：分数与购买比例"),
    "On the dashed line the score is equal to the share bought. Farthest from it: score {score:.3%}, {share:.3%} "
    "bought.": (
        "Auf der gestrichelten Linie ist der Score gleich dem gekauften Anteil. Am weitesten davon entfernt: Score "
        "{score:.3%}, gekauft {share:.3%}.",
        "虚线表示分数等于购买比例。偏离最大处：分数 {score:.3%}，购买比例 {share:.3%}。",
    ),
    "Score": ("Score", "分数"),
    "Share bought": ("Gekaufter Anteil", "购买比例"),
    "Bought": ("Gekauft", "购买比例"),
    "Pairs": ("Paare", "用户–商品对"),
    "Training loss": ("Verlust im Training", "训练损失"),
    "Only the scorer neural is trained in epochs, on source and target together: first in pretrain-adapt, then in "
    "finetune. The loss is the mean over purchases of −log p, where p is the probability of what was bought among "
    "the items of its domain. It is summed over the user encoders.": (
        "Nur der Scorer neural wird in Epochen trainiert, auf Quelle und Ziel gemeinsam: zuerst in pretrain-adapt, "
        "dann in finetune. Der Verlust (Loss) ist der Mittelwert von −log p über die Käufe; p ist die "
        "Wahrscheinlichkeit des Gekauften unter den Artikeln seiner Domäne. Er wird über die User-Encoder summiert.",
        "只有打分器 neural 按轮次（epoch）训练，同时使用源域和目标域：先在 pretrain-adapt 阶段，再在 finetune 阶段。"
        "损失是 −log p 对所有购买的均值，其中 p 是所购商品在其所属域的商品中的概率。损失对各用户编码器求和。",
    ),
    "No scorer was trained in epochs.": ("Kein Scorer wurde in Epochen trainiert.", "没有按轮次训练的打分器。"),
    "{stage}, loss": ("{stage}, Verlust", "{stage}，损失"),
    "From {first:.4f} in the first epoch to {last:.4f} in the last.": (
        "Von {first:.4f} in der ersten Epoche bis {last:.4f} in der letzten.",
        "从第一轮的 {first:.4f} 到最后一轮的 {last:.4f}。",
    ),
    "Loss": ("Verlust", "损失"),
    "Epoch": ("Epoche", "轮次"),
    # lists
    "Beyond accuracy": ("Über die Genauigkeit hinaus", "准确率之外"),
    "Coverage: the share of the target's items that are in any list. Novelty: how few users have bought the listed "
    "items, in bits. Diversity: 1 minus the mean cosine between the texts of a list. Popularity: the share of users "
    "who have bought a listed item; far above the other models it is a bias. Miscalibration: how far a list's "
    "categories are from the user's own, in nats. Cold items: the share of listed items that nobody bought in "
    "training.": (
        "Abdeckung: der Anteil der Artikel des Ziels, die in mindestens einer Liste stehen. Neuheit: wie wenige "
        "Nutzer die gelisteten Artikel gekauft haben, in Bit. Diversität: 1 minus der mittlere Kosinus zwischen den "
        "Texten einer Liste. Popularität: der Anteil der Nutzer, die einen gelisteten Artikel gekauft haben; liegt "
        "er weit über dem der anderen Modelle, ist das eine Verzerrung. Fehlkalibrierung: wie weit die Kategorien "
        "einer Liste von denen des Nutzers abweichen, in Nat. Kaltstart-Artikel: der Anteil gelisteter Artikel, die "
        "im Training niemand gekauft hat.",
        "覆盖率：至少出现在一个列表中的目标域商品的比例。新颖性：购买过列表商品的用户有多少，越少越新颖，以比特计。多"
        "样性：1 减去同一列表中文本之间的平均余弦相似度。流行度：购买过列表商品的用户的比例；远高于其他模型则说明存在"
        "偏差。校准偏差：列表的品类与用户自身品类的差距，以奈特计。冷启动商品：列表中训练期间无人购买的商品的比例。",
    ),
    "coverage": ("Abdeckung", "覆盖率"),
    "novelty": ("Neuheit", "新颖性"),
    "diversity": ("Diversität", "多样性"),
    "popularity": ("Popularität", "流行度"),
    "miscalibration": ("Fehlkalibrierung", "校准偏差"),
    "cold items": ("Kaltstart-Artikel", "冷启动商品"),
    "{model} has the largest coverage: {coverage:.1%}.": (
        "{model} hat die größte Abdeckung: {coverage:.1%}.",
        "{model} 的覆盖率最高：{coverage:.1%}。",
    ),
    "Coverage and accuracy": ("Abdeckung und Genauigkeit", "覆盖率与准确率"),
    "Coverage": ("Abdeckung", "覆盖率"),
    "Lists of {k}": ("Listen der Länge {k}", "列表长度 {k}"),
    "Name": ("Name", "名称"),
    "Model": ("Modell", "模型"),
    "Interval from": ("Intervall von", "区间下限"),
    "to": ("bis", "区间上限"),
    "Users": ("Nutzer", "用户"),
}
"""By English text, in German and in Chinese."""
