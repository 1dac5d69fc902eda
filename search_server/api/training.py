"""Training: what a model can learn from here, the runs of the workspace, how each went and what it painted."""

import os
from pathlib import Path
from typing import Any, Literal, TypeVar

from flask import Response, request
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, Field

from export.bundle import Bundle
from export.sessions import has_nvidia_gpu
from search_server.access import needs
from search_server.api.answers import PREFIX, json_answer
from search_server.api.documents import pictures
from search_server.api.job_schemas import NAME
from search_server.api.jobs import can_train
from search_server.api.model_schemas import ModelPath
from search_server.api.models import model_folder
from search_server.api.schemas import Parameters
from search_server.problems import responses
from search_server.service import Service, service
from search_server.up import DEFAULT_MINUTES, TOO_FEW
from train.errors import NothingFoundError, UserError
from train.image_cache import MIN_IMAGES
from train.recipe_files import DEFAULT_RECIPE, preset_names
from train.run import Run
from train.workspace import STARTER

training = APIBlueprint("training", __name__, url_prefix=PREFIX, abp_tags=[Tag(name="model")])

Point = TypeVar("Point")
Sheet = Literal["reconstructions", "morphs", "neighbours"]
SHEETS: tuple[Sheet, ...] = ("reconstructions", "morphs", "neighbours")
MOST_POINTS = 400  # of one curve: more than a screen can show apart
FEW_CORES = 4  # and no GPU: the smaller settings
_RUN = "run "  # what the source of a model that was trained here begins with


class SheetPath(ModelPath):
    """A sheet of pictures in an address."""

    sheet: Sheet


class RunPath(Parameters):
    """A run in an address."""

    run: str = Field(pattern=NAME, description="name of a run of the workspace")


class RunMomentPath(RunPath):
    """What a run painted at a moment, in an address."""

    step: int = Field(ge=0, lt=2**63)


class MomentPath(ModelPath):
    """What the run of a model painted at a moment, in an address."""

    step: int = Field(ge=0, lt=2**63)


class RunSheetPath(RunPath):
    """A sheet of pictures of a run in an address."""

    sheet: Sheet


class TrainingWaysOut(BaseModel):
    """What can be trained here, and how."""

    available: bool = Field(description="whether training is installed on the server")
    device: Literal["cpu", "gpu"] = Field(description="what it would compute on")
    presets: list[str] = Field(description="of the recipe that is taken where none is named, by kind of machine")
    preset: str = Field(description="that suits this machine")
    minutes: float = Field(description="a budget that suits a first model")
    least_images: int = Field(description="fewer cannot be trained on")
    few_images: int = Field(
        description="fewer teach a model less than the one that comes with Lookalike knows; the recipe `patches`, "
        "which trains nothing, makes one of their own in seconds"
    )
    taken: list[str] = Field(description="names of runs and models that there are: a new one needs another")


class RunOut(BaseModel):
    """A training run."""

    name: str
    finished: bool
    has_model: bool = Field(description="whether there is a model of the same name, made of it")
    step: int = Field(description="the last one that was measured; 0 before the first")
    steps: int | None = Field(description="null until it is planned")


class RunsOut(BaseModel):
    """The runs of the workspace."""

    runs: list[RunOut]


class AgreementOut(BaseModel):
    """What was measured while the network learns what is alike, before it learns to paint."""

    epoch: float
    agreement_loss: float = Field(description="how far views of one picture are apart, and others near: less is better")


class MeasurementOut(BaseModel):
    """What was measured at one moment of the training."""

    step: int
    epoch: float
    mse: float = Field(description="mean squared error of the reconstructions; pixels from 0 to 1")
    learning_rate: float | None = None
    images_per_second: float | None = None


class MomentOut(BaseModel):
    """What was painted at one moment of the training, of the same pictures each time."""

    step: int
    epoch: float | None
    image: str = Field(description="address of a sheet: originals above reconstructions, with their errors")


