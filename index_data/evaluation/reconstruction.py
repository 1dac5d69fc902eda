"""What a decoder makes of codes: of a picture's own, of the same stored in bytes, and of what lies between two."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from export.sessions import Decoder
from export.uses.pictures import greys, squared_errors
from index_data.evaluation.judging import Judge
from index_data.evaluation.methods import ModelMethod
from index_data.evaluation.metrics import laplacian_energy, psnr, ssim
from index_data.evaluation.originals import STOPPED, Material
from index_data.evaluation.principal_axes import PrincipalAxes, flat
from index_data.evaluation.ranking import Floats, unit
from train.images import Pixels
from train.interpolation import interpolate
from train.interruption import StopRequest
from train.labelled import Rows, batches
from train.progress import Reporter

MEASURED = 1000  # pictures that are rebuilt
LEARNT = 60_000  # pictures that principal components are found in, at most
PAIRS = 100  # of pictures that are morphed
FRAMES = 9  # of a morph, both ends among them
SLACK = 0.002  # a cosine may go back by as much and the way still counts as straight: a level of 255 does that
LEVELS = 255  # of a byte
BATCH = 64
SHOWN = 8  # pictures on the sheet


@dataclass(frozen=True)
class Rebuilt:
    """How near rebuilt pictures are to the pictures."""

    name: str
    dims: int
    mse: float  # values from 0 to 1
    psnr: float  # decibels of that
    ssim: float

    @classmethod
    def of(cls, name: str, dims: int, pixels: Pixels, painted: Pixels) -> "Rebuilt":
        """Compare pictures (n, h, w, 3)."""
        mse = float(squared_errors(pixels, painted).mean())
        similar = np.concatenate([ssim(pixels[part], painted[part]) for part in batches(np.arange(len(pixels)), BATCH)])
        return cls(name, dims, mse, psnr(mse), float(similar.mean()))

    def to_json(self) -> dict[str, Any]:
        """For --json."""
        return {
            "name": self.name,
            "dims": self.dims,
            "mse": float(f"{self.mse:.6g}"),
            "psnr": round(self.psnr, 3),
            "ssim": round(self.ssim, 5),
        }


@dataclass(frozen=True)
class Morphs:
    """What lies between random pairs."""

    pairs: int
    round_trip: float  # mean of |E(D(z)) - z| along the way
    relative: float  # the same over the mean of |z|
    apart: dict[str, float]  # the same over the mean distance between the two ends, of the "code" and of its halves
    monotone: float  # share of pairs whose frames go from one end to the other without turning back
    sharpness: float  # fine detail of the middle frame over the mean of the two end frames
    cross_fade: float  # the same of the two end frames laid over each other
    nearer: dict[
        str, float
    ]  # by judging model: share of pairs whose middle frame is nearer to a real picture than those

    @property
    def closeness(self) -> str:
        """How near a frame's code is to the one it was painted from, as a part of a sentence."""
        halves = ", ".join(f"{name} half {100 * share:.1f} %" for name, share in self.apart.items() if name != "code")
        whole = f"{100 * self.apart['code']:.1f} % of the way between both ends"
        return f"a frame's code is {whole} away from the code it was painted from" + (f" ({halves})" if halves else "")

    @property
    def verdicts(self) -> str:
        """What other models say of the middle frames, as sentences."""
        return "".join(
            f" To {name} it is nearer to a real picture than the cross-fade in {100 * share:.0f} %."
            for name, share in self.nearer.items()
        )

    def to_json(self) -> dict[str, Any]:
        """For --json."""
        return {
            "pairs": self.pairs,
            "round_trip": round(self.round_trip, 6),
            "round_trip_relative": round(self.relative, 5),
            "round_trip_of_distance": {name: round(share, 5) for name, share in self.apart.items()},
            "monotone": round(self.monotone, 5),
            "middle_detail": round(self.sharpness, 5),
            "cross_fade_detail": round(self.cross_fade, 5),
            "nearer_than_cross_fade": {name: round(share, 5) for name, share in self.nearer.items()},
        }


