"""Users' events since the data were read, kept in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence


class Events:
    """The newest events, up to a maximum number; older ones are dropped. Safe to use from several threads."""

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self._lock = threading.Lock()
        self._count = 0
        """Number of all events so far, which is the number of the next one."""
        self._user_of: OrderedDict[int, str] = OrderedDict()
        """The user of each stored event, by its number, oldest first."""
        self._items_of: dict[str, dict[int, str]] = {}
        """Each user's items by the number of the event, oldest first."""

    def add(self, events: Sequence[tuple[str, str]]) -> None:
        """Add pairs of a user and an item, oldest first."""
        with self._lock:
            for user, item in events:
                self._user_of[self._count] = user
                self._items_of.setdefault(user, {})[self._count] = item
                self._count += 1
            while len(self._user_of) > self.maximum:
                self._remove(next(iter(self._user_of)))

    def of(self, user: str) -> list[str]:
        """A user's items, oldest first."""
        with self._lock:
            return list(self._items_of.get(user, {}).values())

    def forget(self, is_known: Callable[[str, Sequence[str]], Sequence[bool]]) -> None:
        """Drop some events. The others keep their order, and so do events that are added meanwhile.

        Args:
            is_known: from a user and the user's items, which of the items' events to drop. It may be slow: it is called
                without the lock.
        """
        with self._lock:
            users = list(self._items_of)
        for user in users:
            with self._lock:
                stored = list(self._items_of.get(user, {}).items())
            known = is_known(user, [item for _, item in stored])
            with self._lock:
                for (number, _), drop in zip(stored, known, strict=True):
                    if drop and number in self._user_of:  # newer events may have replaced it
                        self._remove(number)

    def _remove(self, number: int) -> None:
        user = self._user_of.pop(number)
        del self._items_of[user][number]
        if not self._items_of[user]:
            del self._items_of[user]

    def __len__(self) -> int:
        return len(self._user_of)
