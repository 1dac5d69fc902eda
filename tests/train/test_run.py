import json

import pytest
import torch

from train.errors import DamagedError, IncompatibleError, NothingFoundError
from train.recipe import Recipe
from train.run import Plan, Run

PLAN = Plan(
    dims=4,
    mirror=True,
    batch=8,
    steps=10,
    steps_per_epoch=5,
    precision="fp32",
    device="cpu",
    threads=1,
    pca_validation_mse=0.1,
    pca_test_mse=0.2,
)


SMALL = Recipe.read("principal", {"data.image_size": 16, "architecture.dims": 4, "architecture.widths": [16, 16, 16]})


@pytest.fixture
def run(tmp_path) -> Run:
    return Run.create(tmp_path / "run", SMALL, "pictures")


def test_settings_and_plan_survive(run):
    run.set_plan(PLAN)
    again = Run.open(run.folder)
    assert again.recipe == SMALL
    assert again.plan == PLAN
    assert again.plan.epochs == 2
    assert again.preprocessing.size == 16
    assert again.result is None


def test_the_network_comes_back_with_its_weights(run):
    network = SMALL.build()
    run.save("best.pt", {"weights": network.state_dict()})
    again = run.load_network()
    assert not again.training
    x = torch.rand(2, 3, 16, 16)
    assert torch.equal(again.encode(x), network.eval().encode(x))


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(NothingFoundError, match="no training run"):
        Run.open(tmp_path)


def test_a_run_that_has_no_network_yet_is_refused(run):
    with pytest.raises(NothingFoundError, match="no trained network yet"):
        run.load_network()


def test_a_later_format_is_refused(run):
    run.update(format=99)
    with pytest.raises(IncompatibleError, match="run format 99"):
        Run.open(run.folder)


def test_images_prepared_in_another_way_are_refused(run):
    run.update(preprocessing={**run.record["preprocessing"], "resample": "NEAREST"})
    with pytest.raises(IncompatibleError, match="resample"):
        Run.open(run.folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff"])
def test_a_damaged_run_file_is_named(run, content):
    (run.folder / "run.json").write_bytes(content)
    with pytest.raises(DamagedError, match=r"run\.json is damaged"):
        Run.open(run.folder)


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_a_damaged_checkpoint_is_named(run, keep):
    network = SMALL.build()
    run.save("best.pt", {"weights": network.state_dict()})
    content = run.path("best.pt").read_bytes()
    run.path("best.pt").write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(DamagedError, match=r"best\.pt is damaged"):
        run.load_network()


def test_a_checkpoint_of_another_shape_is_named(run):
    run.save("best.pt", {"weights": SMALL.with_dims(5).build().state_dict()})
    with pytest.raises(DamagedError, match="does not hold this network"):
        run.load_network()


def test_a_torn_line_of_metrics_is_left_out_and_does_no_harm_to_the_next(run):
    for step in (1, 2):
        run.add_metrics({"step": step, "mse": 0.5})
    with run.path("metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "ms')
    assert [line["step"] for line in run.metrics()] == [1, 2]
    run.rewind_metrics(1)
    run.add_metrics({"step": 2, "mse": 0.4})
    assert run.metrics() == [{"step": 1, "mse": 0.5}, {"step": 2, "mse": 0.4}]


def test_clearing_takes_the_run_and_leaves_what_is_not_its_own(run):
    run.add_metrics({"step": 1})
    run.path("mine.txt").write_text("mine")
    Run.clear(run.folder)
    assert [path.name for path in run.folder.iterdir()] == ["mine.txt"]


def test_failures_have_printable_paths(run):
    run.write_failures([{"path": "a\n\udcff.jpg", "code": "corrupt"}])
    [line] = run.path("failures.jsonl").read_text().splitlines()
    assert json.loads(line)["path"] == "a\\n\\xff.jpg"