@dataclass(frozen=True)
class Reconstruction:
    """What one model's decoder does, beside principal components."""

    method: str
    learnt: int  # pictures that principal components were found in
    measured: int
    held_out: bool  # those that are measured are not among them
    rows: list[Rebuilt]
    morphs: Morphs | None
    sheet: tuple[tuple[str, Pixels], ...]  # for people: rows of pictures

    def to_json(self) -> dict[str, Any]:
        """For --json."""
        return {
            "method": self.method,
            "learnt_from": self.learnt,
            "measured": self.measured,
            "rows": [row.to_json() for row in self.rows],
            "morph": self.morphs.to_json() if self.morphs else None,
        }


def divide_pictures(material: Material, seed: int) -> tuple[Rows, Rows]:
    """Pictures that principal components are found in, and those that are rebuilt: the official split, else 80 : 20."""
    splits = material.images.splits
    train, test = np.flatnonzero(splits == "train"), np.flatnonzero(splits == "test")
    random = np.random.default_rng([seed, 8])
    if not (len(train) and len(test)):
        order = random.permutation(len(material))
        held = max(1, round(0.2 * len(order)))
        test, train = order[:held], order[held:]
    train = train if len(train) else test
    return np.sort(random.permutation(train)[:LEARNT]), np.sort(random.permutation(test)[:MEASURED])


def measure_reconstruction(
    model: ModelMethod,
    material: Material,
    *,
    others: Sequence[ModelMethod] = (),
    seed: int,
    reporter: Reporter,
    stop: StopRequest,
) -> Reconstruction:
    """Rebuild pictures with a decoder and with principal components.

    Args:
        model: Whose decoder it is.
        material: The pictures.
        others: Models that judge its morphs; each of their sizes is in the material.
        seed: Of what is held out and morphed.
        reporter: Told how far it is.
        stop: Looked at between two steps.

    Raises:
        NothingFoundError: The bundle has no decoder; ask before.
    """
    bundle = model.bundle
    decoder = Decoder.open(bundle, provider=model.encoder.asked)
    train, test = divide_pictures(material, seed)
    squares = material.fitted[model.size].pixels
    pixels = squares[test]
    seen = _as_seen(pixels, bundle.facts.channels)
    with reporter.task(f"rebuilding: {model.name}", 5, "steps") as task:
        latents = model.latents(pixels)
        painted = _decode(decoder, latents, model.batch)
        task.advance()
        stop.raise_if_set(STOPPED)
        learnt = model.latents(squares[train[:MEASURED]])
        coarse = _decode(decoder, stored_in_bytes(latents, learnt), model.batch)
        task.advance()
        stop.raise_if_set(STOPPED)
        axes = PrincipalAxes.fit(_as_seen(squares[train], bundle.facts.channels), bundle.latent_dims, seed)
        dims = min(axes.dims, bundle.latent_dims)
        linear = _as_pixels(axes.rebuilt(flat(seen), dims), pixels.shape)
        task.advance()
        stop.raise_if_set(STOPPED)
        rows = [
            Rebuilt.of(model.name, bundle.latent_dims, seen, painted),
            Rebuilt.of(f"{model.name}, code in bytes", bundle.latent_dims, seen, coarse),
            Rebuilt.of(f"PCA-{dims}", dims, seen, linear),
        ]
        task.advance()
        judges = [Judge(other, material.fitted[other.size].pixels[test]) for other in others]
        morphs, frames = _measure_morphs(model, decoder, latents, judges, seed, stop)
        task.advance()
    sheet = (
        ("pictures", seen[:SHOWN]),
        (model.name, painted[:SHOWN]),
        (f"PCA-{dims}", linear[:SHOWN]),
        *((("morphs", frames),) if frames is not None else ()),
    )
    held_out = not np.isin(test, train).any()
    return Reconstruction(model.name, len(train), len(test), held_out, rows, morphs, sheet)


def stored_in_bytes(latents: Floats, learnt: Floats) -> Floats:
    """Codes after a round trip through one byte a dimension, whose range is that of other codes."""
    low, high = learnt.min(axis=0), learnt.max(axis=0)
    step = np.maximum(high - low, 1e-12) / LEVELS
    stored: Floats = (np.clip(np.round((latents - low) / step), 0, LEVELS) * step + low).astype(np.float32)
    return stored


