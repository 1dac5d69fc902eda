"""Where a picture may lie in others: template matching by normalised correlation, at 32 px.

Lewis 1995, "Fast normalized cross-correlation", on what is left without the coarse shades: skies and lawns are alike in
pictures that have nothing else in common.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from train.images import Pixels

Floats = NDArray[np.float32]
Affine = NDArray[np.float64]  # (3, 3), of columns and rows; whole numbers are the corners of pixels

SIDE = 64  # px of the longer side of what is aligned
COARSE = 32  # the same where places are sought
SCALES = tuple(1.07**-step for step in range(10))  # down to .54: three tenths of the area
ANGLES = (0.0, -5.0, 5.0, -10.0, 10.0)  # degrees; alignment finds what lies between
SHADES = 4.0  # px at `COARSE`: what is coarser does not tell pictures apart
SMALLEST = 6  # px: a smaller pattern fits anywhere
FAINT = 0.02  # standard deviation (0 to 1) below which there is no pattern
WHOLE_IS_ENOUGH = 0.97  # correlation of the whole from which no part is looked for


# --- Pictures, small ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outline:
    """A picture at `SIDE`."""

    image: Image.Image  # RGB
    patterns: Floats  # (COARSE, COARSE): what it has of finer shades; zeros beside it
    coarse: tuple[int, int]  # its columns and rows there

    @classmethod
    def of(cls, pixels: Pixels) -> "Outline":
        """Shrink a picture, (h, w, 3)."""
        image = _fitted_into(Image.fromarray(pixels), SIDE)
        small = _fitted_into(image.convert("L"), COARSE)
        patterns = np.zeros((COARSE, COARSE), np.float32)
        patterns[: small.height, : small.width] = fine_shades(small)
        return cls(image, patterns, small.size)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows at `SIDE`."""
        return self.image.size

    @property
    def from_coarse(self) -> Affine:
        """From pixels at `COARSE` to those at `SIDE`."""
        return _scaled(self.coarse, self.size)


def _fitted_into(image: Image.Image, side: int) -> Image.Image:
    factor = side / max(image.size)
    size = max(SMALLEST, round(image.width * factor)), max(SMALLEST, round(image.height * factor))
    return image if size == image.size else image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)


def fine_shades(image: Image.Image) -> Floats:
    """A grey picture without its coarse shades, (h, w)."""
    coarse = np.asarray(image.filter(ImageFilter.GaussianBlur(SHADES)), np.float32)
    return (np.asarray(image, np.float32) - coarse) / np.float32(255)


# --- Affine maps, as (3, 3) while they are put together --------------------------------------------------------------


def _scaled(before: tuple[float, float], after: tuple[float, float]) -> Affine:
    scaled: Affine = np.diag([after[0] / before[0], after[1] / before[1], 1.0])
    return scaled


def _moved(x: float, y: float) -> Affine:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])


def _mirrored(width: float) -> Affine:
    return np.array([[-1, 0, width], [0, 1, 0], [0, 0, 1.0]])


def _turned(degrees: float, size: tuple[float, float]) -> Affine:
    """Anticlockwise round the middle, as `PIL.Image.rotate` turns; rows count downwards."""
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    turn = np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1.0]])
    turned: Affine = _moved(size[0] / 2, size[1] / 2) @ turn @ _moved(-size[0] / 2, -size[1] / 2)
    return turned


# --- Where ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where a template lies in an image."""

    merit: float  # correlation
    affine: Affine  # (3, 3), template to image, pixels at `SIDE`
    inside_out: bool = False  # the template is the candidate, the image is the picture


@dataclass(frozen=True)
class _Form:
    """A picture as it may lie in another."""

    name: str
    image: Image.Image  # grey
    affine: Affine  # (3, 3), from the picture's pixels to those of `image`


def places(picture: Outline, candidates: Sequence[Outline], most: int) -> list[list[Place]]:
    """The best places of each candidate, at most so many, best first, each of the picture in another form."""
    offers = _Offers(len(candidates))
    _offer_wholes(picture, candidates, offers)
    if offers.greatest < WHOLE_IS_ENOUGH:
        _offer_parts(picture, candidates, offers)
        for number, candidate in enumerate(candidates):
            _offer_frames(picture, candidate, number, offers)
    return [sorted(found.values(), key=lambda place: -place.merit)[:most] for found in offers.by_candidate]


class _Offers:
    """The best place of each form in each candidate."""

    def __init__(self, candidates: int) -> None:
        self.by_candidate: list[dict[str, Place]] = [{} for _ in range(candidates)]

    @property
    def greatest(self) -> float:
        """Merit of the best of all."""
        return max((place.merit for found in self.by_candidate for place in found.values()), default=0.0)

    def add(self, number: int, form: str, place: Place) -> None:
        """Keep a place of a candidate where it is better than what is known of this form."""
        found = self.by_candidate[number]
        if place.merit > 0 and (form not in found or place.merit > found[form].merit):
            found[form] = place


