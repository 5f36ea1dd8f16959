"""Config fields of the task: the domains, and what is held out. Meaning, unit, bound, default."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from crossrec_cli.config.field_types import Moment, OneOrMany, OpenFraction, Section


class Domain(Section):
    """A set of categories."""

    category: OneOrMany
    """Category names or paths, each with all below it. In the source, ``"*"`` means all items that are not in the
    target, also those without a category. In the target, it means the whole catalogue, and the source is then the
    same items."""


class Domains(Section):
    """The categories to learn from, and the categories to recommend."""

    source: Domain = Domain(category=("*",))
    target: Domain

    @property
    def same(self) -> bool:
        """Whether the target is the whole catalogue, so that source and target are the same items."""
        return "*" in self.target.category

    @model_validator(mode="after")
    def _disjoint(self) -> Domains:
        if self.same:
            if len(self.target.category) > 1 or self.source.category != ("*",):
                raise ValueError(
                    "a target of '*' is the whole catalogue: name no other category, and none in the source"
                )
            return self
        if shared := set(self.source.category) & set(self.target.category):
            raise ValueError(f"{sorted(shared)} is both source and target")
        return self


class Split(Section):
    """What is held out. Nothing at or after a user's held-out interaction is trained on, except with ``given``."""

    strategy: Literal["leave_last_out", "time", "cold_users", "cold_items", "given"] = "leave_last_out"
    """``leave_last_out``: each user's last target interaction is the test, the one before it validation.
    ``time``: target interactions from ``valid_from`` on are validation, from ``test_from`` on test.
    ``cold_users``: all target interactions of a share of the target's users.
    ``cold_items``: all interactions with a share of the target's items.
    ``given``: a column of the interactions decides for each row. If training or validation then has later rows than
    the held-out ones, that is a warning with their number, and no error."""
    column: Annotated[str, Field(min_length=1)] | None = None
    """With ``given``: the column that holds ``train``, ``valid`` (or ``validation``) or ``test``; an empty cell is
    ``train``. Only rows marked train are trained on. A user's target rows marked test are predicted from all rows of
    the user before the first of them, and those marked valid from all rows before the first of those."""
    ties: Literal["strict", "order"] = "strict"
    """Which rows of the same time are history of a held-out purchase. ``strict``: none, and the last item of a basket
    is drawn at random. ``order``: those before it by ``columns.order``, or else in the file."""
    valid_from: Moment | OpenFraction | None = None
    """A date, or the share of all interactions that are before it."""
    test_from: Moment | OpenFraction | None = None
    share: Annotated[float, Field(gt=0, le=0.4)] | None = None
    """The share of the target's users or items for the test; validation gets as many."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """For the choice of cold-start users or items, and for the order of a user's rows of the same time."""

    @model_validator(mode="after")
    def _fields_fit(self) -> Split:
        times, cold = (self.valid_from, self.test_from), self.strategy.startswith("cold")
        if (self.strategy == "given") == (self.column is None):
            raise ValueError("column goes with 'strategy: given', which needs it")
        if self.strategy != "time" and times != (None, None):
            raise ValueError("valid_from and test_from go with 'strategy: time'")
        if cold == (self.share is None):
            raise ValueError("share goes with 'strategy: cold_users' and 'strategy: cold_items', and they need it")
        if self.strategy == "time":
            self._check_times()
        return self

    def _check_times(self) -> None:
        valid, test = self.valid_from, self.test_from
        if valid is None or test is None:
            raise ValueError("'strategy: time' needs valid_from and test_from")
        if isinstance(valid, float) != isinstance(test, float):
            raise ValueError("valid_from and test_from are either both dates or both shares")
        if not valid < test:  # type: ignore[operator]
            raise ValueError("valid_from must be before test_from")
