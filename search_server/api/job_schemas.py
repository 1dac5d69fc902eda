"""What goes in and out of the API about jobs."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from search_server import limits
from search_server.api.schemas import Parameters
from search_server.jobs import State

NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"  # of what is made in the workspace


class JobPath(Parameters):
    """A job in an address."""

    id: int = Field(ge=0, lt=2**63, description="id of a job")


class ListJobs(Parameters):
    """Which jobs."""

    state: State | None = Field(default=None, description="only those in this state")
    limit: int = Field(default=100, ge=1, le=limits.LIST)
    cursor: int | None = Field(default=None, ge=1, lt=2**63, description="`next_cursor` of the page before")


class JobBody(Parameters):
    """A job that changes no gallery by itself: training on pictures of the server's machine, or exporting a run."""

    kind: Literal["train", "export"]
    name: str = Field(pattern=NAME, description="of the run (train), or of the run and the model (export)")
    folder: str | None = Field(
        default=None, min_length=1, max_length=4096, description="of pictures on the server's machine (train)"
    )
    gallery: str | None = Field(
        default=None, max_length=200, description="instead of a folder: a served one, whose pictures are learned from"
    )
    minutes: float | None = Field(default=None, gt=0, le=14 * 24 * 60, description="budget (train)")
    recipe: str | None = Field(default=None, pattern=NAME, description="see `lookalike train --list-recipes` (train)")
    preset: str | None = Field(
        default=None,
        pattern=NAME,
        description="the recipe's settings for a kind of machine: cpu-small, cpu, gpu (train)",
    )
    invariance: Literal["semantic", "balanced", "copy"] | None = Field(
        default=None,
        description="what counts as the same: also in other colours, in other light, or as a copy of it (train)",
    )
    export: bool = Field(default=False, description="make a model of the same name of it, when it is trained (train)")
    adopt: bool = Field(
        default=False, description="and give that model to the gallery: it takes `gallery` and `export` (train)"
    )


class JobOut(BaseModel):
    """A job: long work in a process of its own."""

    id: int
    kind: str
    gallery: str | None
    model: str | None = Field(description="of the run or the model that it trains, exports, or gives to a gallery")
    state: State = Field(
        description="queued, running; done; failed; cancelled: somebody asked for it; interrupted: it was killed. The "
        "last three can be resumed, and go on where they were"
    )
    done: int = Field(description="units of the step at hand")
    total: int | None
    unit: str | None
    rate: float | None = Field(description="units a second")
    eta_s: float | None = Field(description="estimate of the seconds that are left of the step at hand")
    message: str | None = Field(description="the step at hand, or why it failed; only for admins: it may name folders")
    warnings: list[str] = Field(description="only for admins")
    result: dict[str, Any] | None = Field(description="what it found, when it is done; for others than admins: numbers")
    result_url: str | None = Field(description="address of what it made or changed")
    exit_code: int | None = Field(description="docs/errors.md has what they mean")
    log_tail: list[str] = Field(description="the last lines of its log; only for admins, and only of one job")
    created_at: str
    started_at: str | None
    ended_at: str | None


class JobsOut(BaseModel):
    """A page of jobs, the newest first."""

    jobs: list[JobOut]
    next_cursor: int | None
