"""The HTTP application and its endpoints."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi_offline import FastAPIOffline

from crossrec_cli import __version__
from crossrec_cli.errors import InputError, UnavailableError
from crossrec_cli.ranking.list_request import ANONYMOUS
from crossrec_cli.serving.answer_bodies import Answer, FeedbackTaken, Health, ListAnswer, Problem, ReasonAnswer, Taken
from crossrec_cli.serving.event_store import UserEvent
from crossrec_cli.serving.impression_log import Feedback
from crossrec_cli.serving.limits import Limits
from crossrec_cli.serving.live import Live, Service, WeightedItem
from crossrec_cli.serving.prometheus import CONTENT_TYPE, Metrics
from crossrec_cli.serving.request_bodies import ItemQuery, ListQuery, NewEvents, NewFeedback, Query, ReasonQuery, User
from crossrec_cli.serving.request_fields import seconds

MAX_BYTES = 2**20
"""Bytes of a request's body."""


def create_app(service: Service, token: str | None) -> FastAPI:
    """The HTTP application.

    Args:
        service: computes the answers.
        token: what clients must send; None: no token is needed.
    """
    metrics, events = Metrics(service), service.events

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        service.stop()

    problems = _problems(400, 413, 422, 503, *([401] if token else []))
    app = FastAPIOffline(  # its page's scripts are in the package; FastAPI's own come from a CDN
        redoc_url=None,
        swagger_ui_parameters={"validatorUrl": None},
        title="crossrec",
        version=__version__,
        lifespan=lifespan,
        dependencies=[Depends(_gate(token))] if token else [],
    )
    app.add_middleware(Limits, max_bytes=MAX_BYTES, observe=metrics.observe)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(UnavailableError, _unavailable)

    _add_answers(app, service, problems)

    @app.post("/events", responses=problems)
    def add(new: NewEvents) -> Taken:
        """Add events since the data were read. The next answer counts them; they are kept until the data have them."""
        events.add([UserEvent(one.user_id, one.item_id, seconds(one.timestamp), one.disliked) for one in new.events])
        unknown = sum(event.item_id not in service.live.items for event in new.events)
        return Taken(taken=len(new.events), unknown_items=unknown)

    @app.post("/feedback", responses=problems)
    def take(new: NewFeedback) -> FeedbackTaken:
        """Add what users did with the items of lists to the log. The same once more changes nothing."""
        if service.impressions is None:
            raise UnavailableError("lists are not logged; set serve.log, a directory")
        feedback = [Feedback(one.impression, one.item_id, one.kind) for one in new.feedback]
        return FeedbackTaken(**service.impressions.take(feedback)._asdict())

    @app.get("/healthz")
    def health() -> Health:
        """The model that is served, and its size."""
        live = service.live
        return Health(
            model=live.model_id,
            users=len(live.users),
            items=len(live.recommender.pool.items),
            events=len(events),
            search=live.searcher is not None,
        )

    @app.get("/metrics", response_class=PlainTextResponse, responses=_problems(401) if token else {})
    def prometheus() -> Response:
        """Metrics for Prometheus."""
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    return app


def _add_answers(app: FastAPI, service: Service, problems: dict[int | str, dict[str, Any]]) -> None:
    """The endpoints that the model answers."""

    @app.post("/recommend", responses=problems)
    def recommend(query: ListQuery) -> ListAnswer:
        """The target items that a user is most likely to buy next, under the shop's rules."""
        live, k = service.live, query.k or service.config.recommend.k
        rows = live.recommend(query.user_id or ANONYMOUS, since(query, service), query.tags, k)
        rows, shown_as = service.shown(rows, query.user_id, k, live.model_id)
        is_in_data = query.user_id in live.users
        return ListAnswer(
            items=rows, model=live.model_id, known=is_in_data, shown_as=shown_as, **understood(query, live)
        )

    @app.post("/similar", responses=problems | _problems(404))
    def similar(query: ItemQuery) -> Answer:
        """The target items that the buyers of an item are likely to buy, and how they are related to it."""
        live = service.live
        try:
            rows = live.similar(query.item_id, query.k or service.config.recommend.k)
        except InputError as error:
            raise HTTPException(404, str(error)) from None
        return Answer(items=rows, model=live.model_id)

    @app.post("/search", responses=problems | _problems(503))
    def search(query: Query) -> Answer:
        """The items that fit the query and the user's interest best; a blank query has no results."""
        live, newest = service.live, service.since(query.user_id or ANONYMOUS)
        try:
            rows = live.search(query.query, query.user_id, newest, query.k or service.config.search.k)
        except LookupError:
            raise HTTPException(503, "no search index of this model; run 'crossrec search' to make one") from None
        return Answer(items=rows, model=live.model_id)

    @app.post("/explain", responses=problems | _problems(404))
    def explain(query: ReasonQuery) -> ReasonAnswer:
        """Why an item fits a user, and its rank in the user's list or what keeps it out."""
        live, k, user = service.live, service.config.recommend.k, query.user_id or ANONYMOUS
        try:
            row = live.explain(user, since(query, service), query.tags, k, query.item_id)
        except InputError as error:
            raise HTTPException(404, str(error)) from None
        return ReasonAnswer(item_id=query.item_id, model=live.model_id, **understood(query, live), **row)


def since(query: User, service: Service) -> list[WeightedItem]:
    """The user's items since the data were read, oldest first."""
    history = [(entry.item_id, seconds(entry.timestamp)) for entry in query.history]
    return service.since(query.user_id or ANONYMOUS, history)


def understood(query: User, live: Live) -> dict[str, Any]:
    """The fields of ``Understood``."""
    return {
        "user_id": query.user_id,
        "unknown_history": sum(entry.item_id not in live.items for entry in query.history),
        "unknown_tags": sum(tag not in live.tags for tag in query.tags),
    }


def _problems(*codes: int) -> dict[int | str, dict[str, Any]]:
    return {code: {"model": Problem} for code in codes}


def _gate(token: str) -> Callable[..., None]:
    """A dependency that requires the token for every path but ``/healthz``."""

    def gate(
        request: Request,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))],
    ) -> None:
        valid = credentials is not None and hmac.compare_digest(credentials.credentials.encode(), token.encode())
        if not valid and request.url.path != "/healthz":
            problem = "'Authorization: Bearer …' with the value of CROSSREC_TOKEN is missing or wrong"
            raise HTTPException(401, problem, {"WWW-Authenticate": "Bearer"})

    return gate


async def _unavailable(_: Request, error: Exception) -> JSONResponse:
    """What cannot be done now, in one line."""
    return JSONResponse({"detail": str(error)}, 503)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    """The first problem of a body, in one line; what the client sent is not sent back."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return JSONResponse({"detail": f"{where}: {first['msg']}"}, 422)
