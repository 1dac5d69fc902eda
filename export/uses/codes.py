"""Pictures stored as codes, and back: an archive that is as small as the code is short.

codes.npz       codes    (n, latent_dims) float32, float16 or uint8
                names    (n,) text: path below the folder
                facts    JSON: format, model id, image size, dims, dtype
                minimum, maximum    (latent_dims,) float32, of uint8: code = minimum + n / 255 * (maximum - minimum)
codes.parquet   columns name and code; facts, minimum and maximum in the metadata, under `lookalike`

Both are written as a stream: neither the pictures nor the codes need to fit into memory. What is read may come from
somebody else: sizes are compared before memory is taken, nothing is unpickled, no name leads out of a folder.
"""

import contextlib
import importlib
import json
import os
import struct
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from export.bundle import Bundle, Floats
from export.uses.pictures import (
    Model,
    Picture,
    Seen,
    Tally,
    encode_picture,
    expect_free,
    expect_place,
    format_of,
    names_below,
    see,
    write_picture,
)
from train.decoding import DecodePool
from train.errors import DamagedError, IncompatibleError, NothingFoundError, SettingsError
from train.files import atomic_file
from train.images import Pixels
from train.interruption import StopRequest
from train.printable import printable
from train.progress import SILENT, Reporter

FORMAT_VERSION = 1
CODE_FORMATS = (".npz", ".parquet")
MEASURED_BYTES = 256 << 20  # of pictures that wait in memory until the loss of uint8 codes can be measured
LEVELS = 255  # of uint8
MAX_FACTS_BYTES = 64 << 20  # minimum and maximum of a million dimensions as JSON
LONGEST_NAME = 4096  # characters, as Linux has it for paths
LONGEST_PART = 240  # bytes between two slashes; disks allow 255, and an extension may be added
MAX_NAMES_BYTES = 1 << 30

Kind = Literal["float32", "float16", "uint8"]
DTYPES: dict[str, type[np.generic]] = {"float32": np.float32, "float16": np.float16, "uint8": np.uint8}


@dataclass
class Stored:
    """What was written, what it saves, and what it costs."""

    file: Path
    dtype: Kind
    dims: int
    size: int  # side of the model's square, pixels
    tally: Tally = field(default_factory=Tally)
    source_bytes: int = 0  # of the picture files
    file_bytes: int = 0  # of what was written
    squared_error: float = 0.0  # sum over `measured` pictures
    measured: int = 0

    @property
    def count(self) -> int:
        """Pictures in it."""
        return self.tally.good

    @property
    def code_bytes(self) -> int:
        """Of the codes alone."""
        return self.count * self.dims * np.dtype(DTYPES[self.dtype]).itemsize

    @property
    def pixel_bytes(self) -> int:
        """Of the pictures at the model's size, three bytes a pixel."""
        return self.count * self.size**2 * 3

    @property
    def mse(self) -> float:
        """Between the pictures at the model's size and what the decoder paints from the codes as they are stored."""
        return self.squared_error / max(self.measured, 1)


@dataclass(frozen=True)
class Quantisation:
    """How a dimension of a code becomes a number from 0 to 255: evenly between its smallest and largest value."""

    minimum: Floats  # (dims,)
    maximum: Floats  # (dims,)

    @property
    def _span(self) -> NDArray[np.float64]:
        return self.maximum.astype(np.float64) - self.minimum

    def quantise(self, latents: Floats) -> NDArray[np.uint8]:
        """(n, dims) -> (n, dims)."""
        span = np.where(self._span > 0, self._span, 1)  # a dimension that is always the same is 0
        numbers = (latents.astype(np.float64) - self.minimum) / span * LEVELS
        return np.clip(np.rint(numbers), 0, LEVELS).astype(np.uint8)

    def restore(self, numbers: NDArray[np.generic]) -> Floats:
        """(n, dims) -> (n, dims), each at most half a step from what it was."""
        return (self.minimum + numbers.astype(np.float64) / LEVELS * self._span).astype(np.float32)


