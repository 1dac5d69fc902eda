"""Small real things that the tests of all stages share."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of the shared image sets."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the shared image sets are not at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session")
def corel_photos(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Corel-1000 photos, unpacked: 10 folders of 100 JPEG files."""
    folder = tmp_path_factory.mktemp("corel")
    with tarfile.open(shared_data / "corel1k.tar") as archive:
        archive.extractall(folder, filter="data")
    return folder / "corel1k"


@pytest.fixture(scope="session")
def evil_images(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hostile and odd image files, unpacked, with their manifest.json."""
    folder = tmp_path_factory.mktemp("evil")
    with tarfile.open(shared_data / "evil_images.tar") as archive:
        archive.extractall(folder, filter="data")
    return folder / "evil_images"


def draw_picture(number: int, width: int = 96, height: int = 80) -> Image.Image:
    """Draw a picture that nobody takes for another: its shapes, places and colours follow from its number."""
    random = np.random.default_rng(number)
    image = Image.new("RGB", (width, height), tuple(int(value) for value in random.integers(0, 256, 3)))
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        x, y = random.integers(0, width), random.integers(0, height)
        radius = int(random.integers(6, 30))
        colour = tuple(int(value) for value in random.integers(0, 256, 3))
        box = (x - radius, y - radius, x + radius, y + radius)
        (draw.ellipse if random.random() < 0.5 else draw.rectangle)(box, fill=colour)
    return image


def encoded(image: Image.Image, image_format: str = "PNG", **settings: object) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, image_format, **settings)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def drawn_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """48 drawn pictures in two folders, PNG and JPEG. Read only: copy it to change it."""
    folder = tmp_path_factory.mktemp("drawn") / "pictures"
    for number in range(48):
        place = folder / ("round" if number % 2 else "square")
        place.mkdir(parents=True, exist_ok=True)
        if number % 3:
            draw_picture(number).save(place / f"picture-{number:02}.png")
        else:
            draw_picture(number).save(place / f"picture-{number:02}.jpg", quality=95)
    yield folder
