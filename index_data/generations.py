"""Index generations: the searchable form of a gallery's embeddings, built aside, verified, published in one step.

galleries/<name>/
    indexes/000007/vectors.npy      the embeddings, one row per item, float32 or float16
    indexes/000007/ids.npy          row -> item id
    indexes/000007/index.faiss      graph or codes (index_data/indexes/), where not all are compared
    indexes/000007/index.json       which kind it is, and why; its curve of recall and time
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
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from index_data.calibration import Calibration, calibrate
from index_data.config import AS_INDEXED
from index_data.gallery import Gallery, Snapshot, Vectors
from index_data.indexes.building import ALL_CORES, open_index, write_index
from index_data.indexes.choosing import Aims, choose_index
from index_data.indexes.kinds import FLAT, KINDS
from index_data.indexes.library import load_faiss
from index_data.indexes.record import IndexRecord
from index_data.indexes.searching import AllowedRows, BuiltIndex
from index_data.indexes.vectors import PRECISIONS, Precision, StoredVectors, write_vectors
from index_data.weighting import Halves
from train.errors import DamagedError, DiskError, IncompatibleError, LockedError, NothingFoundError
from train.files import atomic_folder, locked, remove_leftovers, write_file
from train.interruption import StopRequest
from train.progress import SILENT, Reporter

logger = logging.getLogger(__name__)

Ids = NDArray[np.int64]  # (n,)

# 1 had no calibration: it is sampled when such a generation is loaded. 1 and 2 had FAISS's flat index only.
FORMAT_VERSION = 3
KEPT = 2  # generations: the current one and the one before
SAMPLED_QUERIES = 64  # of the gallery's own embeddings, to verify a new generation
SAMPLED_K = 10
# Between FAISS's and NumPy's sums of up to a few thousand float32 products, and what float16 rounds.
SCORE_TOLERANCE = {"float32": 1e-5, "float16": 2e-3}
# Changes beside the index: more than either, and a new generation is worth its price.
FRESH_MAX = 50_000
FRESH_SHARE = 0.05
# Larger files are mapped, not read, and their digests are checked after the start, in the background.
READ_AT_ONCE = 64 << 20  # bytes
VECTORS_FILE, RECORD_FILE, INDEX_FILE = "vectors.npy", "index.json", "index.faiss"
FILES = (VECTORS_FILE, "ids.npy", "calibration.npz", RECORD_FILE)  # and INDEX_FILE, where not all are compared
FILES_OF_VERSION_2 = (INDEX_FILE, "ids.npy", "calibration.npz")
FILES_OF_VERSION_1 = (INDEX_FILE, "ids.npy")


@dataclass(frozen=True)
class Generation:
    """One index in memory. It is never changed, so any number of threads may search it."""

    name: str  # "" for one that was made in memory
    seq: int  # of the gallery's last change that it contains
    ids: Ids  # row -> item id, rising
    built: BuiltIndex
    record: IndexRecord
    calibration: Calibration
    checked: bool = True  # False: sizes only; the digests of large files are to be checked by `check_generation`

    @property
    def count(self) -> int:
        """Number of rows."""
        return len(self.ids)

    @property
    def kind(self) -> str:
        """Name of the kind of index."""
        return self.built.kind.name

    @property
    def index(self) -> Any:
        """An exact FAISS index of all rows."""
        return self.built.vectors.as_index

    def search(
        self,
        queries: Vectors,
        k: int,
        allowed: AllowedRows | None = None,
        *,
        accuracy: float | None = None,
        beta: float = AS_INDEXED,
    ) -> tuple[Vectors, Ids]:
        """The k nearest rows of each query, best first: scores and row numbers, -1 where there are fewer.

        Args:
            queries: (n, dims), contiguous.
            k: At least 1.
            allowed: The rows that may be found; None for all.
            accuracy: Share of the exact neighbours that is asked for, 1: compare all; None: as the index was chosen.
            beta: How the queries' halves are weighed: far from 1 more has to be looked at.
        """
        setting = self.record.setting_for(k, accuracy, beta)
        if setting is None:
            return self.built.exact(queries, k, allowed)
        return self.built.search(queries, k, setting, allowed)

    def vectors(self, rows: Ids) -> Vectors:
        """The embeddings of some rows, (n, dims)."""
        return self.built.vectors.take(rows)


@dataclass(frozen=True)
class _Contents:
    """What the files of a generation hold."""

    ids: Ids
    built: BuiltIndex
    record: IndexRecord
    calibration: Calibration | None  # None: older formats have none


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


# --- Building -------------------------------------------------------------------------------------------------------


def build_generation(
    gallery: Gallery,
    aims: Aims | None = None,
    *,
    precision: Precision | None = None,
    threads: int = ALL_CORES,
    reporter: Reporter = SILENT,
    stop: StopRequest | None = None,
) -> Generation:
    """Build a generation from the gallery's embeddings, verify it, and publish it.

    The caller holds the gallery's lock (`train.files.locked`); items may come and go meanwhile. In memory are slices of
    the embeddings, the index itself, and what it is trained on.

    Args:
        gallery: The gallery.
        aims: What the index shall reach; None: what the current one was to reach, of the same kind where that fits.
        precision: How vectors are stored; None: as those of the current one, float32 at first.
        threads: Of FAISS.
        reporter: Where progress is shown.
        stop: Looked at between steps; the current generation stays.

    Raises:
        SettingsError: Nothing fits the memory that is allowed.
        DiskError: The disk is full; the current generation stays.
        DamagedError: What was read back is not what was written, or a stored embedding is damaged.
        Interrupted: It was asked to stop.
    """
    indexes = gallery.folder / "indexes"
    name = _next_name(indexes)
    before = current_record(gallery)
    halves = _halves(gallery)
    precision = precision or (before.precision if before else PRECISIONS[0])
    with atomic_folder(indexes / name) as folder:
        seq, ids, files = _write_vectors(folder, gallery, precision)
        choice = choose_index(
            StoredVectors.open(folder / VECTORS_FILE),
            aims or (before.aims if before else Aims()),
            keep=before.kind if before and aims is None else None,
            weigh=halves.weigh_queries if halves.semantic_dims else None,
            threads=threads,
            reporter=reporter,
            stop=stop,
        )
        calibration = calibrate(choice.built.vectors.as_index, halves)
        generation = Generation(name, seq, ids, choice.built, IndexRecord.of(choice), calibration)
        files |= _write_index_files(folder, generation)
        manifest = Manifest(
            version=FORMAT_VERSION,
            generation=name,
            model_id=gallery.model_id,
            dims=gallery.dims,
            count=generation.count,
            seq=seq,
            kind=generation.kind,
            recall=_verified_recall(gallery, generation, _read_files(folder, files)),
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
            return build_generation(gallery, reporter=reporter).name
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
    """Build a generation from the gallery's embeddings without writing anything: all are compared."""
    with gallery.embeddings_in_order() as snapshot:
        ids = np.empty(snapshot.count, np.int64)
        whole = np.empty((snapshot.count, gallery.dims), np.float32)
        row = 0
        for some in _noting_ids(snapshot, ids):
            whole[row : row + len(some)] = some
            row += len(some)
    return _flat_generation(name, snapshot.seq, ids, StoredVectors(whole), _halves(gallery))