def store_codes(
    model: Model,
    pool: DecodePool,
    pictures: Sequence[Picture],
    output: Path,
    *,
    dtype: Kind = "float32",
    force: bool = False,
    reporter: Reporter = SILENT,
    stop: StopRequest | None = None,
) -> Stored:
    """Encode pictures and store their codes and names.

    Args:
        model: Encoder and decoder (for the loss).
        pool: Decodes.
        pictures: What is read.
        output: .npz, or .parquet where pyarrow is installed.
        dtype: Of what is stored: float16 halves it, uint8 quarters it.
        force: Write over what stands there.
        reporter: Shows the progress.
        stop: Looked at between two batches; then nothing is written.

    Raises:
        SettingsError: Another extension, pyarrow is missing, something stands there, or float16 cannot hold the codes.
        DiskError: It cannot be written.
        Interrupted: The user asked to stop.
    """
    kind = format_of(output, CODE_FORMATS)
    if kind == ".parquet":
        expect_pyarrow()
    expect_free([output], force=force, originals=pictures)
    expect_place(output)
    result = Stored(output, dtype, model.bundle.latent_dims, model.size)
    names: list[str] = []
    with tempfile.TemporaryFile(dir=output.parent) as spool:
        quantisation = _spool(model, pool, pictures, result, names, spool, reporter, stop)
        if not names:
            return result
        facts = _facts(model.bundle, dtype, len(names))
        codes = _spooled(spool, result, quantisation)
        write = _write_parquet if kind == ".parquet" else _write_npz
        write(output, facts, names, codes, quantisation)
    result.file_bytes = output.stat().st_size
    return result


