"""Index generations: the searchable form of a gallery's embeddings, built aside, verified, published in one step.

galleries/<name>/
    indexes/000007/index.faiss      flat inner product, one row per item
    indexes/000007/ids.npy          row -> item id
    indexes/000007/calibration.npz  what scores mean here (index_data/calibration.py)
    indexes/000007/manifest.json    what was written: sizes, digests, model, counts
    current                         {"generation": "000007", "manifest_sha256": ...}

A generation never changes. `current` is replaced by one rename; the generation before is kept, so that damage falls
back to it, and everything can be made again from gallery.db. What changes after a generation was built is searched
beside it (index_data/segments.py), so a build is never urgent: adding and removing go on while one runs.
"""

import contextlib
import hashlib
import io
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from export.bundle import Bundle
from index_data.calibration import Calibration, calibrate
from index_data.gallery import Gallery, Snapshot, Vectors
from index_data.weighting import Halves
from train.errors import DamagedError, IncompatibleError, LockedError, NothingFoundError
from train.files import atomic_folder, locked, remove_leftovers, write_file
from train.progress import SILENT, Reporter

logger = logging.getLogger(__name__)

Ids = NDArray[np.int64]  # (n,)

FORMAT_VERSION = 2  # 1 had no calibration: it is sampled when such a generation is loaded
KEPT = 2  # generations: the current one and the one before
SAMPLED_QUERIES = 64  # of the gallery's own embeddings, to verify a new generation
SAMPLED_K = 10
SCORE_TOLERANCE = 1e-5  # between FAISS's and NumPy's sums of up to a few thousand float32 products
# Changes beside the index: more than either, and a new generation is worth its price.
FRESH_MAX = 50_000
FRESH_SHARE = 0.05
# Larger files are mapped, not read, and their digests are checked after the start, in the background.
READ_AT_ONCE = 64 << 20  # bytes
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
    checked: bool = True  # False: sizes only; the digests of large files are to be checked by `check_generation`

    @property
    def count(self) -> int:
        """Number of rows."""
        return len(self.ids)

    def search(self, queries: Vectors, k: int, selector: Any = None) -> tuple[Vectors, Ids]:
        """The k nearest rows of each query, best first: scores and row numbers, -1 where there are fewer.

        Args:
            queries: (n, dims), contiguous.
            k: At least 1.
            selector: A faiss.IDSelector of the rows that may be found; None for all.
        """
        faiss = load_faiss()
        params = None if selector is None else faiss.SearchParameters(sel=selector)
        scores, rows = self.index.search(queries, k, params=params)
        return scores, rows


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

    The caller holds the gallery's lock (`train.files.locked`); items may come and go meanwhile.

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
        write_file(folder / "manifest.json", json.dumps(asdict(manifest), indent=1).encode())
    point_at(gallery, name)
    _remove_old(gallery)
    return generation


def build_if_due(gallery: Gallery, reporter: Reporter = SILENT) -> str | None:
    """Build a generation where enough has changed since the last; return its name.

    None where nothing is due, or another process is building: then it is not urgent.
    """
    if not is_due(gallery):
        return None
    with contextlib.suppress(LockedError), locked(gallery.folder, "index build"):
        if is_due(gallery):  # another process may just have been done with it
            reporter.say(f"Building the index of {gallery.count:,} images; they can be searched already.")
            return build_generation(gallery).name
    return None


def is_due(gallery: Gallery) -> bool:
    """Whether so much has changed since the current generation that a new one is worth its price.

    After a rollback nothing is due: the next generation is the user's to build.
    """
    if is_rolled_back(gallery):
        return False
    name = current_name(gallery)
    try:
        manifest = read_manifest(gallery, name) if name else None
    except (DamagedError, IncompatibleError):
        manifest = None
    if manifest is None:
        return gallery.count > 0
    return gallery.changed_count(manifest.seq) > min(FRESH_MAX, FRESH_SHARE * manifest.count)


