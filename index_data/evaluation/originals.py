"""The pictures that are measured on: fitted for every model with their labels, and at full size for making copies.

They come from a folder, a gallery or a data set. Originals at full size are decoded in sandboxed processes, one after
the other, and never held.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from index_data.gallery import DATABASE, Gallery, Item
from train.datasets.archives import TAR_SUFFIXES
from train.datasets.catalogue import KNOWN_SETS, known_set
from train.datasets.lookup import find_dataset
from train.datasets.readers import fit_pixels
from train.decoding import DecodePool
from train.errors import ImageError, NothingFoundError
from train.images import FOLDER_LIMITS, Pixels, Preprocessing, read_file
from train.interruption import StopRequest
from train.labelled import MAX_BYTES, LabelledImages, Rows, read_labelled, stratified
from train.printable import printable
from train.progress import Reporter
from train.workspace import Workspace

STOPPED = "nothing was written: the same command begins again."
# A copy is made of the whole picture, so it is decoded whole: larger ones are passed over and counted.
COPY_LIMITS = replace(FOLDER_LIMITS, pixels=60_000_000, baseline_jpeg_pixels=60_000_000)
WORKING_SIDE = 512  # px of the shorter side: larger pictures are shrunk before anything is done to them
PHOTO_SIDE = 256  # px of the squares that stand for the photos of an archive at full size
_IN_ADVANCE = 4  # pictures at full size that wait in memory

Original = tuple[int, Image.Image | None]  # row, and the picture; None where it cannot be read


@dataclass(frozen=True)
class Material:
    """Pictures to measure on; the same ones, in one order, at every size."""

    title: str
    fitted: dict[int, LabelledImages]  # by the side of the models' square
    originals: Callable[[Rows], Iterator[Original]]  # at full size, in the order of the rows
    notes: tuple[str, ...] = ()

    @property
    def images(self) -> LabelledImages:
        """Labels, splits and names, with the largest squares."""
        return self.fitted[max(self.fitted)]

    def __len__(self) -> int:
        """How many."""
        return len(self.images)

    def views(self, rows: Rows | slice) -> dict[int, Pixels]:
        """Some of the pictures at every size."""
        return {size: images.pixels[rows] for size, images in self.fitted.items()}


def views_of(image: Image.Image, sizes: Sequence[int]) -> dict[int, Pixels]:
    """A picture (RGB) fitted as decoders fit it, at several sizes: (1, size, size, 3) each."""
    pixels = np.asarray(image)[None]
    return {size: fit_pixels(pixels, size) for size in sizes}


def gallery_folder(workspace: Workspace, source: str) -> Path | None:
    """The folder of the gallery that is meant; None where the source is no gallery."""
    for folder in (workspace.place("galleries", source), Path(source)):
        if (folder / DATABASE).is_file():
            return folder
    return None


def read_material(
    source: str,
    sizes: Sequence[int],
    *,
    gallery: Gallery | None,
    datasets: Path,
    limit: int | None,
    seed: int,
    workers: int,
    reporter: Reporter,
    stop: StopRequest,
) -> Material:
    """Read the pictures that are measured on.

    Args:
        source: A folder, or the name or file of a data set; what `gallery` was called.
        sizes: Of the models' squares.
        gallery: Open, where the source is one.
        datasets: Where the archives of data sets lie.
        limit: Pictures at most: a sample in which each label, and each split, has its share.
        seed: Of the sample.
        workers: Processes that decode.
        reporter: Told what is going on.
        stop: Looked at between two pictures.

    Raises:
        NothingFoundError: There is nothing usable.
        Interrupted: The user asked to stop.
    """
    sizes = sorted(set(sizes))
    if gallery is not None:
        return _of_gallery(gallery, sizes, limit, seed, workers, reporter, stop)
    most = min(limit or MAX_BYTES, MAX_BYTES // (sizes[-1] ** 2 * 3))
    read = {
        size: read_labelled(
            source,
            Preprocessing(size),
            datasets=datasets,
            limit=most,
            seed=seed,
            reporter=reporter,
            stop=stop,
            workers=workers,
        )
        for size in sizes
    }
    fitted = _sampled(_same_pictures(read), limit, seed)
    names = fitted[sizes[-1]].names
    if Path(source).is_dir():
        paths = [os.fsencode(name) for name in names]
        return Material(Path(source).name or source, fitted, _of_files(Path(source), paths, workers))
    if _holds_photos(source):
        return Material(source, fitted, _of_archive(source, datasets, names, workers))
    pixels = fitted[sizes[-1]].pixels

    def squares(rows: Rows) -> Iterator[Original]:
        for row in rows.tolist():
            yield row, Image.fromarray(pixels[row])

    return Material(source, fitted, squares)


def _same_pictures(read: dict[int, LabelledImages]) -> dict[int, LabelledImages]:
    """Only what could be read at every size: a file may be refused, or thinned out, at one of them alone."""
    first, *others = read.values()
    if all(images.names == first.names for images in others):
        return read
    shared = set(first.names).intersection(*(images.names for images in others))
    return {
        size: images.take(np.array([row for row, name in enumerate(images.names) if name in shared], np.int64))
        for size, images in read.items()
    }


def _sampled(fitted: dict[int, LabelledImages], limit: int | None, seed: int) -> dict[int, LabelledImages]:
    images = next(iter(fitted.values()))
    if limit is None or len(images) <= limit:
        return fitted
    # A label of one split counts as a label of its own: both splits are thinned alike.
    _, strata = np.unique(np.char.add(images.splits, images.labels.astype("<U12")), return_inverse=True)
    rows = np.sort(stratified(strata, limit, seed))
    return {size: each.take(rows) for size, each in fitted.items()}


def _holds_photos(dataset: str) -> bool:
    """Whether a data set holds picture files; the others hold arrays, which are small squares already."""
    if dataset in KNOWN_SETS:
        return any(form.kind in ("folders", "faces") for form in known_set(dataset).forms)
    return dataset.endswith(TAR_SUFFIXES)


def working_image(pixels: Pixels) -> Image.Image:
    """A decoded picture, shrunk where it is much larger than any model's square."""
    image = Image.fromarray(pixels)
    side = min(image.size)
    if side <= WORKING_SIDE:
        return image
    size = tuple(max(1, round(each * WORKING_SIDE / side)) for each in image.size)
    return image.resize((size[0], size[1]), Image.Resampling.LANCZOS, reducing_gap=3.0)


