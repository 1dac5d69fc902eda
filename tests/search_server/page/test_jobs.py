"""From no gallery to the first one, and the jobs behind it, in a real browser on a real server."""

import fcntl
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from export.bundle import Bundle
from search_server.jobs import JobTable, now
from tests.conftest import draw_picture, encoded
from tests.search_server.conftest import Server, serving
from tests.search_server.page.conftest import DESKTOP, PHONE, Visit, tiles
from train.run import MOMENTS_FOLDER, Run

pytestmark = pytest.mark.browser

PICTURES = 12
MOMENTS = 0, 50, 200  # steps of a training
LONG = 60_000  # milliseconds: a job is a process of its own


@dataclass(frozen=True)
class Place:
    """A server of a workspace, and folders of pictures beside it."""

    server: Server
    home: Path
    pictures: Path


@pytest.fixture(scope="module")
def place(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A workspace with a model and no gallery."""
    folder = tmp_path_factory.mktemp("first-run")
    home, pictures = folder / "lookalike", folder / "My Pictures"
    shutil.copytree(bundle.folder, home / "models" / "averaging")
    pictures.mkdir()
    for number in range(PICTURES):
        (pictures / f"{number}.png").write_bytes(encoded(draw_picture(number)))
    with serving(log=folder / "log") as running:
        yield Place(running, home, pictures)


@pytest.fixture(scope="module")
def filled(place: Place) -> Place:
    """The same, with a gallery that is there for all tests that come."""
    if place.server.get("/api/v1/galleries/drawn").status == 404:
        made = place.server.send_json("/api/v1/galleries", name="drawn", model="averaging")
        assert made.status == 201, made.body
        pictures = [encoded(draw_picture(number)) for number in range(PICTURES)]
        assert place.server.send_form("/api/v1/galleries/drawn/items", images=pictures).status == 200
    return place


def test_without_a_gallery_the_page_makes_the_first_one_and_leads_to_it(visit: Callable[..., Visit], place: Place):
    page = visit(server=place.server).go("/")
    expect(page).to_have_url(re.compile("/new$"))
    expect(page.get_by_role("heading", name="Find the pictures that look like yours")).to_be_visible()
    expect(page.get_by_text("lookalike up FOLDER", exact=True)).to_be_visible()
    page.get_by_label("Path of the folder").fill(str(place.pictures))
    expect(page.get_by_label("Name", exact=True)).to_have_value("my-pictures")
    page.get_by_role("combobox", name="Model").select_option("averaging")
    page.get_by_role("button", name="Make the gallery").click()
    expect(page).to_have_url(re.compile(r"made=my-pictures&job=\d+$"))
    page.reload()  # nothing is lost by it
    expect(page.get_by_role("heading", name="Your gallery is ready")).to_be_visible(timeout=LONG)
    page.get_by_role("link", name="Search my-pictures").click()
    expect(tiles(page)).to_have_count(PICTURES)


def test_a_folder_that_is_not_there_is_said(visit: Callable[..., Visit], place: Place):
    reader = visit(server=place.server)
    reader.expected = "status of 422"
    page = reader.go("/new")
    page.get_by_label("Path of the folder").fill("/nowhere/at all")
    page.get_by_role("combobox", name="Model").select_option("averaging")
    page.get_by_role("button", name="Make the gallery").click()
    expect(page.get_by_role("alert")).to_contain_text("There is no folder /nowhere/at all on the server's machine")
    page.get_by_label("Path of the folder").fill(str(place.pictures))
    expect(page.get_by_role("button", name="Make the gallery")).to_be_enabled()


def test_pictures_of_this_device_become_a_gallery_and_what_is_none_is_named(visit: Callable[..., Visit], place: Place):
    page = visit(server=place.server).go("/new")
    page.get_by_text("This device").click()
    files = [
        {"name": f"mine-{number}.png", "mimeType": "image/png", "buffer": encoded(draw_picture(number))}
        for number in range(20)
    ]
    bad = {"name": "<b>broken.png", "mimeType": "image/png", "buffer": b"no picture"}
    page.get_by_label("Choose pictures").set_input_files(files=[*files, bad])
    expect(page.locator(".new-chosen")).to_have_text("21 pictures chosen")
    page.get_by_label("Name", exact=True).fill("device")
    page.get_by_role("combobox", name="Model").select_option("averaging")
    page.get_by_role("button", name="Make the gallery").click()
    expect(page.get_by_role("heading", name="Your gallery is ready")).to_be_visible(timeout=LONG)
    page.get_by_text("1 file could not be used").click()
    expect(page.get_by_text("<b>broken.png")).to_be_visible()
    page.get_by_role("link", name="Search device").click()
    expect(tiles(page)).to_have_count(20)


def test_an_empty_gallery_takes_pictures_where_it_stands(visit: Callable[..., Visit], filled: Place):
    filled.server.send_json("/api/v1/galleries", name="empty", model="averaging")
    page = visit(server=filled.server).open(gallery="empty")
    expect(page.get_by_role("heading", name="This gallery has no pictures yet")).to_be_visible()
    picture = {"name": "one.png", "mimeType": "image/png", "buffer": encoded(draw_picture(3))}
    page.get_by_label("Choose pictures").set_input_files(files=[picture])
    expect(tiles(page)).to_have_count(1)


def _work(place: Place, **values: object) -> tuple[JobTable, int]:
    """A job in the table as its process would have it: whoever writes it here stands for that process."""
    table = JobTable(place.home)
    job, _ = table.add("scan", ["index_data", "scan"], "drawn")
    table.change(job.id, state="running", started_at=now(), **values)
    return table, job.id


def test_a_job_is_followed_live_until_it_ends(visit: Callable[..., Visit], filled: Place):
    table, number = _work(filled, done=500, total=1000, unit="files", rate=12.5, seconds_left=100.0, message="Looking.")
    with table.lock_file(number).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        table.log_file(number).write_text(json.dumps({"event": "message", "text": "1,000 files to read."}) + "\n")
        page = visit(server=filled.server).go(f"/jobs?id={number}")
        card = page.locator(".job")
        expect(card.locator(".job-facts span")).to_have_text(
            ["500 of 1,000 files", "13 files a second", "1 min 40 s left"]
        )
        expect(card.locator("progress")).to_have_attribute("value", "500")
        expect(page.get_by_label("Log")).to_have_text("1,000 files to read.")
        expect(page.locator("#jobs-badge")).to_have_text("50 %")
        warned = json.dumps(["<b>torn.png</b> is cut short"])
        table.change(number, done=900, seconds_left=8.0, warnings=warned)
        expect(card).to_contain_text("900 of 1,000 files")
        card.get_by_text("1 warning").click()
        expect(card.get_by_text("<b>torn.png</b> is cut short")).to_be_visible()
        table.change(number, state="done", ended_at=now(), result=json.dumps({"embedded": 7, "rejected": 0}))
        expect(card.get_by_text("Done")).to_be_visible()
        expect(card).to_contain_text("embedded 7")
        expect(page.locator("#jobs-badge")).to_be_hidden()
        expect(page.locator("#announcements")).to_have_text("Looking through the folders of drawn: Done")


def test_a_job_that_waits_is_stopped_and_goes_on(visit: Callable[..., Visit], filled: Place):
    folder = str((filled.home / "galleries" / "drawn").resolve())
    words = ["index_data", "scan", "--home", str(filled.home), "--progress", "json", "--json", "--", folder]
    job, _ = JobTable(filled.home).add("scan", words, "drawn")  # the server looks at it when it is asked to
    page = visit(server=filled.server).go(f"/jobs?id={job.id}")
    card = page.locator(".job")
    expect(card.get_by_text("Waiting")).to_be_visible()
    card.get_by_role("button", name="Stop").click()
    expect(card.get_by_text("Stopped")).to_be_visible()
    card.get_by_role("button", name="Go on").click()
    expect(card.get_by_text("Done")).to_be_visible(timeout=LONG)
    page.get_by_role("link", name="All jobs").click()
    expect(page.get_by_role("heading", name="Before")).to_be_visible()
    page.get_by_role("link", name=re.compile("^Done Looking through the folders of drawn")).first.click()
    expect(page).to_have_url(re.compile(r"id=\d+"))
    page.go_back()
    expect(page.get_by_role("heading", name="Jobs", exact=True)).to_be_visible()


def test_a_new_version_of_the_index_answers_and_the_one_before_can_again(visit: Callable[..., Visit], filled: Place):
    page = visit(server=filled.server).go("/jobs?gallery=drawn")
    table = page.get_by_role("table", name="Versions of the index of drawn")
    newest, before = table.get_by_role("row").nth(1), table.get_by_role("row").nth(2)
    expect(newest).to_contain_text("answers")
    version = int(newest.get_by_role("button").first.inner_text())
    page.get_by_text("Build a new version").click()
    page.get_by_label("Kind").select_option("flat")
    page.get_by_role("button", name="Build", exact=True).click()
    expect(newest.get_by_role("button").first).to_have_text(str(version + 1), timeout=LONG)
    expect(newest).to_contain_text("answers")
    expect(page.get_by_role("link", name=re.compile("^Done Building the index of drawn")).first).to_be_visible()
    before.get_by_role("button", name=f"Let version {version} answer").click()
    expect(before).to_contain_text("answers")
    expect(page.get_by_text(f"Version {version}: all stored vectors compared: exact.")).to_be_visible()


def test_without_javascript_jobs_are_listed_and_the_first_steps_are_said(visit: Callable[..., Visit], filled: Place):
    reader = visit(server=filled.server, java_script_enabled=False)
    page = reader.page
    table, number = _work(filled, done=5, total=10, unit="files")
    table.change(number, state="done", ended_at=now())
    page.goto(f"{reader.origin}/jobs")
    page.get_by_role("link", name=re.compile("^Done Scan of drawn")).first.click()
    expect(page.get_by_role("heading", name=f"Job {number}")).to_be_visible()
    page.goto(f"{reader.origin}/new")
    expect(page.get_by_text("lookalike up FOLDER")).to_be_visible()


@pytest.mark.parametrize("asked", ["id=999999", "id=x", "cursor=0"])
def test_a_job_that_is_not_there_is_said_in_the_page(filled: Place, asked: str):
    answer = filled.server.get(f"/jobs?{asked}", headers={"Accept": "text/html"})
    assert answer.status in (400, 404, 422)
    assert b'role="alert"' in answer.body


VIEWS = (
    "/models",
    "/models?name=trained",
    "/models?train=drawn",
    "/models?run=trained",
    "/new?gallery=drawn",
    "/jobs?gallery=drawn",
    "/about",
    "/g/unfilled/",
    "/g/unfilled/browse",
)


@pytest.fixture(scope="module")
def trained(place: Place) -> Place:
    """A model whose run is still in the workspace, and what that run measured."""
    model, run = place.home / "models" / "trained", place.home / "runs" / "trained"
    shutil.copytree(place.home / "models" / "averaging", model)
    described = json.loads((model / "bundle.json").read_text())
    described["source"] = "run trained"
    described["quality"] = {"psnr": 22.5, "ratio": 0.8, "train_images": 900, "test_images": 50}
    (model / "bundle.json").write_text(json.dumps(described))
    (run / "sheets").mkdir(parents=True)
    (run / "sheets" / "reconstructions.png").write_bytes(encoded(draw_picture(1)))
    recipe = {"name": "similarity", "about": {"title": "any pictures"}}
    plan = {"steps": 200, "steps_per_epoch": 50, "device": "cpu", "pca_validation_mse": 0.007}
    record = {"format": 2, "recipe": recipe, "plan": plan, "preprocessing": described["preprocessing"]}
    (run / "run.json").write_text(json.dumps(record))
    measured = [
        {"step": step, "epoch": step / 50, "split": split, "mse": 0.02 / (1 + step), "images_per_second": 100.0}
        for step in range(1000)
        for split in ("train", "validation")
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in measured))
    (run / "sheets" / MOMENTS_FOLDER).mkdir()
    for number, step in enumerate(MOMENTS):
        Run.open(run).moment(step).write_bytes(encoded(draw_picture(number)))
    return place


def test_a_model_says_how_good_it_is_and_how_it_was_trained(visit: Callable[..., Visit], trained: Place):
    page = visit(server=trained.server).go("/models")
    page.get_by_role("link", name="trained").click()
    expect(page.get_by_text("It paints shapes, and loses fine detail (PSNR 22.5 dB")).to_be_visible()
    expect(page.get_by_text("It paints better than the best linear model of its size")).to_be_visible()
    chart = page.locator(".chart", has_text="Error of the reconstructions")
    expect(chart.locator("polyline")).to_have_count(2)
    chart.get_by_text("The numbers").click()
    expect(chart.get_by_role("row").last).to_contain_text("step 999")
    page.get_by_role("link", name="All models").click()
    page.get_by_role("link", name="averaging").click()
    expect(page.get_by_text("Nothing was measured of it here.")).to_be_visible()


@pytest.mark.parametrize("address", ["/models?name=trained", "/models?run=trained"], ids=["model", "run"])
def test_a_training_is_stepped_through_by_what_it_painted(visit: Callable[..., Visit], trained: Place, address: str):
    page = visit(server=trained.server).go(address)
    steps = page.locator(".training-moments")
    picture, slider = steps.locator("img"), steps.get_by_role("slider", name="Moment of the training")
    before, after = (steps.get_by_role("button", name=f"Moment {way}") for way in ("before", "after"))

    def shows(step: int, words: str) -> None:
        expect(steps.locator("output")).to_have_text(words)
        expect(slider).to_have_attribute("aria-valuetext", words)
        expect(picture).to_have_attribute("alt", f"Pictures, and what it painted of them: {words}")
        expect(picture).to_have_attribute("src", re.compile(rf"/reconstructions/{step}$"))
        assert picture.evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 0

    shows(200, "after 4 of 4 passes over the pictures, step 200")
    expect(after).to_be_disabled()
    slider.fill("0")
    shows(0, "before the first step")
    expect(before).to_be_disabled()
    after.click()
    shows(50, "after 1 of 4 passes over the pictures, step 50")
    slider.press("ArrowRight")
    shows(200, "after 4 of 4 passes over the pictures, step 200")


def test_what_a_training_painted_is_named_and_sent_step_by_step(trained: Place):
    for training in ("/api/v1/models/trained/training", "/api/v1/runs/trained"):
        moments = trained.server.get(training).json()["moments"]
        assert [moment["step"] for moment in moments] == list(MOMENTS)
        assert [moment["epoch"] for moment in moments] == [0, 1, 4]
        for number, moment in enumerate(moments):
            answer = trained.server.get(moment["image"])
            assert answer.headers["content-type"] == "image/png"
            assert answer.body == encoded(draw_picture(number))
        assert trained.server.get(f"{training}/sheets/reconstructions/51").code == "empty"
        assert trained.server.get(f"{training}/sheets/reconstructions/-1").status == 404
    assert trained.server.get("/api/v1/models/nothing/training/sheets/reconstructions/0").code == "no_such_model"
    assert trained.server.get("/api/v1/models/averaging/training/sheets/reconstructions/0").code == "empty"
    assert trained.server.get("/api/v1/runs/nothing/sheets/reconstructions/0").code == "empty"


def test_the_curves_of_a_training_are_thinned_and_keep_their_end(trained: Place):
    training = trained.server.get("/api/v1/models/trained/training").json()
    assert (training["recipe"], training["epochs"], training["pca_mse"]) == ("similarity", 4.0, 0.007)
    assert 200 < len(training["train"]) <= 400
    assert training["train"][-1]["step"] == training["validation"][-1]["step"] == 999
    assert list(training["sheets"]) == ["reconstructions"]
    assert trained.server.get(training["sheets"]["reconstructions"]).headers["content-type"] == "image/png"
    assert trained.server.get("/api/v1/models/trained/training/sheets/morphs").code == "empty"
    assert trained.server.get("/api/v1/models/averaging/training").code == "empty"
    assert trained.server.get("/api/v1/models/nothing/training").code == "no_such_model"


def test_a_model_is_trained_from_the_page_and_given_to_the_gallery(visit: Callable[..., Visit], filled: Place):
    def model_id() -> str:
        model = filled.server.get("/api/v1/models/drawn").json()
        assert model["source"] == "run drawn"
        return str(model["id"])

    reader = visit(server=filled.server)
    page = reader.go("/models?gallery=drawn")
    page.get_by_role("link", name="Train a model").click()
    expect(page.get_by_text("12 pictures are few")).to_be_visible()
    expect(page.get_by_role("radio", name="Without learning")).to_be_checked()
    expect(page.get_by_label("How long it may learn")).to_be_hidden()
    page.get_by_role("radio", name="It learns").check()
    page.get_by_label("How long it may learn").select_option("60")
    expect(page.get_by_text("Then it learns for about 1 h")).to_be_visible()
    page.get_by_role("radio", name="Without learning").check()
    expect(page.get_by_label("Name of the model")).to_have_value("drawn")
    page.get_by_role("button", name="Train it").click()
    expect(page.get_by_role("heading", name="Training the model drawn on drawn")).to_be_visible()
    expect(page.get_by_role("heading", name="What next")).to_be_visible(timeout=5 * LONG)
    page.get_by_label("Gallery", exact=True).select_option("drawn")
    page.get_by_role("button", name="Use it for").click()
    expect(page.get_by_role("heading", name="Giving drawn the model drawn")).to_be_visible()
    expect(page.locator(".job").get_by_text("Done")).to_be_visible(timeout=LONG)
    for _ in range(600):  # looks: it is seen within a second
        if filled.server.get("/api/v1/galleries/drawn").json()["model"]["id"] == model_id():
            break
        page.wait_for_timeout(100)
    page.go_back()
    expect(page.get_by_role("heading", name="What next")).to_be_visible()
    page.get_by_role("link", name="Look at the model").click()
    expect(page.get_by_text("Used by drawn")).to_be_visible()


def test_a_name_that_is_taken_is_refused_at_its_field(visit: Callable[..., Visit], filled: Place):
    reader = visit(server=filled.server)
    reader.expected = "status of 422"
    page = reader.go("/models?train=drawn&gallery=drawn")
    page.get_by_label("Name of the model").fill("averaging")
    page.get_by_role("button", name="Train it").click()
    expect(page.get_by_text("There is a model averaging already: choose another name.")).to_be_visible()
    expect(page.locator("[name=name]")).to_be_focused()
    expect(page.locator("[name=name]")).to_have_attribute("aria-invalid", "true")


def test_too_few_pictures_are_refused_with_what_to_do_instead(visit: Callable[..., Visit], filled: Place):
    filled.server.send_json("/api/v1/galleries", name="empty", model="averaging")
    page = visit(server=filled.server).go("/models?train=empty")
    expect(
        page.get_by_role("heading", name=re.compile("^[01] pictures? (is|are) too few to learn from"))
    ).to_be_visible()
    expect(page.get_by_role("link", name="Add pictures")).to_be_visible()


def test_the_curve_of_a_training_grows_while_it_runs(visit: Callable[..., Visit], trained: Place):
    table = JobTable(trained.home)
    job, _ = table.add("train", ["index_data", "train", "--name", "trained", "--", "x"], "drawn")
    table.change(job.id, state="running", started_at=now(), done=1, total=2, unit="images")
    with table.lock_file(job.id).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        page = visit(server=trained.server).go(f"/jobs?id={job.id}")
        chart = page.locator(".chart", has_text="Error of the reconstructions")
        expect(chart.locator("polyline")).to_have_count(2)
        before = chart.locator("polyline").first.get_attribute("points")
        metrics = trained.home / "runs" / "trained" / "metrics.jsonl"
        with metrics.open("a") as file:
            for split in ("train", "validation"):
                file.write(json.dumps({"step": 2000, "epoch": 40.0, "split": split, "mse": 1e-5}) + "\n")
        table.change(job.id, state="done", ended_at=now())
        expect(page.locator(".job").get_by_text("Done")).to_be_visible()
        expect(chart.locator("polyline").first).not_to_have_attribute("points", before)


def _show(page: Page, view: str) -> None:
    page.wait_for_load_state("networkidle")
    for summary in page.locator("main details > summary:visible").all():
        summary.click()


@pytest.mark.parametrize(
    ("size", "scheme"),
    [(DESKTOP, "light"), pytest.param(PHONE, "dark", marks=pytest.mark.full)],
    ids=["desktop-light", "phone-dark"],
)
def test_every_view_of_the_server_is_accessible_and_never_wider_than_the_window(
    visit: Callable[..., Visit], filled: Place, trained: Place, size: dict[str, int], scheme: str
):
    filled.server.send_json("/api/v1/galleries", name="unfilled", model="averaging")
    table, number = _work(filled, done=5, total=10, unit="files", warnings=json.dumps(["one is cut short"]))
    with table.lock_file(number).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        table.log_file(number).write_text("It has begun.\n")
        reader = visit(size, server=filled.server, color_scheme=scheme, bypass_csp=True, reduced_motion="reduce")
        for view in (*VIEWS, f"/jobs?id={number}"):
            page = reader.go(view)
            page.wait_for_timeout(300) if "id=" in view else _show(page, view)  # a job's stream never falls idle
            found = Axe().run(page)
            assert found.violations_count == 0, f"{view}: {found.generate_report()}"
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], view
        table.change(number, state="done", ended_at=now())