def roll_back(gallery: Gallery, name: str | None = None) -> str:
    """Let an older generation answer again, checked in full before; the caller holds the gallery's lock.

    Items stay as they are: what changed since it was built is searched beside it.

    Args:
        gallery: The gallery.
        name: Of the generation; None for the one before the current one.

    Returns:
        Its name.

    Raises:
        NothingFoundError: There is none.
        DamagedError: It is damaged; the current one stays.
    """
    names = stored_names(gallery)
    now = current_name(gallery)
    older = [each for each in names if now is None or int(each) < int(now)]
    if name is None and not older:
        raise NothingFoundError(
            f"{gallery.name} has no generation before {now}: build one with `lookalike index build`."
        )
    chosen = older[0] if name is None else name
    if chosen not in names:
        raise NothingFoundError(f"{gallery.name} has no generation {chosen}: there are {', '.join(names) or 'none'}.")
    load_generation(gallery, chosen)
    point_at(gallery, chosen, rolled_back=True)
    return chosen


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
    worst_exact = _exact_scores(gallery, built.seq, queries, k)[:, -1:]
    recall = float(np.mean((rows >= 0) & (scores >= worst_exact - SCORE_TOLERANCE)))
    if recall < 1.0:
        raise DamagedError(
            f"the new index of {gallery.folder} finds only {recall:.1%} of the exact neighbours: check memory and disk."
        )
    return recall


def _exact_scores(gallery: Gallery, until: int, queries: Vectors, k: int) -> Vectors:
    """The k largest inner products with what the gallery held, (queries, k), best first, by plain NumPy.

    What was removed or changed since change `until` is not there to compare with: then the k-th score is lower.
    """
    best = np.full((len(queries), k), -np.inf, np.float32)
    with gallery.embeddings_in_order(until=until) as snapshot:
        for _, embeddings in snapshot.slices:
            both = np.concatenate([best, queries @ embeddings.T], axis=1)
            best = -np.sort(-both, axis=1)[:, :k]
    return best


def point_at(gallery: Gallery, name: str, *, rolled_back: bool = False) -> None:
    """Make a generation the current one, in one step."""
    manifest = (gallery.folder / "indexes" / name / "manifest.json").read_bytes()
    pointer: dict[str, Any] = {"generation": name, "manifest_sha256": hashlib.sha256(manifest).hexdigest()}
    if rolled_back:
        pointer["rolled_back"] = True
    place = pointer_path(gallery)
    if place.is_dir():
        shutil.rmtree(place)  # nobody's: a rename cannot replace a folder
    write_file(place, json.dumps(pointer).encode())


def _remove_old(gallery: Gallery) -> None:
    """Keep the newest generations; those that are open elsewhere live on: a mapped file outlives its name."""
    for name in stored_names(gallery)[KEPT:]:
        remove_generation(gallery, name)
    remove_leftovers(gallery.folder)


def remove_generation(gallery: Gallery, name: str) -> None:
    """Remove a generation's files; whoever has it open keeps it."""
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
    name = _pointer(gallery).get("generation")
    return name if isinstance(name, str) and name.isdecimal() else None


def is_rolled_back(gallery: Gallery) -> bool:
    """Whether the current generation was made so by a rollback."""
    return bool(_pointer(gallery).get("rolled_back"))


def describe_generations(gallery: Gallery) -> list[dict[str, Any]]:
    """What stands in indexes/, the newest first, for people and programs; files are not read."""
    now, rolled_back = current_name(gallery), is_rolled_back(gallery)
    described: list[dict[str, Any]] = []
    for name in stored_names(gallery):
        about = {"name": name, "current": name == now, "rolled_back": rolled_back and name == now}
        try:
            manifest = read_manifest(gallery, name)
        except (DamagedError, IncompatibleError) as error:
            described.append(about | {"problem": error.detail})
            continue
        facts = {"kind": manifest.kind, "count": manifest.count, "recall": manifest.recall, "seq": manifest.seq}
        size = sum(file.size for file in manifest.files.values())
        described.append(about | facts | {"bytes": size, "changed_since": gallery.changed_count(manifest.seq)})
    return described


def _pointer(gallery: Gallery) -> dict[str, Any]:
    try:
        pointer = json.loads(pointer_path(gallery).read_bytes())
    except (OSError, ValueError):
        return {}
    return pointer if isinstance(pointer, dict) else {}


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
    pointer = _pointer(gallery)  # read once: it may be replaced meanwhile
    if name == pointer.get("generation") and hashlib.sha256(data).hexdigest() != pointer.get("manifest_sha256"):
        raise DamagedError(f"{place} is not what was written.")
    manifest = Manifest.read(data, place)
    if manifest.model_id != gallery.model_id or manifest.dims != gallery.dims:
        raise IncompatibleError(
            f"{place.parent} was built for the model {manifest.model_id}, but the gallery is of {gallery.model_id}."
        )
    return manifest