class TrainingOut(BaseModel):
    """A training run."""

    run: str
    finished: bool
    recipe: str
    title: str = Field(description="of the recipe")
    steps: int | None
    epochs: float | None
    device: str | None
    pca_mse: float | None = Field(description="of PCA with as many numbers, on the validation images")
    agreement: list[AgreementOut] = Field(description="of the first part of the training, where it has one")
    train: list[MeasurementOut]
    validation: list[MeasurementOut]
    moments: list[MomentOut] = Field(description="of the training, the first and the last among them")
    sheets: dict[Sheet, str] = Field(description="addresses of pictures that it made at the end")


@training.get("/training", responses={200: TrainingWaysOut, **responses()})
@needs("write")
def training_ways() -> Response:
    """Say what can be trained here: POST `/jobs` with `kind=train` does it."""
    found = service()
    device: Literal["cpu", "gpu"] = "gpu" if has_nvidia_gpu() else "cpu"
    small = len(os.sched_getaffinity(0)) <= FEW_CORES
    return json_answer(
        TrainingWaysOut(
            available=can_train(),
            device=device,
            presets=preset_names(DEFAULT_RECIPE),
            preset="gpu" if device == "gpu" else "cpu-small" if small else "cpu",
            minutes=DEFAULT_MINUTES,
            least_images=MIN_IMAGES,
            few_images=TOO_FEW,
            taken=sorted({*found.workspace.names("runs"), *found.workspace.names("models"), STARTER}),
        )
    )


@training.get("/runs", responses={200: RunsOut, **responses()})
@needs("write")
def list_runs() -> Response:
    """List the training runs of the workspace."""
    return json_answer(all_runs(service()))


def all_runs(found: Service) -> RunsOut:
    """The training runs of the workspace; what is none, or of another version, is left out."""
    described = []
    for name in found.workspace.names("runs"):
        try:
            run = Run.open(found.workspace.place("runs", name))
        except UserError:
            continue
        measured = [int(line.get("step", 0)) for line in run.metrics() if "mse" in line]
        described.append(
            RunOut(
                name=name,
                finished=run.result is not None,
                has_model=_is_made_of(found, name),
                step=measured[-1] if measured else 0,
                steps=(run.record.get("plan") or {}).get("steps"),
            )
        )
    return RunsOut(runs=described)


def _is_made_of(found: Service, name: str) -> bool:
    try:
        return Bundle.open(model_folder(found, name)).facts.source == f"{_RUN}{name}"
    except UserError:
        return False


@training.get("/runs/<run>", responses={200: TrainingOut, **responses("empty", "damaged")})
@needs("write")
def show_run(path: RunPath) -> Response:
    """Show how a training went, or how far it is: its error, learning rate and speed, step by step."""
    run = _existing_run(path.run)
    return json_answer(_describe(run, f"{request.script_root}{PREFIX}/runs/{path.run}/sheets"))


@training.get(
    "/runs/<run>/sheets/<sheet>",
    responses={200: pictures("image/png", described="a sheet of pictures"), **responses("empty", "damaged")},
)
@needs("write")
def show_sheet_of_run(path: RunSheetPath) -> Response:
    """Show a sheet of a run: reconstructions, morphs, or what it takes for neighbours."""
    return _send_sheet(_existing_run(path.run), path.sheet)


@training.get(
    "/runs/<run>/sheets/reconstructions/<int:step>",
    responses={200: pictures("image/png", described="a sheet of pictures"), **responses("empty", "damaged")},
)
@needs("write")
def show_moment_of_run(path: RunMomentPath) -> Response:
    """Show what a run painted at one of its `moments`."""
    return _send_moment(_existing_run(path.run), path.step)


@training.get(
    "/models/<model>/training/sheets/reconstructions/<int:step>",
    responses={
        200: pictures("image/png", described="a sheet of pictures"),
        **responses("no_such_model", "empty", "damaged"),
    },
)
def show_moment(path: MomentPath) -> Response:
    """Show what a model's training painted at one of its `moments`."""
    return _send_moment(_run_of(path.model), path.step)


