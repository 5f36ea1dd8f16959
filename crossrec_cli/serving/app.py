"""The answers over HTTP."""

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
from crossrec_cli.errors import InputError
from crossrec_cli.serving.event_store import Events
from crossrec_cli.serving.limits import Limits
from crossrec_cli.serving.live import Live, Service
from crossrec_cli.serving.prometheus import CONTENT_TYPE, Metrics

ANONYMOUS = ""
"""No user's id, and nobody's events."""
MOST_BYTES = 2**20
"""Of a request's body."""
MOST_LISTED = 100
MOST_GIVEN = 1_000
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
    """An id as the tables hold it; JSON's 1 is the id "1"."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return value
    try:
        return as_id(value)
    except ValueError:  # says what it was, and what a client sends is not sent back
        raise ValueError("is no id: empty, not a whole number, or with control characters in it") from None


Id = Annotated[str, Field(max_length=256), BeforeValidator(_id, json_schema_input_type=_TEXT | _NUMBER)]
Tag = Annotated[str, Field(min_length=1, max_length=256)]
Length = Annotated[
    int,
    Field(strict=True, ge=1, le=MOST_LISTED),
    BeforeValidator(lambda value: int(value) if isinstance(value, float) and value.is_integer() else value),
]
"""JSON's 5.0 is a whole number too; true is none."""


class Body(BaseModel):
    """What a request says."""

    model_config = ConfigDict(extra="forbid")


class NewEvent(Body):
    """Somebody did something with an item."""

    user_id: Id
    item_id: Id


class NewEvents(Body):
    """What happened, oldest first."""

    events: list[NewEvent] = Field(max_length=MOST_GIVEN)


class User(Body):
    """Who is asked about. Somebody who is not in the data, or without an id, is known by history and tags alone."""

    user_id: Id | None = Field(default=None, description="Not given: anonymous.")
    history: list[Id] = Field(default=[], max_length=MOST_GIVEN, description="More items, oldest first; not kept.")
    tags: list[Tag] = Field(default=[], max_length=MOST_LISTED, description="Of a user who is not in the data.")


class ListQuery(User):
    """A list."""

    k: Length | None = Field(default=None, description="How many items; recommend.k if it is not given.")


class ReasonQuery(User):
    """An item of a list, or one that is not in it."""

    item_id: Id


class Query(Body):
    """A product search."""

    query: Annotated[str, Field(min_length=1, max_length=1_000)]
    user_id: Id | None = None
    k: Length | None = Field(default=None, description="How many items; search.k if it is not given.")


class Problem(BaseModel):
    """What is wrong, in one line."""

    detail: str


class Answer(BaseModel):
    """What a list or a search holds, best first."""

    items: list[dict[str, Any]]
    model: str
    """The finetune artifact that answered."""


class Understood(BaseModel):
    """What of a request says nothing, as the data do not have it."""

    user_id: str | None
    unknown_history: int
    """Of the history's items."""
    unknown_tags: int


class ListAnswer(Answer, Understood):
    """A user's list."""

    known: bool
    """Whether the user is in the data."""


class Taken(BaseModel):
    """What became of events."""

    taken: int
    unknown_items: int
    """Those of them with an item that is not in the data; they tell nothing."""


class Health(BaseModel):
    """What is served."""

    model: str
    users: int
    items: int
    events: int
    search: bool


class ReasonAnswer(Understood):
    """Why an item is, or is not, in a user's list, and what speaks for it: as in ``recommendations.parquet``."""

    model_config = ConfigDict(extra="allow")

    item_id: str
    score: float
    place: str
    because: str
    model: str