def _flat_generation(name: str, seq: int, ids: Ids, vectors: StoredVectors, halves: Halves) -> Generation:
    built = BuiltIndex(FLAT, vectors.as_index, vectors)
    return Generation(name, seq, ids, built, IndexRecord.of_flat(vectors), calibrate(vectors.as_index, halves))


def _noting_ids(snapshot: Snapshot, ids: Ids) -> Iterator[Vectors]:
    """The embeddings of a snapshot, a slice at a time; their ids are written into `ids`."""
    row = 0
    for some_ids, embeddings in snapshot.slices:
        ids[row : row + len(some_ids)] = some_ids
        row += len(some_ids)
        yield embeddings


def _halves(gallery: Gallery) -> Halves:
    """How the embeddings of the gallery's model are put together; as one part where the model is not there to tell."""
    try:
        return Halves.of(gallery.open_bundle())
    except (NothingFoundError, DamagedError, IncompatibleError):
        return Halves()


def _next_name(indexes: Path) -> str:
    # Beyond every name that is there, rubbish included: a name is never used for two contents.
    numbers = [int(entry.name) for entry in indexes.glob("*") if entry.name.isdecimal()]
    return f"{max(numbers, default=0) + 1:06}"


def _write_vectors(folder: Path, gallery: Gallery, precision: Precision) -> tuple[int, Ids, dict[str, StoredFile]]:
    """Write the embeddings of one moment: the number of the last change in them, ids of the rows, the file."""
    with gallery.embeddings_in_order() as snapshot, _digested(folder / VECTORS_FILE) as (file, stored):
        ids = np.empty(snapshot.count, np.int64)
        write_vectors(file, _noting_ids(snapshot, ids), snapshot.count, gallery.dims, precision)
    return snapshot.seq, ids, stored


