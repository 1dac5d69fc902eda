"""What tests of a gallery's life share: contents without pictures, and the slow, obvious answers to compare with."""

from pathlib import Path

import numpy as np

from export.bundle import Bundle
from export.sessions import Encoder
from index_data.engine import Engine
from index_data.gallery import Content, FileState, Gallery

KINDS = 40  # of contents
ROOT = Path("/of/no/pictures")


def vectors(dims: int) -> np.ndarray:
    """Unit vectors of four halves: their cosines are multiples of 1/4, exact in any arithmetic, and often equal."""
    random = np.random.default_rng(0)
    drawn = np.zeros((KINDS, dims), np.float32)
    for row in drawn:
        row[random.choice(min(dims, 8), 4, replace=False)] = random.choice([-0.5, 0.5], 4)
    return drawn


def put(gallery: Gallery, contents: dict[bytes, int]) -> None:
    """Give files contents, in one transaction."""
    drawn = vectors(gallery.dims)
    with gallery.changes() as changes:
        root = changes.root_id(ROOT)
        for path, kind in contents.items():
            digest = kind.to_bytes(32, "big")
            content_id = changes.content_id(digest)
            if content_id is None:
                content_id = changes.add_content(Content(digest, 3, 2, "PNG", drawn[kind], drawn[kind]))
            changes.put_item(FileState(root, path, 1, kind), content_id)


def ids_of(gallery: Gallery) -> dict[bytes, int]:
    return {item.path: item.id for item in gallery.items(limit=100_000)}


def nearest(items: dict[int, np.ndarray], query: np.ndarray, k: int, exclude: frozenset[int] = frozenset()) -> list:
    """Ids and scores by plain NumPy over a dict; equal scores in the order of the ids."""
    scored = sorted((-float(vector @ query), number) for number, vector in items.items() if number not in exclude)
    return [(number, -score) for score, number in scored[:k]]


def answer(engine: Engine, query: np.ndarray, k: int, exclude: frozenset[int] = frozenset()) -> list:
    return [(hit.id, hit.score) for hit in engine.search(query[None], k, exclude)[0]]


def open_engine(folder: Path, bundle: Bundle, encoder: Encoder) -> Engine:
    """An engine without the price of opening a model."""
    return Engine(Gallery.open(folder), bundle, encoder, None)