def load_generation(gallery: Gallery, name: str, *, in_full: bool = True) -> Generation:
    """Load a generation: manifest, sizes and digests are checked before FAISS sees a byte.

    A quarter of randomly damaged FAISS files load without any error, so nothing but the digest is proof.

    Args:
        gallery: The gallery.
        name: Of the generation.
        in_full: Check the digests of large files too; else only their sizes, and `check_generation` is to follow.

    Raises:
        DamagedError: A file is missing or not what was written.
        IncompatibleError: It is of another model or a newer format.
    """
    manifest = read_manifest(gallery, name)
    folder = gallery.folder / "indexes" / name
    ids, index, calibration = _read_files(folder, manifest.files, in_full=in_full)
    if not len(ids) == index.ntotal == manifest.count or index.d != manifest.dims:
        raise DamagedError(f"{folder} does not have the rows that its manifest says.")
    checked = in_full or all(file.size <= READ_AT_ONCE for file in manifest.files.values())
    return Generation(name, manifest.seq, ids, index, calibration or calibrate(index, _halves(gallery)), checked)


def check_generation(gallery: Gallery, name: str) -> None:
    """Check the digests of all files of a generation.

    Raises:
        DamagedError: A file is missing or not what was written.
        IncompatibleError: It is of another model or a newer format.
    """
    for file, stored in read_manifest(gallery, name).files.items():
        with _whole(gallery.folder / "indexes" / name / file, stored):
            pass


def current(
    gallery: Gallery, *, in_full: bool = True, damaged: Mapping[str, str] = MappingProxyType({})
) -> tuple[Generation, str | None]:
    """The best generation there is, and in one sentence what is wrong where it is not the current one.

    The current one; if it is damaged, the newest one that is whole; if there is none, one made in memory.

    Args:
        gallery: The gallery.
        in_full: See `load_generation`.
        damaged: Generations that are known to be, with what is wrong.
    """
    wrong: list[str] = []
    name = current_name(gallery)
    if name is None and pointer_path(gallery).exists():
        wrong.append(f"{pointer_path(gallery)} is damaged.")
    for candidate in [*([name] if name else []), *(other for other in stored_names(gallery) if other != name)]:
        try:
            if candidate in damaged:
                raise DamagedError(damaged[candidate])
            generation = load_generation(gallery, candidate, in_full=in_full)
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


def _read_files(
    folder: Path, files: dict[str, StoredFile], *, in_full: bool = True
) -> tuple[Ids, Any, Calibration | None]:
    if set(files) not in (set(FILES), set(FILES_OF_VERSION_1)):
        raise DamagedError(f"the manifest of {folder} does not name the files {', '.join(FILES)}.")
    with _whole(folder / "ids.npy", files["ids.npy"]) as file:
        ids: Ids = np.load(io.BytesIO(file.read()), allow_pickle=False)
    stored = files["index.faiss"]
    with _whole(folder / "index.faiss", stored, in_full=in_full or stored.size <= READ_AT_ONCE) as file:
        index = _read_index(file, stored.size)
    if "calibration.npz" not in files:
        return ids, index, None
    with _whole(folder / "calibration.npz", files["calibration.npz"]) as file:
        return ids, index, Calibration.from_bytes(file.read())


def _read_index(file: BinaryIO, size: int) -> Any:
    """The index in a file: read where it is small, else mapped, so that only what is searched comes into memory."""
    faiss = load_faiss()
    try:
        if size <= READ_AT_ONCE:
            return faiss.read_index(faiss.PyCallbackIOReader(file.read))
        # By the open file, whatever has its name meanwhile; the mapping outlives both.
        return faiss.read_index(f"/proc/self/fd/{file.fileno()}", faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        raise DamagedError(f"{file.name} cannot be read by FAISS ({str(error).splitlines()[0][:200]}).") from error


@contextmanager
def _whole(path: Path, expected: StoredFile, *, in_full: bool = True) -> Iterator[BinaryIO]:
    """Open a file that has the size and, with `in_full`, the digest that were written.

    Raises:
        DamagedError: It is missing or has other bytes.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size != expected.size:
                raise DamagedError(f"{path} has {size:,} bytes, but {expected.size:,} were written.")
            if in_full and hashlib.file_digest(file, "sha256").hexdigest() != expected.sha256:
                raise DamagedError(f"{path} is not what was written: its digest differs.")
            file.seek(0)
            yield file
    except OSError as error:
        raise DamagedError(f"{path} cannot be read: {error.strerror}.") from error