def _offer_wholes(picture: Outline, candidates: Sequence[Outline], offers: _Offers) -> None:
    """The whole picture in its eight forms, pressed into the candidates' shapes."""
    forms = _whole_forms(picture)
    for shape, numbers in _by_shape(candidates).items():
        width, height = shape
        images = np.stack([candidates[number].patterns[:height, :width].ravel() for number in numbers])
        patterns = [fine_shades(form.image.resize(shape, Image.Resampling.BICUBIC)).ravel() for form in forms]
        merits = _normal(images) @ _normal(np.stack(patterns)).T
        for number, row in zip(numbers, merits.tolist(), strict=True):
            for form, merit in zip(forms, row, strict=True):
                to_coarse = _scaled(form.image.size, shape) @ form.affine
                offers.add(number, form.name, Place(merit, candidates[number].from_coarse @ to_coarse))


def _offer_parts(picture: Outline, candidates: Sequence[Outline], offers: _Offers) -> None:
    """The picture as a part of the candidates: mirrored or not, turned, in each size, at each place."""
    images = np.stack([candidate.patterns for candidate in candidates])
    spectra, windows = np.fft.rfft2(images), _Windows(images)
    rooms = np.array([candidate.coarse for candidate in candidates], np.int64)
    for size, forms in _sized_forms(picture).items():
        free: NDArray[np.int64] = rooms - np.array(size)  # columns and rows; rounding may take one away
        if not np.any(np.all(free >= -1, axis=1)):
            continue
        patterns = np.stack([fine_shades(form.image.resize(size, Image.Resampling.BICUBIC)) for form in forms])
        scores = _correlations(spectra, windows, patterns[:, None])
        scores[:, ~_are_places(free, scores.shape[2:])] = -1
        flat = scores.reshape(len(forms), len(candidates), -1)
        at = flat.argmax(axis=2)
        merits = np.take_along_axis(flat, at[..., None], axis=2)[..., 0].tolist()
        rows, columns = np.divmod(at, scores.shape[3])
        for which, form in enumerate(forms):
            sized = _scaled(form.image.size, size) @ form.affine
            for number, candidate in enumerate(candidates):
                to_coarse = _moved(float(columns[which, number]), float(rows[which, number])) @ sized
                offers.add(number, form.name, Place(merits[which][number], candidate.from_coarse @ to_coarse))