def _write_index_files(folder: Path, generation: Generation) -> dict[str, StoredFile]:
    files: dict[str, StoredFile] = {}
    with _digested(folder / "ids.npy") as (file, stored):
        np.lib.format.write_array(file, generation.ids)
    files |= stored
    with _digested(folder / "calibration.npz") as (file, stored):
        file.write(generation.calibration.to_bytes())
    files |= stored
    with _digested(folder / RECORD_FILE) as (file, stored):
        file.write(generation.record.to_bytes())
    files |= stored
    if generation.built.kind is not FLAT:
        with _digested(folder / INDEX_FILE) as (file, stored):
            write_index(generation.built, file.write)
        files |= stored
    return files


@contextmanager
def _digested(path: Path) -> Iterator[tuple[Any, dict[str, StoredFile]]]:
    """Open a new file for writing; when the block ends, the dictionary has its name, size and digest.

    Raises:
        DamagedError: The file is shorter than what was written.
    """
    stored: dict[str, StoredFile] = {}
    with path.open("xb") as file:
        counted = _DigestingWriter(file)
        yield counted, stored
    if path.stat().st_size != counted.size:
        raise DamagedError(f"{path} is shorter than what was written: check the disk.")
    stored[path.name] = StoredFile(counted.size, counted.digest.hexdigest())


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


def _verified_recall(gallery: Gallery, built: Generation, read_back: _Contents) -> float:
    """Share of exact neighbours that the index read back finds, for a sample of the gallery's own embeddings.

    Raises:
        DamagedError: The stored vectors are not the gallery's, or the index finds others than before it was written.
    """
    again = read_back.built
    if not np.array_equal(read_back.ids, built.ids) or again.vectors.array.shape != (built.count, gallery.dims):
        raise DamagedError(f"the new index of {gallery.folder} does not read back as it was built: check the disk.")
    if built.count == 0:
        return 1.0
    sample = np.linspace(0, built.count - 1, min(SAMPLED_QUERIES, built.count)).astype(np.int64)
    queries = again.vectors.take(sample)
    k = min(SAMPLED_K, built.count)
    scores, rows = again.exact(queries, k)
    worst_exact = _exact_scores(gallery, built.seq, queries, k)[:, -1:] - SCORE_TOLERANCE[again.vectors.precision]
    recall = float(np.mean((rows >= 0) & (scores >= worst_exact)))
    if recall < 1.0:
        raise DamagedError(
            f"the new index of {gallery.folder} finds only {recall:.1%} of the exact neighbours: check memory and disk."
        )
    if again.kind is FLAT:
        return recall
    found, before = (each.search(queries, k, built.record.setting) for each in (again, built.built))
    if not np.array_equal(found[1], before[1]):
        raise DamagedError(f"the new index of {gallery.folder} does not read back as it was built: check the disk.")
    return float(np.mean((found[1] >= 0) & (found[0] >= worst_exact)))


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
    # What no stored generation holds need not be hidden in one.
    seqs = []
    for name in stored_names(gallery):
        with contextlib.suppress(DamagedError, IncompatibleError):
            seqs.append(read_manifest(gallery, name).seq)
    if seqs:
        with contextlib.suppress(DiskError, LockedError):  # the next build does it
            gallery.forget_removals(min(seqs))


def remove_generation(gallery: Gallery, name: str) -> None:
    """Remove a generation's files, none or all; whoever has it open keeps it."""
    folder = gallery.folder / "indexes" / name
    aside = folder.with_name(f".{name}.{os.getpid()}.tmp")  # what is left of it, the next build clears away
    with contextlib.suppress(OSError):
        folder.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


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


