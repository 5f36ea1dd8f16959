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
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from crossrec_cli import __version__
from crossrec_cli.data.ids import as_id
from crossrec_cli.errors import InputError, UnavailableError
from crossrec_cli.ranking.list_request import ANONYMOUS
from crossrec_cli.serving.event_store import Events
from crossrec_cli.serving.limits import Limits
from crossrec_cli.serving.live import Live, Service
from crossrec_cli.serving.prometheus import CONTENT_TYPE, Metrics

MAX_BYTES = 2**20
"""Bytes of a request's body."""
MAX_LISTED = 100
"""Items in a list, and tags in a request."""
MAX_GIVEN = 1_000
"""Events or history items in one request."""

_TEXT = Annotated[
    str,
    Field(
        min_length=1,
        max_length=256,
        pattern=r"^[^\x00-\x1f\x7f]*[^\s\ufeff\x00-\x1f\x7f][^\x00-\x1f\x7f]*$",
    ),
]
_NUMBER = Annotated[int, Field(ge=-(2**63), lt=2**63)]


def _id(value: Any) -> Any:
    """An id in the form of the tables; JSON's 1 is the id "1"."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return value
    try:
        return as_id(value)
    except ValueError:  # its message has the client's value, which is not sent back
        raise ValueError("not an id: it is empty, not a whole number, or has control characters") from None


Id = Annotated[str, Field(max_length=256), BeforeValidator(_id, json_schema_input_type=_TEXT | _NUMBER)]
Tag = Annotated[str, Field(min_length=1, max_length=256)]
Length = Annotated[
    int,
    Field(strict=True, ge=1, le=MAX_LISTED),
    BeforeValidator(lambda value: int(value) if isinstance(value, float) and value.is_integer() else value),
]
"""JSON's 5.0 is accepted as a whole number, true is not."""


class Body(BaseModel):
    """The body of a request."""

    model_config = ConfigDict(extra="forbid")


class NewEvent(Body):
    """An interaction of a user with an item."""

    user_id: Id
    item_id: Id


class NewEvents(Body):
    """New interactions, oldest first."""

    events: list[NewEvent] = Field(max_length=MAX_GIVEN)


class User(Body):
    """A user. Without an id, or with one that is not in the data, only history and tags describe the user."""

    user_id: Id | None = Field(default=None, description="Without it the user is anonymous.")
    history: list[Id] = Field(
        default=[], max_length=MAX_GIVEN, description="Further items, oldest first; they are not stored."
    )
    tags: list[Tag] = Field(default=[], max_length=MAX_LISTED, description="Tags of a user who is not in the data.")


class ListQuery(User):
    """The request for a list."""

    k: Length | None = Field(default=None, description="How many items; default: recommend.k.")


class ReasonQuery(User):
    """The request to explain why an item is, or is not, in a list."""

    item_id: Id


class ItemQuery(Body):
    """The request for similar items."""

    item_id: Id
    k: Length | None = Field(default=None, description="How many items; default: recommend.k.")


class Query(Body):
    """A product search."""

    query: Annotated[str, Field(min_length=1, max_length=1_000)]
    user_id: Id | None = None
    k: Length | None = Field(default=None, description="How many items; default: search.k.")


class Problem(BaseModel):
    """An error, in one line."""

    detail: str


class Answer(BaseModel):
    """The items of a list or a search, best first."""

    items: list[dict[str, Any]]
    model: str
    """The id of the finetune artifact that computed the answer."""


class Understood(BaseModel):
    """How much of a request is unknown, since it is not in the data."""

    user_id: str | None
    unknown_history: int
    """Number of history items that are not in the data."""
    unknown_tags: int


class ListAnswer(Answer, Understood):
    """A user's list."""

    known: bool
    """Whether the user is in the data."""


class Taken(BaseModel):
    """The result of adding events."""

    taken: int
    unknown_items: int
    """How many of them have an item that is not in the data; these have no effect."""


class Health(BaseModel):
    """The model that is served, and its size."""

    model: str
    users: int
    items: int
    events: int
    search: bool


class ReasonAnswer(Understood):
    """Why an item is, or is not, in a user's list, and its reasons as in ``recommendations.parquet``."""

    model_config = ConfigDict(extra="allow")

    item_id: str
    score: float
    place: str
    """Its rank in the list, or what keeps it out."""
    because: str
    model: str


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
        events.add([(event.user_id, event.item_id) for event in new.events])
        unknown = sum(event.item_id not in service.live.items for event in new.events)
        return Taken(taken=len(new.events), unknown_items=unknown)

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
    events = service.events

    @app.post("/recommend", responses=problems)
    def recommend(query: ListQuery) -> ListAnswer:
        """The target items that a user is most likely to buy next, under the shop's rules."""
        live, k = service.live, query.k or service.config.recommend.k
        rows = live.recommend(query.user_id or ANONYMOUS, since(query, events), query.tags, k)
        is_in_data = query.user_id in live.users
        return ListAnswer(items=rows, model=live.model_id, known=is_in_data, **understood(query, live))

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
        live, newest = service.live, events.of(query.user_id or ANONYMOUS)
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
            row = live.explain(user, since(query, events), query.tags, k, query.item_id)
        except InputError as error:
            raise HTTPException(404, str(error)) from None
        return ReasonAnswer(item_id=query.item_id, model=live.model_id, **understood(query, live), **row)


def since(query: User, events: Events) -> list[str]:
    """The user's items since the data were read, oldest first."""
    return [*events.of(query.user_id or ANONYMOUS), *query.history]


def understood(query: User, live: Live) -> dict[str, Any]:
    """The fields of ``Understood``."""
    return {
        "user_id": query.user_id,
        "unknown_history": sum(item not in live.items for item in query.history),
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
