"""What users did since the data were read, kept in memory."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence


class Events:
    """The newest so many events; older ones are forgotten. Threads may share it."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._lock = threading.Lock()
        self._order: deque[str] = deque()
        """Whose each event is, oldest first."""
        self._of: dict[str, deque[str]] = {}

    def add(self, events: Sequence[tuple[str, str]]) -> None:
        """Users and items, oldest first."""
        with self._lock:
            for user, item in events:
                self._order.append(user)
                self._of.setdefault(user, deque()).append(item)
            while len(self._order) > self.most:
                user = self._order.popleft()
                self._of[user].popleft()
                if not self._of[user]:
                    del self._of[user]

    def of(self, user: str) -> list[str]:
        """A user's items, oldest first."""
        with self._lock:
            return list(self._of.get(user, ()))

    def forget(self, which: Callable[[str, str], bool]) -> None:
        """Drop the events of a user and an item for which it holds."""
        with self._lock:
            kept = [(user, item) for user, item in self._in_order() if not which(user, item)]
            self._order.clear()
            self._of.clear()
        self.add(kept)

    def _in_order(self) -> list[tuple[str, str]]:
        items = {user: iter(own) for user, own in self._of.items()}
        return [(user, next(items[user])) for user in self._order]

    def __len__(self) -> int:
        return len(self._order)