def _measure_morphs(
    model: ModelMethod, decoder: Decoder, latents: Floats, judges: Sequence[Judge], seed: int, stop: StopRequest
) -> tuple[Morphs | None, Pixels | None]:
    """Morph random pairs of codes; the frames of the first pair are for people."""
    if len(latents) < 2:
        return None, None
    random = np.random.default_rng([seed, 9])
    times = np.linspace(0, 1, FRAMES)
    parts = _parts_of_code(model.bundle.semantic_dims, latents.shape[1])
    distances: dict[str, list[float]] = {name: [] for name in parts}
    ways: dict[str, list[float]] = {name: [] for name in parts}
    lengths, monotone, sharpness, faded = [], [], [], []
    nearer: dict[str, list[bool]] = {judge.name: [] for judge in judges}
    shown: Pixels | None = None
    pairs = min(PAIRS, len(latents) * (len(latents) - 1) // 2)
    for _ in range(pairs):
        stop.raise_if_set(STOPPED)
        a, b = random.choice(len(latents), 2, replace=False)
        way = interpolate(latents[a], latents[b], times, path="slerp", semantic_dims=model.bundle.semantic_dims)
        frames = _decode(decoder, way, model.batch)
        codes = model.encoder.encode(frames)
        again = np.nan_to_num(codes.latents, nan=0.0)
        for name, part in parts.items():
            distances[name].append(float(np.linalg.norm((again - way)[:, part], axis=1).mean()))
            ways[name].append(float(np.linalg.norm((way[-1] - way[0])[part])))
        lengths.append(np.linalg.norm(way, axis=1).mean())
        embeddings = unit(codes.embeddings)
        to_first, to_last = embeddings @ embeddings[0], embeddings @ embeddings[-1]
        monotone.append(bool((np.diff(to_first) <= SLACK).all() and (np.diff(to_last) >= -SLACK).all()))
        ends = laplacian_energy(frames[[0, -1]]).mean()
        middle = (frames[0].astype(np.float32) + frames[-1]) / 2
        both = np.stack([frames[FRAMES // 2], np.round(middle).astype(np.uint8)])
        if ends > 0:
            energy = laplacian_energy(both) / ends
            sharpness.append(energy[0])
            faded.append(energy[1])
        for judge in judges:
            of_middle, of_fade = judge.nearness(both, (int(a), int(b)))
            nearer[judge.name].append(bool(of_middle > of_fade))
        if shown is None:
            shown = frames
    norm = float(np.mean(lengths))
    found = Morphs(
        pairs,
        float(np.mean(distances["code"])),
        float(np.mean(distances["code"])) / max(norm, 1e-12),
        {name: float(np.mean(found)) / max(float(np.mean(ways[name])), 1e-12) for name, found in distances.items()},
        float(np.mean(monotone)),
        float(np.mean(sharpness)) if sharpness else 0.0,
        float(np.mean(faded)) if faded else 0.0,
        {name: float(np.mean(found)) for name, found in nearer.items()},
    )
    return found, shown


def _parts_of_code(semantic_dims: int, dims: int) -> dict[str, slice]:
    """The whole code, and its halves where it has two."""
    whole = {"code": slice(0, dims)}
    if not 0 < semantic_dims < dims:
        return whole
    return whole | {"semantic": slice(0, semantic_dims), "pixel": slice(semantic_dims, dims)}


def _as_seen(pixels: Pixels, channels: int) -> Pixels:
    """Pictures as the model sees them: in shades of grey where it has one channel."""
    if channels != 1:
        return pixels
    return np.concatenate([greys(pixels[part]) for part in batches(np.arange(len(pixels)), BATCH)])


def _decode(decoder: Decoder, latents: Floats, batch: int) -> Pixels:
    return np.concatenate([decoder.decode(latents[at : at + batch]) for at in range(0, len(latents), batch)])


def _as_pixels(values: Floats, shape: tuple[int, ...]) -> Pixels:
    return np.round(values.reshape(shape) * 255).astype(np.uint8)
