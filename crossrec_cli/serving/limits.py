"""ASGI middleware that limits the size of requests and measures their time."""

from __future__ import annotations

import time
from collections.abc import Callable

from fastapi import HTTPException
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Limits:
    """Refuses large bodies before they are read, and passes each request's route, status and seconds to ``observe``."""

    def __init__(self, app: ASGIApp, max_bytes: int, observe: Callable[[str, int, float], None]) -> None:
        self.app, self.max_bytes, self.observe = app, max_bytes, observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection, as ASGI defines it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status, received = time.perf_counter(), 500, 0

        async def counting_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_bytes:
                raise HTTPException(413, self._too_large)
            return message

        async def watching_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            if _content_length(scope) > self.max_bytes:
                await JSONResponse({"detail": self._too_large}, 413)(scope, receive, watching_send)
            else:
                await self.app(scope, counting_receive, watching_send)
        finally:
            route = scope.get("route")
            self.observe(getattr(route, "path", "other"), status, time.perf_counter() - started)

    @property
    def _too_large(self) -> str:
        return f"the body is larger than {self.max_bytes:,} bytes"


def _content_length(scope: Scope) -> int:
    """The request's Content-Length in bytes; 0 if it is missing or not a number."""
    length = dict(scope["headers"]).get(b"content-length", b"0")
    return int(length) if length.isdigit() else 0
