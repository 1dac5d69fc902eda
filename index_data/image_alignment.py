"""Laying templates over images exactly, and how much of a template its image explains.

Alignment: Gauss-Newton steps on the brightness, where pixels that differ much count little (Lucas and Kanade 1981;
Baker and Matthews 2004, "Lucas-Kanade 20 years on"). All pairs go through each step together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from index_data.template_matching import FAINT, SIDE, Affine, Floats, Outline, fine_shades

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
BLURRED = 1.5  # px: of the first steps, which are long
LONG_STEPS, SHORT_STEPS = 5, 4
MOST_STRETCHED, MOST_SCALED = 1.6, 4.0  # one direction against the other, and either: beyond it steps went astray
BLURS = (0.0, 0.7, 1.2, 2.0)  # px, of the image
WRONG = 0.25  # of the template's variance: a pixel is never wrong by more, so lettering costs what it covers
ROBUST = 0.1  # of the variance: squared differences above count little when colours are fitted
WHITE, BLACK = 0.98, 0.02  # what a value was before it came to an end of the range cannot be told
SOFTENED = 0.8  # px of blur for a template of twice its image's pixels
MOST_ENLARGED = 6.0  # times the pixels: more blur would leave nothing to compare
OTHERS = 0.5  # of the variance: where squared differences are above, something else is shown
LEAST_SHARE = 0.01  # of `SIDE` squared that both have to cover


@dataclass(frozen=True)
class Aligned:
    """n templates on their images."""

    places: NDArray[np.int64]  # (n,) from which of the given places each was found
    affine: Affine  # (n, 3, 3), from pixels of the template to those of the image
    agreement: Floats  # (n,) share of the template that the image explains, at most 1
    detail: Floats  # (n,) correlation of the finer shades where both show the same, -1 to 1


def align(
    templates: Sequence[Outline], images: Sequence[Outline], places: Sequence[Affine], of: Sequence[int]
) -> Aligned:
    """Align templates with images, each from the best of some places.

    Args:
        templates: Pictures, one for each place.
        images: In which they lie, likewise.
        places: Where about, (3, 3) each, from pixels of the template to those of the image.
        of: Which of n pairs each place is of.
    """
    wanted, shown = _Stack([each.image for each in templates]), _Stack([each.image for each in images])
    first = np.stack(places)
    # Out of focus, so that steps may be long, and a blurred picture is not taken for what is not sharp by itself.
    dim_wanted, dim_shown = wanted.blurred(BLURRED), shown.blurred(BLURRED)
    found = _refined(dim_wanted, dim_shown, first, LONG_STEPS, _Grid(2))
    found = _where_better(dim_wanted, dim_shown, found, first)
    order = np.lexsort((_unlike(dim_wanted, dim_shown, found), np.asarray(of)))
    best = order[np.unique(np.asarray(of)[order], return_index=True)[1]]
    wanted, shown, before = wanted.some(best), shown.some(best), first[best]
    found = _where_better(wanted, shown, _refined(wanted, shown, found[best], SHORT_STEPS, _Grid(1)), found[best])
    # Where one of them is out of focus, steps lead away from a place that was right.
    left = _agreements(_as_fine_as_images(wanted, before), shown, before)
    agreement = _agreements(_as_fine_as_images(wanted, found), shown, found)
    found = np.where((left > agreement)[:, None, None], before, found)
    detail = _details(_as_fine_as_images(wanted, found), shown, found)
    return Aligned(best, found, np.maximum(left, agreement), detail)


def _where_better(templates: "_Stack", images: "_Stack", found: Affine, first: Affine) -> Affine:
    """What steps found, but where they led astray what they began from."""
    lengths = np.linalg.svd(found[:, :2, :2], compute_uv=False)
    longest, shortest = lengths.T
    astray = (longest > MOST_STRETCHED * shortest) | (longest > MOST_SCALED) | (shortest < 1 / MOST_SCALED)
    astray |= _unlike(templates, images, found) > _unlike(templates, images, first)
    kept: Affine = np.where(astray[:, None, None], first, found)
    return kept


def _as_fine_as_images(templates: "_Stack", affine: Affine) -> "_Stack":
    """Templates without what their images, of which they show a part, have no pixels for."""
    enlarged = np.maximum(1 / np.maximum(np.abs(np.linalg.det(affine[:, :2, :2])), 1 / MOST_ENLARGED), 1)
    radii = SOFTENED * np.sqrt(enlarged - 1)
    return _Stack(
        [
            image.filter(ImageFilter.GaussianBlur(radius)) if radius > 0 else image
            for image, radius in zip(templates.pictures, radii.tolist(), strict=True)
        ]
    )


class _Stack:
    """Some pictures at `SIDE`, each continued beyond its edges."""

    def __init__(self, pictures: Sequence[Image.Image]) -> None:
        padded = [
            np.pad(np.asarray(image), ((0, SIDE - image.height), (0, SIDE - image.width), (0, 0)), mode="edge")
            for image in pictures
        ]
        self.pictures = pictures
        self._blurred: dict[float, _Stack] = {}
        self.rgb: Floats = np.stack(padded).astype(np.float32) / np.float32(255)  # (n, SIDE, SIDE, 3)
        self.sizes = np.array([image.size for image in pictures])  # (n, 2) columns and rows

    def blurred(self, radius: float) -> "_Stack":
        """The same, out of focus; made once."""
        if not radius:
            return self
        if radius not in self._blurred:
            blur = ImageFilter.GaussianBlur(radius)
            self._blurred[radius] = _Stack([image.filter(blur) for image in self.pictures])
        return self._blurred[radius]

    def some(self, which: NDArray[np.int64]) -> "_Stack":
        """Some of them."""
        return _Stack([self.pictures[number] for number in which.tolist()])

    @property
    def grey(self) -> Floats:
        """(n, SIDE, SIDE)."""
        return self.rgb @ LUMA

    def holds(self, columns: Floats, rows: Floats) -> NDArray[np.bool_]:
        """Whether points are in the pictures, (n, points)."""
        across = (columns >= 0) & (columns <= self.sizes[:, :1])
        holds: NDArray[np.bool_] = across & (rows >= 0) & (rows <= self.sizes[:, 1:])
        return holds


@dataclass(frozen=True)
class _Grid:
    """Middles of every pixel, or of every second one of each row and column."""

    step: int

    @property
    def columns(self) -> Floats:
        """(points,)."""
        return np.tile(self._middles, len(self._middles))

    @property
    def rows(self) -> Floats:
        """(points,)."""
        return np.repeat(self._middles, len(self._middles))

    @property
    def _middles(self) -> Floats:
        return np.arange(0, SIDE, self.step, dtype=np.float32) + np.float32(0.5)

    def of(self, values: Floats) -> Floats:
        """Values of those pixels, (n, ..., SIDE, SIDE) to (n, ..., points)."""
        taken = values[..., :: self.step, :: self.step]
        return np.ascontiguousarray(taken.reshape(*values.shape[:-2], -1))

    def under(self, affine: Affine) -> tuple[Floats, Floats]:
        """Where they come to lie: columns and rows, (n, points) each."""
        points = np.stack([self.columns, self.rows, np.ones_like(self.rows)])
        moved = affine[:, :2].astype(np.float32) @ points
        return moved[:, 0], moved[:, 1]


def _looked_up(maps: Floats, columns: Floats, rows: Floats) -> Floats:
    """Values of some maps, (n, SIDE, SIDE, c), between their pixels, bilinear: (n, c, points)."""
    columns, rows = np.clip(columns - 0.5, 0, SIDE - 1.001), np.clip(rows - 0.5, 0, SIDE - 1.001)
    left, top = columns.astype(np.int32), rows.astype(np.int32)
    right, low = (columns - left)[..., None], (rows - top)[..., None]
    flat = maps.reshape(-1, maps.shape[-1])
    at = (np.arange(len(maps), dtype=np.int32)[:, None] * SIDE + top) * SIDE + left
    above, beside = flat.take(at, axis=0), flat.take(at + 1, axis=0)
    below, across = flat.take(at + SIDE, axis=0), flat.take(at + SIDE + 1, axis=0)
    above += (beside - above) * right
    below += (across - below) * right
    above += (below - above) * low
    return np.ascontiguousarray(above.swapaxes(1, 2))


# --- Where exactly --------------------------------------------------------------------------------------------------


def _refined(templates: _Stack, images: _Stack, affine: Affine, steps: int, grid: _Grid) -> Affine:
    """Gauss-Newton steps on the brightness, with a gain and an offset for each pair."""
    grey = images.grey
    down, across = np.gradient(grey, axis=(1, 2))
    maps = np.stack([grey, across, down], axis=-1)
    wanted = grid.of(templates.grey)
    columns, rows = grid.columns, grid.rows
    here = templates.holds(columns[None], rows[None])
    spread = _variance(wanted[:, None], here)[:, None]
    affine = affine.copy()
    for _ in range(steps):
        x, y = grid.under(affine)
        found, across, down = _looked_up(maps, x, y).swapaxes(0, 1)
        counts = (here & images.holds(x, y)).astype(np.float32)
        gain, error = _gain_and_error(found, wanted, counts)
        weights = counts / (1 + error**2 / (WRONG * spread)) ** 2
        gain, error = _gain_and_error(found, wanted, weights)
        weights = counts / (1 + error**2 / (WRONG * spread)) ** 2
        across, down = across * gain, down * gain
        ways = np.stack([across * columns, across * rows, across, down * columns, down * rows, down], axis=1)
        weighed = ways * weights[:, None]
        normal = (weighed @ ways.swapaxes(1, 2)).astype(np.float64)
        # A little stiff, so that a picture without edges in one direction stays where it is.
        normal += (1e-3 * normal.trace(axis1=1, axis2=2)[:, None, None] / 6 + 1e-8) * np.eye(6)
        step = np.linalg.solve(normal, (weighed @ error[..., None]).astype(np.float64))
        affine[:, :2] += step.reshape(-1, 2, 3)
    return affine


def _gain_and_error(found: Floats, wanted: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """The gain that makes what was found most like what is wanted, (n, 1), and what is left, (n, points)."""
    total = weights.sum(axis=1, keepdims=True) + 1e-6
    found = found - (weights * found).sum(axis=1, keepdims=True) / total
    wanted = wanted - (weights * wanted).sum(axis=1, keepdims=True) / total
    weighed = weights * found
    gain = (weighed * wanted).sum(axis=1, keepdims=True) / ((weighed * found).sum(axis=1, keepdims=True) + 1e-6)
    gain = np.clip(gain, 0.2, 5.0)
    return gain, wanted - gain * found


def _unlike(templates: _Stack, images: _Stack, affine: Affine) -> Floats:
    """How unlike the brightness is, (n,): to tell whether steps led astray."""
    bright = _Brightness.of(templates, images, affine, _Grid(2))
    unlike: Floats = (np.minimum(bright.errors, WRONG) * bright.here).sum(axis=1)
    return unlike


@dataclass(frozen=True)
class _Brightness:
    """The brightness of templates, and what their images make of it; (n, points) each."""

    wanted: Floats
    expected: Floats  # the image's, with a gain and an offset; beside it, its edges go on
    errors: Floats  # squared differences, as shares of the template's variance, infinite beside the image
    here: NDArray[np.bool_]  # whether a point is in the template

    @classmethod
    def of(cls, templates: _Stack, images: _Stack, affine: Affine, grid: _Grid) -> "_Brightness":
        wanted = grid.of(templates.grey)
        here = templates.holds(grid.columns[None], grid.rows[None])
        x, y = grid.under(affine)
        found = _looked_up(images.grey[..., None], x, y)[:, 0]
        both = here & images.holds(x, y)
        spread = _variance(wanted[:, None], here)[:, None]
        weights, error = both.astype(np.float32), wanted
        for _ in range(3):
            _, error = _gain_and_error(found, wanted, weights)
            weights = both / (1 + error**2 / (ROBUST * spread)) ** 2
        level = (error * weights).sum(axis=1, keepdims=True) / (weights.sum(axis=1, keepdims=True) + 1e-6)
        return cls(wanted, wanted - error + level, np.where(both, error**2 / spread, np.float32(np.inf)), here)


def _variance(values: Floats, counts: NDArray[np.bool_]) -> Floats:
    """Summed over the channels, (n, c, points) to (n,), of the points that count."""
    weights = counts[:, None].astype(np.float32)
    total = weights.sum(axis=2) + 1e-6
    mean = (values * weights).sum(axis=2) / total
    squares = ((values - mean[..., None]) ** 2 * weights).sum(axis=2) / total
    return np.asarray(squares.sum(axis=1) + 1e-5, np.float32)


# --- How well -------------------------------------------------------------------------------------------------------


def _agreements(templates: _Stack, images: _Stack, affine: Affine) -> Floats:
    """The share of each template that its image explains, (n,), at the blur that does best."""
    grid = _Grid(1)
    wanted = grid.of(templates.rgb.transpose(0, 3, 1, 2))
    here = templates.holds(grid.columns[None], grid.rows[None])
    x, y = grid.under(affine)
    both = here & images.holds(x, y)
    spread = _variance(wanted, here)[:, None]
    mean = (wanted * here[:, None]).sum(axis=2, keepdims=True) / here.sum(axis=1)[:, None, None]
    around = (np.minimum(((wanted - mean) ** 2).sum(axis=1) / spread, WRONG) * here).sum(axis=1)
    least = np.full(len(affine), np.inf, np.float32)
    for radius in BLURS:
        found = _looked_up(images.blurred(radius).rgb, x, y)
        wrong = np.where(both, np.minimum(_colour_errors(found, wanted, both) / spread, WRONG), WRONG)
        least = np.minimum(least, (wrong * here).sum(axis=1) / around)
    least[both.mean(axis=1) < LEAST_SHARE] = 1
    return np.asarray(1 - least, np.float32)


def _colour_errors(found: Floats, wanted: Floats, both: NDArray[np.bool_]) -> Floats:
    """Squared differences, summed over the channels, after the colours are fitted: (n, points).

    Wanted is `contrast * found + brightness * grey of found + an offset of each channel`, which is what changes of
    contrast, saturation, brightness and white balance do; what is beyond white or black is cut off, as it is there.

    Args:
        found: (n, 3, points), 0 to 1.
        wanted: Likewise.
        both: Where there is something of both, (n, points).
    """
    spread = _variance(wanted, both)[:, None]
    grey = np.broadcast_to((LUMA @ found)[:, None], found.shape)
    columns = np.stack([found, grey, wanted, np.ones_like(found)], axis=2)
    some = columns[..., ::4]  # so many are enough to fit five numbers
    white, black = wanted > WHITE, wanted < BLACK

    def errors_by(weights: Floats, every: int) -> tuple[Floats, Floats]:
        colours = _fitted_colours(some, weights, found[..., ::every], grey[..., ::every])
        return colours, ((wanted[..., ::every] - np.clip(colours, 0, 1)) ** 2).sum(axis=1)

    # Ends of the range may have been more than they can say, or just that: whatever explains most.
    least, weights = np.full(len(found), np.inf, np.float32), np.zeros(some.shape[:2] + some.shape[3:], np.float32)
    for cut in (white & False, white, black, white | black):
        trial = (both[:, None] & ~cut)[..., ::4].astype(np.float32)
        errors = errors_by(trial, 4)[1]
        total = (np.minimum(errors / spread, WRONG) * both[:, ::4]).sum(axis=1)
        weights = np.where((total < least)[:, None, None], trial, weights)
        least = np.minimum(least, total)
    for _ in range(3):
        colours, errors = errors_by(weights, 1)
        counts = both / (1 + errors / (ROBUST * spread)) ** 2
        beyond = ((colours > 1) & white) | ((colours < 0) & black)
        weights = np.where(beyond, np.float32(0), counts[:, None])[..., ::4].astype(np.float32)
    return errors


def _fitted_colours(columns: Floats, weights: Floats, found: Floats, grey: Floats) -> Floats:
    """The colours that weighted least squares expect: two factors for all channels and an offset for each.

    Args:
        columns: Of some of the points: what was found, its grey, what is wanted, and 1; (n, 3, 4, some).
        weights: Of these points, (n, 3, some).
        found: Of all points, (n, 3, points).
        grey: Likewise.
    """
    moments = ((columns * weights[:, :, None]) @ columns.swapaxes(2, 3)).astype(np.float64)
    totals = moments[..., 3, 3] + 1e-6
    means = moments[..., :3, 3] / totals[..., None]
    products = moments[..., :3, :3] - totals[..., None, None] * means[..., None, :] * means[..., :, None]
    products = products.sum(axis=1)
    stiff = 1e-4 * totals.sum(axis=1) + 1e-6
    one, both, two = products[:, 0, 0] + stiff, products[:, 0, 1], products[:, 1, 1] + stiff
    determinant = one * two - both**2
    contrast = (products[:, 0, 2] * two - products[:, 1, 2] * both) / determinant
    brightness = (products[:, 1, 2] * one - products[:, 0, 2] * both) / determinant
    offsets = means[..., 2] - contrast[:, None] * means[..., 0] - brightness[:, None] * means[..., 1]
    contrast, brightness, offsets = (each.astype(np.float32) for each in (contrast, brightness, offsets))
    colours: Floats = contrast[:, None, None] * found + brightness[:, None, None] * grey + offsets[..., None]
    return colours


def _details(templates: _Stack, images: _Stack, affine: Affine) -> Floats:
    """Correlation of the finer shades where both show the same, (n,): unlike pictures have coarse shades in common."""
    grid = _Grid(1)
    bright = _Brightness.of(templates, images.blurred(BLURS[1]), affine, grid)
    same = (bright.errors < OTHERS).astype(np.float32)
    # Where something else is shown, both have the same: its edges would show in the shades around it.
    wanted = np.where(same > 0, bright.wanted, bright.expected)
    total = same.sum(axis=1, keepdims=True) + 1e-6

    def direction(shades: Floats) -> Floats:
        centred = (shades - (shades * same).sum(axis=1, keepdims=True) / total) * same
        squares = (centred**2).sum(axis=1, keepdims=True)
        pointing: Floats = centred / np.sqrt(np.maximum(squares, (FAINT / 2) ** 2 * total))
        return pointing

    one, other = (direction(_fine_shades(values)) for values in (wanted, bright.expected))
    detail: Floats = (one * other).sum(axis=1)
    return detail


def _fine_shades(grey: Floats) -> Floats:
    """(n, points) of whole pictures, 0 to 1."""
    levels = np.clip(grey * 255, 0, 255).astype(np.uint8).reshape(-1, SIDE, SIDE)
    return np.stack([fine_shades(Image.fromarray(each)).ravel() for each in levels])