def _of_files(root: Path, paths: Sequence[bytes], workers: int) -> Callable[[Rows], Iterator[Original]]:
    def originals(rows: Rows) -> Iterator[Original]:
        with DecodePool(workers, COPY_LIMITS) as pool:

            def decode(row: int) -> Image.Image:
                return working_image(pool.pixels(read_file(root, paths[row], COPY_LIMITS).data))

            for row, outcome in pool.map(decode, rows.tolist(), in_advance=_IN_ADVANCE):
                yield row, None if isinstance(outcome, ImageError) else outcome

    return originals


def _of_archive(
    source: str, datasets: Path, names: Sequence[str], workers: int
) -> Callable[[Rows], Iterator[Original]]:
    def originals(rows: Rows) -> Iterator[Original]:
        wanted = {names[row]: row for row in rows.tolist()}
        for samples in find_dataset(source, datasets).samples(Preprocessing(PHOTO_SIDE), workers=workers):
            for name, pixels in zip(samples.names, samples.pixels, strict=True):
                row = wanted.pop(name, None)
                if row is not None:
                    yield row, Image.fromarray(pixels)
            if not wanted:
                return

    return originals


# --- A gallery ------------------------------------------------------------------------------------------------------


def distinct_items(gallery: Gallery) -> list[Item]:
    """Every item whose bytes no earlier item has, in the order of the ids."""
    items: list[Item] = []
    seen: set[str] = set()
    after = 0
    while some := gallery.items(after=after, limit=10_000):
        after = some[-1].id
        for item in some:
            if item.sha256 not in seen:
                seen.add(item.sha256)
                items.append(item)
    return items


def originals_of(gallery: Gallery, items: Sequence[Item], workers: int) -> Callable[[Rows], Iterator[Original]]:
    """A way to get pictures of a gallery at full size."""

    def originals(rows: Rows) -> Iterator[Original]:
        with DecodePool(workers, COPY_LIMITS) as pool:

            def decode(row: int) -> Image.Image:
                return working_image(pool.pixels(gallery.read_original(items[row])))

            for row, outcome in pool.map(decode, rows.tolist(), in_advance=_IN_ADVANCE):
                yield row, None if isinstance(outcome, ImageError) else outcome

    return originals


def _of_gallery(
    gallery: Gallery,
    sizes: Sequence[int],
    limit: int | None,
    seed: int,
    workers: int,
    reporter: Reporter,
    stop: StopRequest,
) -> Material:
    items = distinct_items(gallery)
    if not items:
        raise NothingFoundError(f"the gallery {gallery.name} is empty: add pictures with `lookalike index add`.")
    classes = tuple(sorted({name for item in items if (name := _first_folder(item))}))
    numbers = {name: number for number, name in enumerate(classes)} | {"": -1}
    labels = np.array([numbers[_first_folder(item)] for item in items], np.int64)
    most = min(limit or len(items), MAX_BYTES // (sizes[-1] ** 2 * 3))
    chosen = np.sort(stratified(labels, most, seed))
    kept: list[int] = []
    pixels: dict[int, list[Pixels]] = {size: [] for size in sizes}
    with ExitStack() as stack:
        pool = stack.enter_context(DecodePool(workers, FOLDER_LIMITS))
        task = stack.enter_context(reporter.task("reading pictures", len(chosen), "files"))

        def decode(row: int) -> list[Pixels]:
            data = gallery.read_original(items[row])
            return [pool.fit(data, Preprocessing(size)).pixels for size in sizes]

        for row, outcome in pool.map(decode, chosen.tolist()):
            stop.raise_if_set(STOPPED)
            task.advance()
            if not isinstance(outcome, ImageError):
                kept.append(row)
                for size, square in zip(sizes, outcome, strict=True):
                    pixels[size].append(square)
    if not kept:
        raise NothingFoundError(f"no original of the gallery {gallery.name} can be read: are its folders still there?")
    names = tuple(printable(items[row].path) for row in kept)
    fitted = {
        size: LabelledImages(
            np.stack(pixels[size]),
            labels[kept],
            classes,
            np.full(len(kept), "", "<U5"),
            names,
            available=len(items),
            rejected=len(chosen) - len(kept),
        )
        for size in sizes
    }
    return Material(gallery.name, fitted, originals_of(gallery, [items[row] for row in kept], workers))


def _first_folder(item: Item) -> str:
    folder, slash, _ = item.path.partition(b"/")
    return printable(folder) if slash else ""
