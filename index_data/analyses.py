"""What is computed of a whole gallery and kept beside its index: duplicates, outliers, the map, placeholders.

galleries/<name>/analyses/<what>.npz    arrays, and a JSON object `facts`; replaced by one rename, made again any time
"""

import io
import json
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index_data.gallery import Gallery
from train.errors import UserError
from train.files import write_file

FORMAT_VERSION = 1
COMMANDS = {
    "duplicates": "index duplicates",
    "outliers": "index outliers",
    "map": "index map",
    "placeholders": "serve",
}


class NotComputedError(UserError):
    """An analysis that nobody has asked for yet, or whose file cannot be used."""

    code = "not_computed"


@dataclass(frozen=True)
class Analysis:
    """What was computed, and of what."""

    facts: dict[str, Any]  # seq, model, computed_at, and what the analysis says of itself
    arrays: dict[str, NDArray[Any]]

    def is_stale(self, gallery: Gallery) -> bool:
        """Whether items came, went or changed since."""
        return gallery.changed_count(int(self.facts["seq"])) > 0


def write_analysis(gallery: Gallery, what: str, seq: int, facts: dict[str, Any], **arrays: NDArray[Any]) -> None:
    """Keep an analysis in place of the one before.

    Args:
        gallery: The gallery.
        what: A key of `COMMANDS`.
        seq: Of the gallery's last change that it saw.
        facts: What it says of itself.
        arrays: Its rows.

    Raises:
        DiskError: The disk is full; the one before stays.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    told = {"version": FORMAT_VERSION, "seq": seq, "model": gallery.model_id, "computed_at": now, **facts}
    file = io.BytesIO()
    kept: dict[str, Any] = {"facts": np.frombuffer(json.dumps(told).encode(), np.uint8), **arrays}
    np.savez(file, **kept)
    write_file(_place(gallery, what), file.getvalue())


def read_analysis(gallery: Gallery, what: str) -> Analysis:
    """An analysis that was computed before.

    Raises:
        NotComputedError: There is none of this gallery and model, or it is damaged: the message names the command.
    """
    try:
        # From memory: NumPy leaves a file open that is no archive.
        with np.load(io.BytesIO(_place(gallery, what).read_bytes()), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        facts = json.loads(arrays.pop("facts").tobytes())
        if facts["version"] == FORMAT_VERSION and facts["model"] == gallery.model_id:
            return Analysis(facts, arrays)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError):
        pass  # what can be made again need not be mourned
    raise NotComputedError(
        f"the {what} of the gallery {gallery.name} {'is' if what == 'map' else 'are'} not computed yet: run `lookalike "
        f"{COMMANDS[what]} {gallery.name}`."
    )


def state_of(gallery: Gallery, what: str) -> str:
    """What changes when an analysis is computed anew; empty where there is none."""
    try:
        status = _place(gallery, what).stat()
    except OSError:
        return ""
    return f"{status.st_ino}-{status.st_mtime_ns}-{status.st_size}"


def _place(gallery: Gallery, what: str) -> Path:
    return gallery.folder / "analyses" / f"{what}.npz"