@training.get(
    "/models/<model>/training", responses={200: TrainingOut, **responses("no_such_model", "empty", "damaged")}
)
def show_training(path: ModelPath) -> Response:
    """Show how a model was trained: its error, learning rate and speed, step by step."""
    place = f"{request.script_root}{PREFIX}/models/{path.model}/training/sheets"
    return json_answer(_describe(_run_of(path.model), place))


@training.get(
    "/models/<model>/training/sheets/<sheet>",
    responses={
        200: pictures("image/png", described="a sheet of pictures"),
        **responses("no_such_model", "empty", "damaged"),
    },
)
def show_sheet(path: SheetPath) -> Response:
    """Show a sheet of a training: reconstructions, morphs, or what it takes for neighbours."""
    return _send_sheet(_run_of(path.model), path.sheet)


def _describe(run: Run, place: str) -> TrainingOut:
    """A run; `place` is the address of its sheets."""
    record, plan = run.record, run.record.get("plan") or {}
    recipe = record.get("recipe", {})
    lines = run.metrics()
    measured = [line for line in lines if "mse" in line]
    agreed = [AgreementOut.model_validate(line) for line in lines if line.get("split") == "trunk"]
    return TrainingOut(
        run=run.folder.name,
        finished=run.result is not None,
        recipe=str(recipe.get("name", "")),
        title=str(recipe.get("about", {}).get("title", "")),
        steps=plan.get("steps"),
        epochs=plan["steps"] / plan["steps_per_epoch"] if plan.get("steps_per_epoch") else None,
        device=plan.get("device"),
        pca_mse=plan.get("pca_validation_mse"),
        agreement=_thinned(agreed),
        train=_curve(measured, "train"),
        validation=_curve(measured, "validation"),
        moments=[
            MomentOut(step=step, epoch=_epoch(step, plan), image=f"{place}/reconstructions/{step}")
            for step in run.moments()
        ],
        sheets={name: f"{place}/{name}" for name in SHEETS if _sheet(run, name).is_file()},
    )


def _epoch(step: int, plan: dict[str, Any]) -> float | None:
    per_epoch = plan.get("steps_per_epoch")
    return round(step / per_epoch, 4) if per_epoch else None


def _send_moment(run: Run, step: int) -> Response:
    file = run.moment(step)
    if not file.is_file():
        raise NothingFoundError(f"the training {run.folder.name} has kept nothing that it painted at step {step:,}.")
    return Response(file.read_bytes(), mimetype="image/png")


def _send_sheet(run: Run, name: Sheet) -> Response:
    file = _sheet(run, name)
    if not file.is_file():
        raise NothingFoundError(f"the training {run.folder.name} has no sheet of {name} (yet).")
    return Response(file.read_bytes(), mimetype="image/png")


def _existing_run(name: str) -> Run:
    """A run of the workspace.

    Raises:
        NothingFoundError: There is none of this name.
    """
    found = service()
    if name not in found.workspace.names("runs"):
        raise NothingFoundError(f"there is no run {name!r} in the server's workspace.")
    return Run.open(found.workspace.place("runs", name))


def _run_of(model: str) -> Run:
    """The run that a model was made of.

    Raises:
        NothingFoundError: It was made elsewhere, or its run is gone.
    """
    found = service()
    source = Bundle.open(model_folder(found, model)).facts.source
    name = source.removeprefix(_RUN)
    if source == name or name not in found.workspace.names("runs"):
        raise NothingFoundError(f"the run that {model} was made of is not in the server's workspace.")
    return Run.open(found.workspace.place("runs", name))


def _sheet(run: Run, name: Sheet) -> Path:
    return run.folder / "sheets" / f"{name}.png"


def _curve(lines: list[dict[str, Any]], split: str) -> list[MeasurementOut]:
    """The measurements of one kind, thinned evenly; the last one stays."""
    return _thinned([MeasurementOut.model_validate(line) for line in lines if line.get("split") == split])


def _thinned(measured: list[Point]) -> list[Point]:
    """Measurements, evenly fewer; the last one stays."""
    step = max(1, -(-len(measured) // MOST_POINTS))
    return measured[::-1][::step][::-1]
