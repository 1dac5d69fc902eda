"""Index generations: the searchable form of a gallery's embeddings, built aside, verified, published in one step.

galleries/<name>/
    indexes/000007/index.faiss      flat inner product, one row per item
    indexes/000007/ids.npy          row -> item id
    indexes/000007/calibration.npz  what scores mean here (index_data/calibration.py)
    indexes/000007/manifest.json    what was written: sizes, digests, model, counts
    current                         {"generation": "000007", "manifest_sha256": ...}

A generation never changes. `current` is replaced by one rename; the generation before is kept, so that damage falls
back to it, and everything can be made again from gallery.db.
"""

import hashlib
import io
import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from export.bundle import Bundle
from index_data.calibration import Calibration, calibrate
from index_data.gallery import Gallery, Snapshot, Vectors
from index_data.weighting import Halves
from train.errors import DamagedError, IncompatibleError, NothingFoundError
from train.files import atomic_folder, remove_leftovers, write_file

logger = logging.getLogger(__name__)

Ids = NDArray[np.int64]  # (n,)

FORMAT_VERSION = 2  # 1 had no calibration: it is sampled when such a generation is loaded
KEPT = 2  # generations: the current one and the one before
SAMPLED_QUERIES = 64  # of the gallery's own embeddings, to verify a new generation
SAMPLED_K = 10
SCORE_TOLERANCE = 1e-5  # between FAISS's and NumPy's sums of up to a few thousand float32 products
FILES = ("index.faiss", "ids.npy", "calibration.npz")
FILES_OF_VERSION_1 = ("index.faiss", "ids.npy")


@dataclass(frozen=True)
class Generation:
    """One index in memory. It is never changed, so any number of threads may search it."""

    name: str  # "" for one that was made in memory
    seq: int  # of the gallery's last change that it contains
    ids: Ids  # row -> item id, rising
    index: Any  # faiss.IndexFlatIP
    calibration: Calibration

    @property
    def count(self) -> int:
        """Number of rows."""
        return len(self.ids)


@dataclass(frozen=True)
class StoredFile:
    """Size and digest of a file as it was written."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a generation's folder must contain."""

    version: int
    generation: str
    model_id: str
    dims: int
    count: int
    seq: int
    kind: str
    recall: float  # share of exact neighbours found, for a sample of the gallery's own embeddings
    files: dict[str, StoredFile]

    @classmethod
    def read(cls, data: bytes, place: Path) -> "Manifest":
        """Read manifest.json.

        Raises:
            DamagedError: It is not one.
            IncompatibleError: A newer version wrote it.
        """
        try:
            stored = json.loads(data)
            if stored["version"] > FORMAT_VERSION:
                raise IncompatibleError(
                    f"{place} has format {stored['version']}, and this version of Lookalike reads up to "
                    f"{FORMAT_VERSION}: use the version that made it, or a newer one."
                )
            files = {name: StoredFile(**file) for name, file in stored.pop("files").items()}
            return cls(files=files, **stored)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedError(f"{place} is damaged ({error}).") from error


def load_faiss() -> ModuleType:
    """Import FAISS with one thread a call: requests run side by side, and more threads than cores slow all of them.

    `faiss.omp_set_num_threads` reaches the calling thread only, so the environment has to say it before the import.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import faiss

    module: ModuleType = faiss
    return module


# --- Building -------------------------------------------------------------------------------------------------------


def build_generation(gallery: Gallery) -> Generation:
    """Build a generation from the gallery's embeddings, verify it, and publish it.

    The caller holds the gallery's lock (`train.files.locked`).

    Raises:
        DiskError: The disk is full; the current generation stays.
        DamagedError: What was read back is not what was written, or a stored embedding is damaged.
    """
    indexes = gallery.folder / "indexes"
    name = _next_name(indexes)
    generation = build_in_memory(gallery, name)
    with atomic_folder(indexes / name) as folder:
        files = _write_files(folder, generation)
        recall = _verified_recall(gallery, generation, _read_files(folder, files)[:2])
        manifest = Manifest(
            version=FORMAT_VERSION,
            generation=name,
            model_id=gallery.model_id,
            dims=gallery.dims,
            count=generation.count,
            seq=generation.seq,
            kind="flat",
            recall=recall,
            files=files,
        )
        content = json.dumps(asdict(manifest), indent=1).encode()
        write_file(folder / "manifest.json", content)
    _point_at(gallery, name, content)
    _remove_old(gallery)
    return generation


def build_in_memory(gallery: Gallery, name: str = "") -> Generation:
    """Build a generation from the gallery's embeddings without writing anything."""
    with gallery.embeddings_in_order() as snapshot:
        ids, index = _index_of(snapshot, gallery.dims)
    return Generation(name, snapshot.seq, ids, index, calibrate(index, _halves(gallery)))


def _halves(gallery: Gallery) -> Halves:
    """How the embeddings of the gallery's model are put together; as one part where the model is not there to tell."""
    try:
        bundle = Bundle.open(gallery.bundle_folder)
    except (NothingFoundError, DamagedError, IncompatibleError):
        return Halves()
    return Halves.of(bundle) if bundle.model_id == gallery.model_id else Halves()


