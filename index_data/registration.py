"""Laying one picture over another: is it the same one, cropped, mirrored, turned, recoloured or written on, and how?

Embeddings find what is alike; of near relatives they cannot say which one a copy was made of. So a picture is
registered with some candidates, all of them small: where it lies in each (`index_data/template_matching.py`), then
exactly where, and how much of it the candidate explains (`index_data/image_alignment.py`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from index_data.image_alignment import Aligned, align
from index_data.template_matching import Outline, Place, places

PLACES = 3  # of each candidate, which are aligned roughly
ALIGNED = 12  # candidates, those with the best places, that are aligned exactly


@dataclass(frozen=True, slots=True)
class Registration:
    """How one picture lies on another."""

    agreement: float  # share of the part that the whole explains, 0 to 1; of which of the two is the part
    detail: float  # correlation of the finer shades where both show the same, -1 to 1
    mirrored: bool
    turned: float  # degrees by which the picture is turned against the other, anticlockwise
    shown: float  # share of the other's area that the picture shows
    corners: tuple[tuple[float, float], ...]  # of the picture, clockwise from its upper left, as shares of the other

    def to_json(self) -> dict[str, Any]:
        """For answers: rounded to what is known."""
        return {
            "agreement": round(self.agreement, 3),
            "detail": round(self.detail, 3),
            "mirrored": self.mirrored,
            "turned": round(self.turned, 1) + 0.0,
            "shown": round(self.shown, 3),
            "corners": [[round(x, 3) + 0.0, round(y, 3) + 0.0] for x, y in self.corners],
        }


def register(picture: Outline, others: Sequence[Outline]) -> list[Registration | None]:
    """Register a picture with each of some others.

    Args:
        picture: Of any shape.
        others: Each of its own.

    Returns:
        For each of the others how the picture lies on it; None for all but the `ALIGNED` in which it has the best
        places, and where it has none.
    """
    if not others:
        return []
    found = places(picture, others, PLACES)
    merits = np.array([best[0].merit if best else 0.0 for best in found])
    chosen = [number for number in np.argsort(-merits, kind="stable")[:ALIGNED].tolist() if found[number]]
    pairs = [_Pair(picture, others[number], place) for number in chosen for place in found[number]]
    registrations: list[Registration | None] = [None] * len(others)
    if pairs:
        templates, images = zip(*(pair.part_and_whole for pair in pairs), strict=True)
        of = [which for which, number in enumerate(chosen) for _ in found[number]]
        aligned = align(templates, images, [pair.place.affine for pair in pairs], of)
        for row, number in enumerate(chosen):
            registrations[number] = pairs[aligned.places[row]].registration(aligned, row)
    return registrations


@dataclass(frozen=True)
class _Pair:
    picture: Outline
    candidate: Outline
    place: Place

    @property
    def part_and_whole(self) -> tuple[Outline, Outline]:
        return (self.candidate, self.picture) if self.place.inside_out else (self.picture, self.candidate)

    def registration(self, aligned: Aligned, row: int) -> Registration:
        """Say it of the picture and the candidate, whichever of them is the part."""
        affine = aligned.affine[row]
        if self.place.inside_out:
            affine = np.linalg.inv(affine)
        width, height = self.picture.size
        across, down = self.candidate.size
        ends = np.array([[0, width, width, 0], [0, 0, height, height], [1, 1, 1, 1]])
        corners = (affine @ ends)[:2] / [[across], [down]]
        determinant = float(np.linalg.det(affine[:2, :2]))
        direction = affine[:2, 0] * (-1 if determinant < 0 else 1)
        return Registration(
            agreement=min(max(float(aligned.agreement[row]), 0.0), 1.0),
            detail=float(aligned.detail[row]),
            mirrored=determinant < 0,
            turned=math.degrees(math.atan2(direction[1], direction[0])),
            shown=min(abs(determinant) * width * height / (across * down), 1.0),
            corners=tuple((float(x), float(y)) for x, y in corners.T),
        )