def create_app(service: Service, token: str | None) -> FastAPI:
    """The HTTP application.

    Args:
        service: what answers.
        token: what a client has to show; None: nothing.
    """
    metrics, events = Metrics(service), service.events

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        service.stop()

    problems = _problems(400, 413, 422, *([401] if token else []))
    app = FastAPIOffline(  # its page's scripts come from the package, where FastAPI's own come from a CDN
        redoc_url=None,
        swagger_ui_parameters={"validatorUrl": None},
        title="crossrec",
        version=__version__,
        lifespan=lifespan,
        dependencies=[Depends(_gate(token))] if token else [],
    )
    app.add_middleware(Limits, most_bytes=MOST_BYTES, observe=metrics.observe)
    app.add_exception_handler(RequestValidationError, _invalid)

    @app.post("/recommend", responses=problems)
    def recommend(asked: ListQuery) -> ListAnswer:
        """The target items that a user is most likely to buy next, under the shop's rules."""
        live, k = service.live, asked.k or service.config.recommend.k
        rows = live.recommend(asked.user_id or ANONYMOUS, since(asked, events), asked.tags, k)
        known = asked.user_id in live.users
        return ListAnswer(items=rows, model=live.model_id, known=known, **understood(asked, live))

    @app.post("/search", responses=problems | _problems(503))
    def search(asked: Query) -> Answer:
        """The items that fit a query best, and interest the user most; a query of blanks finds nothing."""
        live, newest = service.live, events.of(asked.user_id or ANONYMOUS)
        try:
            rows = live.search(asked.query, asked.user_id, newest, asked.k or service.config.search.k)
        except LookupError:
            raise HTTPException(503, "no search index of this model; 'crossrec search' makes one") from None
        return Answer(items=rows, model=live.model_id)

    @app.post("/explain", responses=problems | _problems(404))
    def explain(asked: ReasonQuery) -> ReasonAnswer:
        """What speaks for an item, and where it stands in the user's list or what keeps it out."""
        live, k, user = service.live, service.config.recommend.k, asked.user_id or ANONYMOUS
        try:
            row = live.explain(user, since(asked, events), asked.tags, k, asked.item_id)
        except InputError as error:
            raise HTTPException(404, str(error)) from None
        return ReasonAnswer(item_id=asked.item_id, model=live.model_id, **understood(asked, live), **row)

    @app.post("/events", responses=problems)
    def add(new: NewEvents) -> Taken:
        """What happened since the data were read. It changes the next answer, and is forgotten with the process."""
        events.add([(event.user_id, event.item_id) for event in new.events])
        unknown = sum(event.item_id not in service.live.items for event in new.events)
        return Taken(taken=len(new.events), unknown_items=unknown)

    @app.get("/healthz")
    def health() -> Health:
        """What is served."""
        live = service.live
        return Health(
            model=live.model_id,
            users=len(live.users),
            items=len(live.recommender.pool.items),
            events=len(events),
            search=live.searcher is not None,
        )

    @app.get("/metrics", response_class=PlainTextResponse, responses=_problems(401) if token else {})
    def counted() -> Response:
        """For Prometheus."""
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    return app


def since(asked: User, events: Events) -> list[str]:
    """The items of what happened since the data were read, oldest first."""
    return [*events.of(asked.user_id or ANONYMOUS), *asked.history]


def understood(asked: User, live: Live) -> dict[str, Any]:
    """The fields of ``Understood``."""
    return {
        "user_id": asked.user_id,
        "unknown_history": sum(item not in live.items for item in asked.history),
        "unknown_tags": sum(tag not in live.tags for tag in asked.tags),
    }


def _problems(*codes: int) -> dict[int | str, dict[str, Any]]:
    return {code: {"model": Problem} for code in codes}


def _gate(token: str) -> Callable[..., None]:
    """Lets in who shows the token; the page that says whether it is alive is open."""

    def gate(
        request: Request, shown: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]
    ) -> None:
        right = shown is not None and hmac.compare_digest(shown.credentials.encode(), token.encode())
        if not right and request.url.path != "/healthz":
            told = "'Authorization: Bearer …' with the value of CROSSREC_TOKEN is missing or wrong"
            raise HTTPException(401, told, {"WWW-Authenticate": "Bearer"})

    return gate


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    """The first problem of a body, in one line; what the client sent is not sent back."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return JSONResponse({"detail": f"{where}: {first['msg']}"}, 422)