def _are_places(free: NDArray[np.integer], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which places of a pattern are in the pictures, (n, rows, columns).

    Args:
        free: Columns and rows that each picture has more than the pattern, (n, 2).
        shape: Rows and columns of places in the largest one.
    """
    most = np.maximum(free, 0)[..., None, None]
    rows: NDArray[np.bool_] = np.arange(shape[0])[:, None] <= most[:, 1]
    columns: NDArray[np.bool_] = np.arange(shape[1]) <= most[:, 0]
    return np.asarray(rows & columns & np.all(free >= -1, axis=1)[:, None, None])


def _offer_frames(picture: Outline, candidate: Outline, number: int, offers: _Offers) -> None:
    """The candidate as a part of the picture: a frame or more of the scene lies around it."""
    image = picture.patterns[None]
    spectrum, windows = np.fft.rfft2(image), _Windows(image)
    grey = candidate.image.convert("L")
    fitting = min(picture.coarse[0] / candidate.size[0], picture.coarse[1] / candidate.size[1])
    for scale in SCALES[1:]:
        width, height = (round(side * fitting * scale) for side in candidate.size)
        if min(width, height) < SMALLEST:
            return
        pattern = fine_shades(grey.resize((width, height), Image.Resampling.BICUBIC))
        scores = _correlations(spectrum, windows, pattern)[0]
        scores = scores[: picture.coarse[1] - height + 1, : picture.coarse[0] - width + 1]
        row, column = divmod(int(scores.argmax()), scores.shape[1])
        to_coarse = _moved(column, row) @ _scaled(candidate.size, (width, height))
        place = Place(float(scores[row, column]), picture.from_coarse @ to_coarse, inside_out=True)
        offers.add(number, "frame", place)


def _by_shape(candidates: Sequence[Outline]) -> dict[tuple[int, int], list[int]]:
    shapes: dict[tuple[int, int], list[int]] = {}
    for number, candidate in enumerate(candidates):
        shapes.setdefault(candidate.coarse, []).append(number)
    return shapes


def _whole_forms(picture: Outline) -> list[_Form]:
    """Mirrored or not, turned by quarters."""
    grey = picture.image.convert("L")
    forms = []
    for is_mirrored in (False, True):
        image, affine = _maybe_mirrored(grey, is_mirrored)
        for quarters in range(4):
            forms.append(_Form(_form_name(is_mirrored, 90 * quarters), image, affine))
            turn = np.array([[0, 1, 0], [-1, 0, image.width], [0, 0, 1.0]])  # anticlockwise
            image, affine = image.transpose(Image.Transpose.ROTATE_90), turn @ affine
    return forms


def _sized_forms(picture: Outline) -> dict[tuple[int, int], list[_Form]]:
    """Mirrored or not, turned a little and cut to what is whole then, by the sizes that are tried."""
    grey = picture.image.convert("L")
    sized: dict[tuple[int, int], list[_Form]] = {}
    for is_mirrored in (False, True):
        image, affine = _maybe_mirrored(grey, is_mirrored)
        for degrees in ANGLES:
            form = _Form(_form_name(is_mirrored, degrees), *_turned_and_cut(image, affine, degrees))
            for scale in SCALES:
                factor = scale * COARSE / SIDE
                size = round(form.image.width * factor), round(form.image.height * factor)
                if min(size) >= SMALLEST and max(size) <= COARSE:
                    sized.setdefault(size, []).append(form)
    return sized


def _form_name(is_mirrored: bool, degrees: float) -> str:
    return f"{'mirrored ' if is_mirrored else ''}{degrees:g}"


def _maybe_mirrored(image: Image.Image, is_mirrored: bool) -> tuple[Image.Image, Affine]:
    if not is_mirrored:
        return image, np.eye(3)
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), _mirrored(image.width)


def _turned_and_cut(image: Image.Image, affine: Affine, degrees: float) -> tuple[Image.Image, Affine]:
    """Turned, and cut to the largest rectangle of its shape that has no corner of nothing."""
    if not degrees:
        return image, affine
    sine, cosine = abs(math.sin(math.radians(degrees))), math.cos(math.radians(degrees))
    width, height = image.size
    share = min(width / (width * cosine + height * sine), height / (width * sine + height * cosine))
    cut = max(1, round(width * share)), max(1, round(height * share))
    left, top = (width - cut[0]) // 2, (height - cut[1]) // 2
    turned = image.rotate(degrees, Image.Resampling.BICUBIC).crop((left, top, left + cut[0], top + cut[1]))
    return turned, _moved(-left, -top) @ _turned(degrees, image.size) @ affine


class _Windows:
    """Sums over every window of some images, (n, COARSE, COARSE)."""

    def __init__(self, images: Floats) -> None:
        around = ((0, 0), (1, 0), (1, 0))
        self._sums = np.pad(images.astype(np.float64).cumsum(axis=1).cumsum(axis=2), around)
        self._squares = np.pad((images.astype(np.float64) ** 2).cumsum(axis=1).cumsum(axis=2), around)

    def deviations(self, height: int, width: int) -> Floats:
        """Root of the summed squared deviations in each window, (n, rows, columns)."""
        sums, squares = (_of_windows(table, height, width) for table in (self._sums, self._squares))
        least = FAINT**2 * height * width
        found: Floats = np.sqrt(np.maximum(squares - sums**2 / (height * width), least)).astype(np.float32)
        return found


def _of_windows(table: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """Sums over all windows of a size, from sums over all that lies above and to the left, (n, rows, columns)."""
    above = table[:, height:] - table[:, :-height]
    return above[:, :, width:] - above[:, :, :-width]


def _correlations(spectra: NDArray[np.complexfloating], windows: _Windows, patterns: Floats) -> Floats:
    """Normalised correlation of patterns, (..., h, w), with images at every place that holds them whole.

    No room is added for the transforms: what wraps round lies at other places.
    """
    height, width = patterns.shape[-2:]
    flat = _normal(patterns.reshape(*patterns.shape[:-2], -1)).reshape(patterns.shape)
    products = spectra * np.conj(np.fft.rfft2(flat, s=(COARSE, COARSE)))
    sums = np.fft.irfft2(products, s=(COARSE, COARSE))[..., : COARSE - height + 1, : COARSE - width + 1]
    return np.asarray(sums / windows.deviations(height, width), np.float32)


def _normal(patterns: Floats) -> Floats:
    """Rows of mean 0 and length 1; faint ones become shorter."""
    centred = patterns - patterns.mean(axis=-1, keepdims=True)
    lengths = np.maximum(np.linalg.norm(centred, axis=-1, keepdims=True), FAINT * math.sqrt(patterns.shape[-1]))
    return np.asarray(centred / lengths, np.float32)
