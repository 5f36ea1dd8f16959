"""Around every request: how large it may be, how long it took."""

from __future__ import annotations

import time
from collections.abc import Callable

from fastapi import HTTPException
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Limits:
    """Refuses bodies that are too large before they are read, and tells of each request's route, status and seconds."""

    def __init__(self, app: ASGIApp, most_bytes: int, observe: Callable[[str, int, float], None]) -> None:
        self.app, self.most_bytes, self.observe = app, most_bytes, observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status, got = time.perf_counter(), 500, 0

        async def counted() -> Message:
            nonlocal got
            message = await receive()
            got += len(message.get("body", b""))
            if got > self.most_bytes:
                raise HTTPException(413, self._too_large)
            return message

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            if _announced(scope) > self.most_bytes:
                await JSONResponse({"detail": self._too_large}, 413)(scope, receive, watched)
            else:
                await self.app(scope, counted, watched)
        finally:
            route = scope.get("route")
            self.observe(getattr(route, "path", "other"), status, time.perf_counter() - started)

    @property
    def _too_large(self) -> str:
        return f"the body is larger than {self.most_bytes:,} bytes"


def _announced(scope: Scope) -> int:
    """The length that the request says it has; 0 where it says none, or nonsense."""
    length = dict(scope["headers"]).get(b"content-length", b"0")
    return int(length) if length.isdigit() else 0
