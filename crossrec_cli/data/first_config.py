"""A first config for files of which nothing is known but what their columns are called."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from crossrec_cli.data.guess import SHOWN, Guess, Table, event_weights

CONFIG = """\
# Written by 'crossrec init' from the columns of {folder}: see that each line is right.
# Every path starts at the directory that crossrec is run in. All fields: 'crossrec config show' with this file.
run_dir: {run_dir}

data:
  platforms:
    - name: shop
      interactions:
        path: {interactions}
        # It also has: {interactions_has}
        columns: {interactions_columns}{events}
      items:
        path: {items}
        # It also has: {items_has}
        columns: {items_columns}
        # What the language model reads. An empty column drops out together with the punctuation behind it.
        text: {text}{users}
  repeats: strongest                      # of a user's several interactions with one item: first, last, sum, keep
  min_interactions: {{user: 5, item: 5}}    # rarer users and items are left out

domains:
  source: {{category: "*"}}                 # all that is not target
  # What to recommend is for you to say; this is a guess. Interactions by category{sampled}:
{categories}
  target: {{category: {target}}}

split: {{strategy: leave_last_out}}         # or time, cold_users, cold_items
encoder: {{model: all-MiniLM-L6-v2}}        # a packaged model, a folder, or a hub id with a revision
adapt: {{language_model: frozen}}           # lora or full: the language model learns from the source too
interest: {{user_encoder: hybrid}}          # bag: order does not matter; sequence: what came last matters most
recommend: {{k: 10, reasons: 3}}
runtime: {{device: auto, precision: auto}}
"""
USERS = """
      users:
        path: {users}
        columns: {users_columns}
        # Each value is learned as a tag, so that someone without purchases still gets a list of their own.
        tags: {tags}"""
EVENTS = """
        # A weight is how much one counts beside the others; what is not named here is left out.
        events: {events}"""


def first_config(found: Guess, folder: Path, sample: int) -> str:
    """YAML with comments, which ``load_config`` reads.

    Args:
        found: what the files seem to be.
        folder: where they are.
        sample: so many interactions were read at most.
    """
    read = sum(found.categories.values())
    return CONFIG.format(
        folder=_comment(str(folder)),
        run_dir=_value(f"runs/{folder.resolve().name or 'shop'}"),
        interactions=_value(found.interactions.path),
        interactions_has=_others(found.interactions),
        interactions_columns=_columns(found.interactions, {"timestamp": "FILL IN"}),
        events=EVENTS.format(events=_value(event_weights([*found.events]))) if found.events else "",
        items=_value(found.items.path),
        items_has=_others(found.items),
        items_columns=_columns(found.items, {}),
        text=_value(". ".join(f"{{{name}}}" for name in found.items.rest)),
        users=_users(found.users) if found.users else "",
        sampled=f", of the first {sample:,}" if read >= sample else "",
        categories="\n".join(_counted(found.categories)),
        target=_value([found.target]),
    )


def _users(users: Table) -> str:
    return USERS.format(users=_value(users.path), users_columns=_columns(users, {}), tags=_value(users.rest))


def _columns(table: Table, without: Mapping[str, str]) -> str:
    return _value(table.means | {ours: fill for ours, fill in without.items() if ours not in table.means})


def _others(table: Table) -> str:
    used = {*table.means.values(), *table.rest}
    return _comment(", ".join(name for name in table.columns if name not in used) or "nothing else")


def _counted(counts: Mapping[str, int]) -> list[str]:
    lines = [f"  #   {count:>10,}  {_comment(name)}" for name, count in [*counts.items()][:SHOWN]]
    more = len(counts) - SHOWN
    return [*lines, f"  #   and {more:,} categories more"] if more > 0 else lines or ["  #   none was found"]


def _value(value: object) -> str:
    """On one line, quoted where YAML needs it."""
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, sort_keys=False, width=10**6)
    return text.removesuffix("\n...\n").rstrip("\n")


def _comment(text: str) -> str:
    """Without what would end a comment."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