def _spool(
    model: Model,
    pool: DecodePool,
    pictures: Sequence[Picture],
    result: Stored,
    names: list[str],
    spool: IO[bytes],
    reporter: Reporter,
    stop: StopRequest | None,
) -> Quantisation | None:
    """Write the codes aside: how many there are, and from where to where they go, is known only at the end."""
    sample = _Sample(max(model.batch, MEASURED_BYTES // (model.size**2 * 3 + 4 * result.dims)))
    lowest = np.full(result.dims, np.inf, np.float32)
    highest = -lowest
    for seen in see(model, pool, pictures, result.tally, name="Encoding", reporter=reporter, stop=stop):
        names += [picture.name for picture in seen.pictures]
        result.source_bytes += sum(_bytes_of(picture) for picture in seen.pictures)
        if result.dtype == "uint8":
            lowest, highest = np.minimum(lowest, seen.latents.min(0)), np.maximum(highest, seen.latents.max(0))
            sample.offer(seen)
            spool.write(seen.latents.tobytes())
            continue
        with np.errstate(over="ignore"):
            stored = seen.latents.astype(DTYPES[result.dtype])
        as_read = stored.astype(np.float32)
        if not np.isfinite(as_read).all():
            raise SettingsError(
                "the codes of this model are larger than float16 can hold (65,504): use --dtype float32."
            )
        _measure(model, result, seen.pixels, as_read)
        spool.write(stored.tobytes())
    if result.dtype != "uint8" or not names:
        return None
    quantisation = Quantisation(lowest, highest)
    for pixels, latents in sample.batches(model.batch):
        _measure(model, result, pixels, quantisation.restore(quantisation.quantise(latents)))
    return quantisation


def _measure(model: Model, result: Stored, pixels: Pixels, latents: Floats) -> None:
    result.squared_error += float(model.errors(pixels, model.decode(latents)).sum())
    result.measured += len(latents)


def _bytes_of(picture: Picture) -> int:
    with contextlib.suppress(OSError):
        return picture.place.stat().st_size
    return 0


class _Sample:
    """Pictures chosen evenly by chance out of a stream, as many as there is room for: all, where they fit.

    Source: Vitter 1985, algorithm R.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._seen = 0
        self._kept: list[tuple[Pixels, Floats]] = []
        self._random = np.random.default_rng(0)

    def offer(self, seen: Seen) -> None:
        for pixels, latent in zip(seen.pixels, seen.latents, strict=True):
            self._seen += 1
            if len(self._kept) < self._room:
                self._kept.append((pixels.copy(), latent.copy()))
            elif (place := int(self._random.integers(self._seen))) < self._room:
                self._kept[place] = (pixels.copy(), latent.copy())

    def batches(self, size: int) -> Iterator[tuple[Pixels, Floats]]:
        for start in range(0, len(self._kept), size):
            part = self._kept[start : start + size]
            yield np.stack([pixels for pixels, _ in part]), np.stack([latent for _, latent in part])


def _facts(bundle: Bundle, dtype: Kind, count: int) -> dict[str, Any]:
    return {
        "format": FORMAT_VERSION,
        "model_id": bundle.model_id,
        "model": printable(os.fsencode(bundle.folder.name)),
        "image_size": bundle.preprocessing.size,
        "dims": bundle.latent_dims,
        "dtype": dtype,
        "count": count,
    }


def _spooled(spool: IO[bytes], result: Stored, quantisation: Quantisation | None) -> Iterator[NDArray[np.generic]]:
    """The codes as they are stored, some rows at a time."""
    spool.seek(0)
    written = np.dtype(np.float32 if quantisation else DTYPES[result.dtype])
    row = result.dims * written.itemsize
    while content := spool.read(max(1, (8 << 20) // row) * row):
        codes: NDArray[Any] = np.frombuffer(content, written).reshape(-1, result.dims)
        yield quantisation.quantise(codes) if quantisation else codes


# --- npz ----------------------------------------------------------------------------------------------------------

_ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the same codes are the same bytes


def _write_npz(
    output: Path,
    facts: dict[str, Any],
    names: Sequence[str],
    codes: Iterator[NDArray[np.generic]],
    quantisation: Quantisation | None,
) -> None:
    arrays: dict[str, NDArray[Any]] = {"facts": np.array(json.dumps(facts)), "names": np.array(names)}
    if quantisation:
        arrays |= {"minimum": quantisation.minimum, "maximum": quantisation.maximum}
    with atomic_file(output) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
        for name, array in arrays.items():
            with _member(archive, name, zipfile.ZIP_DEFLATED) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
        # Stored as they are: codes hardly shrink, and numpy can map them.
        with _member(archive, "codes", zipfile.ZIP_STORED) as member:
            header = {"descr": np.dtype(DTYPES[facts["dtype"]]).str, "fortran_order": False}
            np.lib.format.write_array_header_1_0(member, header | {"shape": (len(names), facts["dims"])})
            for rows in codes:
                member.write(rows.tobytes())


def _member(archive: zipfile.ZipFile, name: str, compression: int) -> IO[bytes]:
    info = zipfile.ZipInfo(f"{name}.npy", _ZIP_DATE)
    info.compress_type = compression
    return archive.open(info, "w", force_zip64=True)


# --- parquet ------------------------------------------------------------------------------------------------------


def expect_pyarrow() -> Any:
    """Import pyarrow, which only Parquet needs.

    Raises:
        SettingsError: It is not installed.
    """
    try:
        importlib.import_module("pyarrow.parquet")
        return importlib.import_module("pyarrow")
    except ImportError as error:
        raise SettingsError(
            f"Parquet files need the package pyarrow ({error}): pip install 'lookalike[parquet]', or use .npz."
        ) from error


def _write_parquet(
    output: Path,
    facts: dict[str, Any],
    names: Sequence[str],
    codes: Iterator[NDArray[np.generic]],
    quantisation: Quantisation | None,
) -> None:
    arrow = expect_pyarrow()
    element = {"float32": arrow.float32(), "float16": arrow.float16(), "uint8": arrow.uint8()}[facts["dtype"]]
    if quantisation:
        facts |= {"minimum": quantisation.minimum.tolist(), "maximum": quantisation.maximum.tolist()}
    schema = arrow.schema(
        [("name", arrow.string()), ("code", arrow.list_(element, facts["dims"]))],
        metadata={"lookalike": json.dumps(facts)},
    )
    start = 0
    with atomic_file(output) as file, arrow.parquet.ParquetWriter(file, schema) as writer:
        for rows in codes:
            column = arrow.FixedSizeListArray.from_arrays(arrow.array(rows.ravel(), element), facts["dims"])
            part = arrow.array(names[start : start + len(rows)], arrow.string())
            writer.write_table(arrow.Table.from_arrays([part, column], schema=schema))
            start += len(rows)


# --- Reading ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CodeFile:
    """Codes on disk, with what is known of them before any is read."""

    file: Path
    facts: dict[str, Any]
    names: list[str]
    quantisation: Quantisation | None

    @property
    def model_id(self) -> str:
        """Of the model that made them."""
        return str(self.facts["model_id"])

    @classmethod
    def open(cls, file: Path) -> "CodeFile":
        """Read names and facts, and compare all sizes.

        Raises:
            NothingFoundError: There is no such file.
            SettingsError: It is no .npz or .parquet, or pyarrow is missing.
            IncompatibleError: A newer version wrote it.
            DamagedError: It is not what `lookalike codes` writes.
        """
        kind = format_of(file, CODE_FORMATS)
        if not file.is_file():
            raise NothingFoundError(f"there is no file {file}: make one with `lookalike codes FOLDER -o {file.name}`.")
        with _sense(file):
            read = _open_parquet(file) if kind == ".parquet" else _open_npz(file)
        _expect_names(file, read.names)
        return read

    def batches(self, size: int) -> Iterator[tuple[list[str], Floats]]:
        """Names and latents (n, dims), some at a time.

        Raises:
            DamagedError: They end early, or are not finite.
        """
        start = 0
        with _sense(self.file):
            source = _parquet_rows if self.file.suffix.lower() == ".parquet" else _npz_rows
            for rows in source(self, size):
                latents = self.quantisation.restore(rows) if self.quantisation else rows.astype(np.float32)
                if not np.isfinite(latents).all():
                    raise ValueError("codes that are not finite numbers")
                yield self.names[start : start + len(rows)], latents
                start += len(rows)
            if start != len(self.names):
                raise ValueError(f"{start:,} codes for {len(self.names):,} names")


def _damaged(file: Path, why: object) -> DamagedError:
    return DamagedError(f"{file} is not what `lookalike codes` writes, or is damaged ({why}): make it again.")


# pyarrow's errors derive from these too; RuntimeError is zipfile's for encrypted members and json's for deep nesting.
_NONSENSE = (OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError, OverflowError)


@contextlib.contextmanager
def _sense(file: Path) -> Iterator[None]:
    """Whatever a reader says of a file that makes no sense is one line."""
    try:
        yield
    except (*_NONSENSE, zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError) as error:
        raise _damaged(file, next(iter(str(error).splitlines()), type(error).__name__)[:200]) from error


def _checked_facts(text: str | bytes) -> dict[str, Any]:
    """What a file says of itself.

    Raises:
        ValueError: It makes no sense.
        IncompatibleError: A newer version wrote it.
    """
    facts = json.loads(text)
    if not isinstance(facts, dict) or type(facts.get("format")) is not int:
        raise ValueError("no facts")
    if facts["format"] > FORMAT_VERSION:
        raise IncompatibleError(
            f"the codes have format {facts['format']}, and this version reads up to {FORMAT_VERSION}: update Lookalike."
        )
    for key in ("dims", "count", "image_size"):
        if type(facts.get(key)) is not int or not 0 < facts[key] < 1 << 40:
            raise ValueError(f"{key} is {facts.get(key)!r}")
    if facts.get("dtype") not in DTYPES or not isinstance(facts.get("model_id"), str):
        raise ValueError(f"codes of {facts.get('dtype')!r}")
    return facts


def _checked_quantisation(facts: dict[str, Any], stored: Sequence[Any]) -> Quantisation:
    ends = [np.asarray(end, np.float32) for end in stored]
    if any(end.shape != (facts["dims"],) or not np.isfinite(end).all() for end in ends):
        raise ValueError("its minimum and maximum do not fit")
    return Quantisation(*ends)


def _open_npz(file: Path) -> CodeFile:
    with zipfile.ZipFile(file) as archive:
        facts = _checked_facts(str(_small_array(archive, "facts", MAX_FACTS_BYTES)[()]))
        names = _small_array(archive, "names", MAX_NAMES_BYTES)
        if names.shape != (facts["count"],) or names.dtype.kind != "U":
            raise ValueError(f"names of shape {names.shape}")
        quantisation = None
        if facts["dtype"] == "uint8":
            ends = [_small_array(archive, name, MAX_FACTS_BYTES) for name in ("minimum", "maximum")]
            quantisation = _checked_quantisation(facts, ends)
        with _npz_codes(archive, facts):
            pass
    return CodeFile(file, facts, names.tolist(), quantisation)


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(member)
    if version != (1, 0):
        raise ValueError(f"numpy's format {version}")
    return np.lib.format.read_array_header_1_0(member)


def _small_array(archive: zipfile.ZipFile, name: str, most: int) -> NDArray[Any]:
    """An array that is read whole, after a look at how large it says it is."""
    with archive.open(f"{name}.npy") as member:
        shape, fortran, dtype = _header(member)
        size = int(np.prod(shape, dtype=object)) * dtype.itemsize
        if dtype.hasobject or fortran or not 0 <= size <= most or any(length < 0 for length in shape):
            raise ValueError(f"{name} of {dtype} with {size:,} bytes")
        content = member.read(size)
    if len(content) != size:
        raise ValueError(f"{name} ends early")
    return np.frombuffer(content, dtype).reshape(shape)


@contextlib.contextmanager
def _npz_codes(archive: zipfile.ZipFile, facts: dict[str, Any]) -> Iterator[IO[bytes]]:
    """The codes, at their first byte."""
    expected = (facts["count"], facts["dims"]), False, np.dtype(DTYPES[facts["dtype"]])
    with archive.open("codes.npy") as member:
        found = _header(member)
        if found != expected:
            raise ValueError(f"codes of shape {found[0]} and {found[2]}, not {expected[0]} and {expected[2]}")
        size = facts["count"] * facts["dims"] * expected[2].itemsize
        if archive.getinfo("codes.npy").file_size != member.tell() + size:
            raise ValueError("the codes are not as long as they say")
        yield member


def _npz_rows(codes: CodeFile, size: int) -> Iterator[NDArray[Any]]:
    dtype = np.dtype(DTYPES[codes.facts["dtype"]])
    row = codes.facts["dims"] * dtype.itemsize
    with zipfile.ZipFile(codes.file) as archive, _npz_codes(archive, codes.facts) as member:
        while content := member.read(size * row):
            yield np.frombuffer(content, dtype).reshape(-1, codes.facts["dims"])


def _open_parquet(file: Path) -> CodeFile:
    arrow = expect_pyarrow()
    with arrow.parquet.ParquetFile(file) as table:
        text = (table.schema_arrow.metadata or {}).get(b"lookalike", b"")
        if len(text) > MAX_FACTS_BYTES:
            raise ValueError("its facts are too long")
        facts = _checked_facts(text)
        element = {"float32": arrow.float32(), "float16": arrow.float16(), "uint8": arrow.uint8()}[facts["dtype"]]
        expected = [("name", arrow.string()), ("code", arrow.list_(element, facts["dims"]))]
        if [(each.name, each.type) for each in table.schema_arrow] != expected:
            raise ValueError("other columns than name and code")
        if table.metadata.num_rows != facts["count"]:
            raise ValueError(f"{table.metadata.num_rows:,} rows, not {facts['count']:,}")
        names = table.read(columns=["name"])["name"].to_pylist()
    ends = [facts.pop(name, None) for name in ("minimum", "maximum")]
    quantisation = _checked_quantisation(facts, ends) if facts["dtype"] == "uint8" else None
    return CodeFile(file, facts, names, quantisation)


def _parquet_rows(codes: CodeFile, size: int) -> Iterator[NDArray[Any]]:
    arrow = expect_pyarrow()
    with arrow.parquet.ParquetFile(codes.file) as table:
        for batch in table.iter_batches(batch_size=size, columns=["code"]):
            column = batch.column(0)
            if column.null_count or column.flatten().null_count:
                raise ValueError("codes are missing")
            yield column.flatten().to_numpy(zero_copy_only=False).reshape(-1, codes.facts["dims"])


def _expect_names(file: Path, names: Sequence[Any]) -> None:
    """Refuse names that could lead out of the folder that pictures are written into.

    Raises:
        DamagedError: One does.
    """
    for name in names:
        if not isinstance(name, str) or not _is_safe(name):
            raise DamagedError(
                f"{file} names a picture {printable(str(name))[:100]!r}, which is no plain path below a folder: "
                "nothing was written. Take a file that `lookalike codes` wrote."
            )


def _is_safe(name: str) -> bool:
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        return False
    return all(
        part not in ("", ".", "..") and len(part.encode(errors="replace")) <= LONGEST_PART for part in name.split("/")
    )


# --- Back to pictures ---------------------------------------------------------------------------------------------


def expect_same_model(codes: CodeFile, bundle: Bundle) -> None:
    """Refuse codes that another model made.

    Raises:
        IncompatibleError: They are another's.
    """
    if codes.model_id != bundle.model_id:
        raise IncompatibleError(
            f"{codes.file} was made by the model {printable(str(codes.facts.get('model')))} ({codes.model_id[:12]}), "
            f"and {bundle.folder} is {bundle.model_id[:12]}: name that model with --model."
        )
    if codes.facts["dims"] != bundle.latent_dims:
        raise _damaged(codes.file, f"{codes.facts['dims']:,} numbers a code, not {bundle.latent_dims:,}")


def decode_codes(
    model: Model,
    codes: CodeFile,
    folder: Path,
    *,
    force: bool = False,
    reporter: Reporter = SILENT,
    stop: StopRequest | None = None,
) -> list[Path]:
    """Paint stored codes and write the pictures as PNG, each under its name below a folder.

    Args:
        model: With its decoder; the one that made the codes.
        codes: What is read.
        folder: Made if it is not there.
        force: Write over what stands there.
        reporter: Shows the progress.
        stop: Looked at between two batches.

    Raises:
        IncompatibleError: Another model made the codes.
        DamagedError: They are not finite or end early, or a folder on the way is a link that leads elsewhere.
        SettingsError: Something stands where a file would be written.
    """
    expect_same_model(codes, model.bundle)
    targets = [folder / name for name in names_below(codes.names, ".png")]
    expect_free(targets, force=force)
    inside = _Inside(folder)
    written: list[Path] = []
    with reporter.task("Painting", total=len(targets), unit="pictures") as task:
        for names, latents in codes.batches(model.batch):
            if stop is not None:
                stop.raise_if_set(f"{len(written):,} pictures are written.")
            for target, pixels in zip(targets[len(written) :], model.decode(latents), strict=False):
                inside.expect(target)
                write_picture(target, encode_picture(pixels, "png"))
                written.append(target)
            task.advance(len(names))
    return written


class _Inside:
    """Watches that no link on the way to a file leads out of the folder; each folder is looked at once."""

    def __init__(self, folder: Path) -> None:
        self._top = folder.resolve()
        self._known: set[Path] = set()

    def expect(self, target: Path) -> None:
        if target.parent in self._known:
            return
        if not target.parent.resolve().is_relative_to(self._top):
            raise DamagedError(f"{target.parent} leads out of {self._top} through a link: choose an empty folder.")
        self._known.add(target.parent)
