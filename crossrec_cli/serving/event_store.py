"""What users did since the data were read, kept in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence


class Events:
    """The newest so many events; older ones are forgotten. Threads may share it."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._lock = threading.Lock()
        self._count = 0
        """Of all events so far, so that each has a number of its own."""
        self._user_of: OrderedDict[int, str] = OrderedDict()
        """The user of each event that is held, oldest first."""
        self._items_of: dict[str, dict[int, str]] = {}
        """Each user's items by the number of the event, oldest first."""

    def add(self, events: Sequence[tuple[str, str]]) -> None:
        """Users and items, oldest first."""
        with self._lock:
            for user, item in events:
                self._user_of[self._count] = user
                self._items_of.setdefault(user, {})[self._count] = item
                self._count += 1
            while len(self._user_of) > self.most:
                self._remove(next(iter(self._user_of)))

    def of(self, user: str) -> list[str]:
        """A user's items, oldest first."""
        with self._lock:
            return list(self._items_of.get(user, {}).values())

    def forget(self, which: Callable[[str, Sequence[str]], Sequence[bool]]) -> None:
        """Drop the events for which it holds; the others stay in their order, and so do those that come meanwhile.

        Args:
            which: of a user and items of theirs. It may take its time: requests are answered meanwhile.
        """
        with self._lock:
            users = list(self._items_of)
        for user in users:
            with self._lock:
                held = list(self._items_of.get(user, {}).items())
            drop = which(user, [item for _, item in held])
            with self._lock:
                for (number, _), wanted in zip(held, drop, strict=True):
                    if wanted and number in self._user_of:  # else newer ones have taken its room
                        self._remove(number)

    def _remove(self, number: int) -> None:
        user = self._user_of.pop(number)
        del self._items_of[user][number]
        if not self._items_of[user]:
            del self._items_of[user]

    def __len__(self) -> int:
        return len(self._user_of)