def _index_of(snapshot: Snapshot, dims: int) -> tuple[Ids, Any]:
    # Inner products of unit vectors are cosines, and a flat index compares them all: exact.
    index = load_faiss().IndexFlatIP(dims)
    ids = np.empty(snapshot.count, np.int64)
    row = 0
    for some_ids, embeddings in snapshot.slices:
        index.add(np.ascontiguousarray(embeddings, np.float32))
        ids[row : row + len(some_ids)] = some_ids
        row += len(some_ids)
    return ids, index


def _next_name(indexes: Path) -> str:
    # Beyond every name that is there, rubbish included: a name is never used for two contents.
    numbers = [int(entry.name) for entry in indexes.glob("*") if entry.name.isdecimal()]
    return f"{max(numbers, default=0) + 1:06}"


def _write_files(folder: Path, generation: Generation) -> dict[str, StoredFile]:
    files = {}
    for name in FILES:
        with (folder / name).open("xb") as file:
            counted = _DigestingWriter(file)
            if name == "ids.npy":
                np.lib.format.write_array(counted, generation.ids)
            elif name == "calibration.npz":
                counted.write(generation.calibration.to_bytes())
            else:
                # Not write_index(path): on a full disk that leaves a short file and says nothing. Python's file raises.
                faiss = load_faiss()
                writer = faiss.PyCallbackIOWriter(counted.write)
                faiss.write_index(generation.index, writer)
                del writer
        files[name] = StoredFile(counted.size, counted.digest.hexdigest())
        if (folder / name).stat().st_size != counted.size:
            raise DamagedError(f"{folder / name} is shorter than what was written: check the disk.")
    return files


class _DigestingWriter(io.RawIOBase):
    """Writes through to a file, and counts and digests what it writes."""

    def __init__(self, file: BinaryIO) -> None:
        self.size = 0
        self.digest = hashlib.sha256()
        self._file = file

    def write(self, data: Any) -> int:
        """Write bytes; a full disk raises OSError."""
        self._file.write(data)
        self.digest.update(data)
        self.size += len(data)
        return len(data)


def _verified_recall(gallery: Gallery, built: Generation, read_back: tuple[Ids, Any]) -> float:
    """Share of exact neighbours that the index read back finds, for a sample of the gallery's own embeddings."""
    ids, index = read_back
    if not np.array_equal(ids, built.ids) or index.ntotal != built.count or index.d != gallery.dims:
        raise DamagedError(f"the new index of {gallery.folder} does not read back as it was built: check the disk.")
    if built.count == 0:
        return 1.0
    sample = np.linspace(0, built.count - 1, min(SAMPLED_QUERIES, built.count)).astype(np.int64)
    queries = index.reconstruct_batch(sample)
    k = min(SAMPLED_K, built.count)
    scores, rows = index.search(queries, k)
    worst_exact = _exact_scores(gallery, queries, k)[:, -1:]
    recall = float(np.mean((rows >= 0) & (scores >= worst_exact - SCORE_TOLERANCE)))
    if recall < 1.0:
        raise DamagedError(
            f"the new index of {gallery.folder} finds only {recall:.1%} of the exact neighbours: check memory and disk."
        )
    return recall


def _exact_scores(gallery: Gallery, queries: Vectors, k: int) -> Vectors:
    """The k largest inner products with all embeddings of the gallery, (queries, k), best first, by plain NumPy."""
    best = np.full((len(queries), k), -np.inf, np.float32)
    with gallery.embeddings_in_order() as snapshot:
        for _, embeddings in snapshot.slices:
            both = np.concatenate([best, queries @ embeddings.T], axis=1)
            best = -np.sort(-both, axis=1)[:, :k]
    return best


def _point_at(gallery: Gallery, name: str, manifest: bytes) -> None:
    pointer = {"generation": name, "manifest_sha256": hashlib.sha256(manifest).hexdigest()}
    place = pointer_path(gallery)
    if place.is_dir():
        shutil.rmtree(place)  # nobody's: a rename cannot replace a folder
    write_file(place, json.dumps(pointer).encode())


def _remove_old(gallery: Gallery) -> None:
    """Keep the newest generations; those that are open elsewhere live on in memory."""
    for name in stored_names(gallery)[KEPT:]:
        remove_generation(gallery, name)
    remove_leftovers(gallery.folder)


def remove_generation(gallery: Gallery, name: str) -> None:
    """Remove a generation's files; whoever has it open has it in memory."""
    shutil.rmtree(gallery.folder / "indexes" / name, ignore_errors=True)


# --- Loading --------------------------------------------------------------------------------------------------------


def pointer_path(gallery: Gallery) -> Path:
    """The file that names the current generation."""
    return gallery.folder / "current"


def stored_names(gallery: Gallery) -> list[str]:
    """Names of the generations on disk, the newest first."""
    indexes = gallery.folder / "indexes"
    return sorted((entry.name for entry in indexes.glob("*") if entry.name.isdecimal()), key=int, reverse=True)