def is_of_this_model(gallery: Gallery, name: str) -> bool:
    """Whether a generation was built for the model that the gallery has now."""
    try:
        read_manifest(gallery, name)
    except IncompatibleError:
        return False
    except DamagedError:
        pass
    return True


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
    found = _read_files(folder, manifest.files, in_full=in_full)
    if not len(found.ids) == len(found.built.vectors) == manifest.count or found.built.vectors.dims != manifest.dims:
        raise DamagedError(f"{folder} does not have the rows that its manifest says.")
    checked = in_full or all(file.size <= READ_AT_ONCE for file in manifest.files.values())
    calibration = found.calibration or calibrate(found.built.vectors.as_index, _halves(gallery))
    return Generation(name, manifest.seq, found.ids, found.built, found.record, calibration, checked)


def current_record(gallery: Gallery, name: str | None = None) -> IndexRecord | None:
    """What is known of the current generation's index, or of another; None where there is none or it is damaged."""
    name = name or current_name(gallery)
    if name is None:
        return None
    folder = gallery.folder / "indexes" / name
    try:
        # Of another model too: what is aimed at outlives it.
        manifest = Manifest.read((folder / "manifest.json").read_bytes(), folder)
        with _whole(folder / RECORD_FILE, manifest.files[RECORD_FILE]) as file:
            return IndexRecord.from_bytes(file.read())
    except (OSError, DamagedError, IncompatibleError, KeyError):  # an older format has none
        return None


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


def _read_files(folder: Path, files: dict[str, StoredFile], *, in_full: bool = True) -> _Contents:
    def opened(name: str) -> contextlib.AbstractContextManager[BinaryIO]:
        return _whole(folder / name, files[name], in_full=in_full or files[name].size <= READ_AT_ONCE)

    if set(files) not in (set(FILES), {*FILES, INDEX_FILE}, set(FILES_OF_VERSION_2), set(FILES_OF_VERSION_1)):
        raise DamagedError(f"the manifest of {folder} does not name the files {', '.join(FILES)}.")
    with opened("ids.npy") as file:
        ids: Ids = np.load(io.BytesIO(file.read()), allow_pickle=False)
    calibration = None
    if "calibration.npz" in files:
        with opened("calibration.npz") as file:
            calibration = Calibration.from_bytes(file.read())
    if VECTORS_FILE not in files:
        with opened(INDEX_FILE) as file:
            vectors = _vectors_of_flat(file, mapped=files[INDEX_FILE].size > READ_AT_ONCE)
        built = BuiltIndex(FLAT, vectors.as_index, vectors)
        return _Contents(ids, built, IndexRecord.of_flat(vectors), calibration)
    with opened(RECORD_FILE) as file:
        record = IndexRecord.from_bytes(file.read())
    with opened(VECTORS_FILE) as file:
        # By the open file, whatever has its name meanwhile; the mapping outlives both.
        place = Path(f"/proc/self/fd/{file.fileno()}")
        vectors = StoredVectors.open(place, mapped=files[VECTORS_FILE].size > READ_AT_ONCE)
    if (record.kind != FLAT.name) != (INDEX_FILE in files):
        raise DamagedError(f"{folder} does not have the files of an index of kind {record.kind}.")
    built = BuiltIndex(FLAT, vectors.as_index, vectors)
    if record.kind != FLAT.name:
        with opened(INDEX_FILE) as file:
            mapped = files[INDEX_FILE].size > READ_AT_ONCE
            built = open_index(KINDS[record.kind], file, vectors, mapped=mapped)
    return _Contents(ids, built, record, calibration)


def _vectors_of_flat(file: BinaryIO, *, mapped: bool) -> StoredVectors:
    """The vectors of an older generation, which FAISS's flat index held."""
    faiss = load_faiss()
    try:
        if mapped:
            index = faiss.read_index(f"/proc/self/fd/{file.fileno()}", faiss.IO_FLAG_MMAP_IFC)
        else:
            index = faiss.read_index(faiss.PyCallbackIOReader(file.read))
    except RuntimeError as error:
        raise DamagedError(f"{file.name} cannot be read by FAISS ({str(error).splitlines()[0][:200]}).") from error
    numbers = faiss.rev_swig_ptr(index.get_xb(), index.ntotal * index.d).reshape(index.ntotal, index.d)
    return StoredVectors(numbers, keep_alive=index)


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
