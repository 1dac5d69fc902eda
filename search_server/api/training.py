"""How a model was trained, where its run is still in the workspace: its curves, and what it painted."""

from pathlib import Path
from typing import Any, Literal

from flask import Response, request
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, Field

from export.bundle import Bundle
from search_server.api.answers import PREFIX, json_answer
from search_server.api.documents import pictures
from search_server.api.model_schemas import ModelPath
from search_server.api.models import model_folder
from search_server.problems import responses
from search_server.service import service
from train.errors import NothingFoundError
from train.run import Run

training = APIBlueprint("training", __name__, url_prefix=PREFIX, abp_tags=[Tag(name="model")])

Sheet = Literal["reconstructions", "morphs", "neighbours"]
SHEETS: tuple[Sheet, ...] = ("reconstructions", "morphs", "neighbours")
MOST_POINTS = 400  # of one curve: more than a screen can show apart
_RUN = "run "  # what the source of a model that was trained here begins with


class SheetPath(ModelPath):
    """A sheet of pictures in an address."""

    sheet: Sheet


class MeasurementOut(BaseModel):
    """What was measured at one moment of the training."""

    step: int
    epoch: float
    mse: float = Field(description="mean squared error of the reconstructions; pixels from 0 to 1")
    learning_rate: float | None = None
    images_per_second: float | None = None


class TrainingOut(BaseModel):
    """A training run."""

    run: str
    recipe: str
    title: str = Field(description="of the recipe")
    steps: int | None
    epochs: float | None
    device: str | None
    pca_mse: float | None = Field(description="of PCA with as many numbers, on the validation images")
    train: list[MeasurementOut]
    validation: list[MeasurementOut]
    sheets: dict[Sheet, str] = Field(description="addresses of pictures that it made at the end")


@training.get(
    "/models/<model>/training", responses={200: TrainingOut, **responses("no_such_model", "empty", "damaged")}
)
def show_training(path: ModelPath) -> Response:
    """Show how a model was trained: its error, learning rate and speed, step by step."""
    run = _run_of(path.model)
    record, plan = run.record, run.record.get("plan") or {}
    recipe = record.get("recipe", {})
    lines = [line for line in run.metrics() if "mse" in line]
    place = f"{request.script_root}{PREFIX}/models/{path.model}/training/sheets"
    return json_answer(
        TrainingOut(
            run=run.folder.name,
            recipe=str(recipe.get("name", "")),
            title=str(recipe.get("about", {}).get("title", "")),
            steps=plan.get("steps"),
            epochs=plan["steps"] / plan["steps_per_epoch"] if plan.get("steps_per_epoch") else None,
            device=plan.get("device"),
            pca_mse=plan.get("pca_validation_mse"),
            train=_curve(lines, "train"),
            validation=_curve(lines, "validation"),
            sheets={name: f"{place}/{name}" for name in SHEETS if _sheet(run, name).is_file()},
        )
    )


@training.get(
    "/models/<model>/training/sheets/<sheet>",
    responses={
        200: pictures("image/png", described="a sheet of pictures"),
        **responses("no_such_model", "empty", "damaged"),
    },
)
def show_sheet(path: SheetPath) -> Response:
    """Show a sheet of a training: reconstructions, morphs, or what it takes for neighbours."""
    file = _sheet(_run_of(path.model), path.sheet)
    if not file.is_file():
        raise NothingFoundError(f"the training of {path.model} left no sheet of {path.sheet}.")
    return Response(file.read_bytes(), mimetype="image/png")


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
    measured = [MeasurementOut.model_validate(line) for line in lines if line.get("split") == split]
    step = max(1, -(-len(measured) // MOST_POINTS))
    return measured[::-1][::step][::-1]