def current_name(gallery: Gallery) -> str | None:
    """The name of the current generation; None before the first, or where `current` is damaged."""
    try:
        name = json.loads(pointer_path(gallery).read_bytes())["generation"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return name if isinstance(name, str) and name.isdecimal() else None


def published_seq(gallery: Gallery) -> int:
    """The gallery's last change that the current generation contains; 0 where there is none."""
    name = current_name(gallery)
    try:
        return read_manifest(gallery, name).seq if name else 0
    except (DamagedError, IncompatibleError):
        return 0


def read_manifest(gallery: Gallery, name: str) -> Manifest:
    """The manifest of a generation, checked against the model and the pointer.

    Raises:
        DamagedError: It is missing, or not what was written.
        IncompatibleError: It is of another model or a newer format.
    """
    place = gallery.folder / "indexes" / name / "manifest.json"
    try:
        data = place.read_bytes()
    except OSError as error:
        raise DamagedError(f"{place} cannot be read: {error.strerror}.") from error
    if name == current_name(gallery):
        expected = json.loads(pointer_path(gallery).read_bytes()).get("manifest_sha256")
        if hashlib.sha256(data).hexdigest() != expected:
            raise DamagedError(f"{place} is not what was written.")
    manifest = Manifest.read(data, place)
    if manifest.model_id != gallery.model_id or manifest.dims != gallery.dims:
        raise IncompatibleError(
            f"{place.parent} was built for the model {manifest.model_id}, but the gallery is of {gallery.model_id}."
        )
    return manifest


def load_generation(gallery: Gallery, name: str) -> Generation:
    """Load a generation: manifest, sizes and digests are checked before FAISS sees a byte.

    A quarter of randomly damaged FAISS files load without any error, so nothing but the digest is proof.

    Raises:
        DamagedError: A file is missing or not what was written.
        IncompatibleError: It is of another model or a newer format.
    """
    manifest = read_manifest(gallery, name)
    ids, index, calibration = _read_files(gallery.folder / "indexes" / name, manifest.files)
    if not len(ids) == index.ntotal == manifest.count or index.d != manifest.dims:
        raise DamagedError(f"{gallery.folder / 'indexes' / name} does not have the rows that its manifest says.")
    return Generation(name, manifest.seq, ids, index, calibration or calibrate(index, _halves(gallery)))


def current(gallery: Gallery) -> tuple[Generation, str | None]:
    """The best generation there is, and in one sentence what is wrong where it is not the current one.

    The current one; if it is damaged, the newest one that is whole; if there is none, one made in memory.
    """
    wrong: list[str] = []
    name = current_name(gallery)
    if name is None and pointer_path(gallery).exists():
        wrong.append(f"{pointer_path(gallery)} is damaged.")
    for candidate in [*([name] if name else []), *(other for other in stored_names(gallery) if other != name)]:
        try:
            generation = load_generation(gallery, candidate)
        except (DamagedError, IncompatibleError) as error:
            logger.warning("%s", error.detail)
            wrong.append(error.detail)
            continue
        return generation, _degraded(gallery, wrong, f"generation {candidate} answers instead")
    generation = build_in_memory(gallery)
    return generation, _degraded(gallery, wrong, "an index made in memory answers instead")


def _degraded(gallery: Gallery, wrong: list[str], instead: str) -> str | None:
    if not wrong:
        return None
    return f"{' '.join(wrong)} {instead.capitalize()}: run `lookalike index verify --repair {gallery.name}`."


def _read_files(folder: Path, files: dict[str, StoredFile]) -> tuple[Ids, Any, Calibration | None]:
    if set(files) not in (set(FILES), set(FILES_OF_VERSION_1)):
        raise DamagedError(f"the manifest of {folder} does not name the files {', '.join(FILES)}.")
    with _whole(folder / "ids.npy", files["ids.npy"]) as file:
        ids: Ids = np.load(io.BytesIO(file.read()), allow_pickle=False)
    with _whole(folder / "index.faiss", files["index.faiss"]) as file:
        faiss = load_faiss()
        reader = faiss.PyCallbackIOReader(file.read)
        index = faiss.read_index(reader)
    if "calibration.npz" not in files:
        return ids, index, None
    with _whole(folder / "calibration.npz", files["calibration.npz"]) as file:
        return ids, index, Calibration.from_bytes(file.read())


@contextmanager
def _whole(path: Path, expected: StoredFile) -> Iterator[BinaryIO]:
    """Open a file that has the size and digest that were written.

    Raises:
        DamagedError: It is missing or has other bytes.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size != expected.size:
                raise DamagedError(f"{path} has {size:,} bytes, but {expected.size:,} were written.")
            if hashlib.file_digest(file, "sha256").hexdigest() != expected.sha256:
                raise DamagedError(f"{path} is not what was written: its digest differs.")
            file.seek(0)
            yield file
    except OSError as error:
        raise DamagedError(f"{path} cannot be read: {error.strerror}.") from error
