"""What a request asks about: an uploaded picture, an item of the gallery or a stored query, seen by the model."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from index_data.filters import Filter
from index_data.gallery import Item
from search_server.galleries import ServedGallery
from search_server.incoming import File, decode_base64
from search_server.problems import InvalidRequest
from search_server.service import Service, StoredQuery
from search_server.stopwatch import stage
from train.decoding import Decoded, DecodePool
from train.errors import ImageError, UserError
from train.images import Pixels
from train.printable import printable

Crop = tuple[float, float, float, float]  # x, y, width, height as shares of the upright picture
Vector = NDArray[np.float32]  # (dims,)
Source = File | str  # one picture as a request names it: its bytes, or the id of an item or of a stored query
Kind = Literal["item", "upload", "stored", "combination", "vector", "code"]

PLAIN_DEVIATION = 4.0  # grey levels: below it, hardly anything but one colour is there to be compared
MAX_NAME = 200  # characters of an uploaded file's name
_INT64 = 2**63


class NoSuchItemError(UserError):
    """An id that the gallery does not have."""

    code = "no_such_item"


@dataclass(frozen=True)
class Subject:
    """One picture as the model sees it."""

    kind: Kind
    id: str | None  # of the item or the stored query
    name: str
    item: Item | None
    width: int  # of the upright picture, before any crop
    height: int
    format: str
    latent: Vector
    embedding: Vector  # unit length; empty for a code, which nobody searches with
    decoded: Decoded | None  # what the encoder saw; None for an item, whose code is stored, and for what is no picture
    parts: frozenset[int] = frozenset()  # items that a combination is made of

    @property
    def plain(self) -> bool:
        """Whether it is known to be almost one colour."""
        return self.decoded is not None and is_plain(self.decoded.pixels)


def one_source(
    *,
    file: File | None,
    image_base64: str | None,
    picture_id: str | None,
    url: str | None = None,
    fetch: Callable[[str], File] | None = None,
    name: str = "image",
) -> Source:
    """The one picture that a request names; one that it names by its address is fetched.

    Raises:
        InvalidRequest: It names none, or several.
    """
    given: list[Source] = [source for source in (file, picture_id) if source is not None]
    if image_base64 is not None:
        given.append(File(decode_base64(image_base64, "image_base64"), ""))
    if len(given) + (url is not None) != 1:
        raise InvalidRequest(
            f"{name}: {len(given) + (url is not None) or 'no'} pictures are given, but it must be one: a file, "
            "image_base64, an id, or a url."
        )
    if url is not None and fetch is not None:
        return fetch(url)
    return given[0]


class Named(Protocol):
    """What a request says of a picture that does not come as a file."""

    @property
    def id(self) -> str | None:
        """Of an item or a stored query."""

    @property
    def url(self) -> str | None:
        """Its address."""

    @property
    def image_base64(self) -> str | None:
        """Its bytes."""


def named_source(service: Service, file: File | None, asked: Named, *, name: str = "image") -> Source:
    """The one picture that a request names; raises like `one_source` and `Fetcher.fetch`."""
    return one_source(
        file=file,
        image_base64=asked.image_base64,
        picture_id=asked.id,
        url=asked.url,
        fetch=service.fetcher.fetch,
        name=name,
    )


def one_file(
    *, file: File | None, image_base64: str | None, url: str | None = None, fetch: Callable[[str], File] | None = None
) -> File:
    """The one picture that comes with a request.

    Raises:
        InvalidRequest: None comes, or several.
    """
    source = one_source(file=file, image_base64=image_base64, picture_id=None, url=url, fetch=fetch)
    if isinstance(source, str):
        raise TypeError("no id was given")
    return source


def find_item(served: ServedGallery, item_id: str) -> Item:
    """An item by its id.

    Raises:
        NoSuchItemError: There is none, or the text is no id.
    """
    number = parse_id(item_id)
    items = served.gallery.items_by_id([number]) if number is not None else []
    if not items:
        raise NoSuchItemError(f"the gallery {served.name} has no item {item_id[:30]!r}.")
    return items[0]


class Choice(Protocol):
    """What a request says of the items that it means."""

    @property
    def ids(self) -> list[str] | None:
        """Of items."""

    @property
    def filter(self) -> Filter | None:
        """What they pass."""


def chosen_ids(served: ServedGallery, asked: Choice) -> list[int]:
    """Ids of the items that a request means: those that it names, or all that pass its filter.

    Raises:
        InvalidRequest: It says neither, or both, or what is no id.
    """
    passing = served.passing(asked.filter)
    if (asked.ids is None) == (passing is None):
        raise InvalidRequest("say which items: give ids, or a filter that is not empty.")
    if passing is not None:
        return [int(number) for number in passing]
    given = asked.ids or []
    ids = [number for number in map(parse_id, given) if number is not None]
    if len(ids) < len(given):
        raise InvalidRequest("ids: an id is an integer as text, from 0 to 9223372036854775807.")
    return ids


def look_at(service: Service, served: ServedGallery, source: Source, crop: Crop | None = None) -> Subject:
    """See a picture as the gallery's model does.

    Raises:
        NoSuchItemError: It is an item that is not there.
        NoSuchQueryError: It is a stored query that is forgotten.
        ImageError: It cannot be decoded, or the model gives no usable embedding.
    """
    if isinstance(source, File):
        return _look_at_upload(service, served, source, crop)
    if source.startswith("q_"):
        return _look_at_stored(service, served, service.stored_query(source), crop)
    return _look_at_item(service, served, find_item(served, source), crop)


def pixels_of(service: Service, served: ServedGallery, subject: Subject) -> Pixels:
    """What the encoder saw of a subject, (size, size, 3); an item whose file is gone is seen by its thumbnail."""
    if subject.decoded is not None:
        return subject.decoded.pixels
    assert subject.item is not None  # noqa: S101  (what was not decoded is an item)
    try:
        data = original(served, subject.item)
    except ImageError:
        thumbnail = served.gallery.thumbnail(subject.item.sha256)
        if thumbnail is None:
            raise
        data = thumbnail
    with stage("decode"):
        return service.originals.fit(data, served.gallery.preprocessing).pixels


def original(served: ServedGallery, item: Item) -> bytes:
    """The bytes of an item's file.

    Raises:
        ImageError: It is gone (file_missing), or it is another one than was indexed (file_changed).
    """
    with stage("fetch"):
        try:
            return served.gallery.read_original(item)
        except ImageError as error:
            # The message names the folder on this machine, which is nobody's business.
            raise ImageError(
                f"the file of item {item.id} ({item.name}) is gone or changed: mount its folder, or run "
                "`lookalike index scan`.",
                code="file_changed" if error.problem.code == "file_changed" else "file_missing",
            ) from error


def is_plain(pixels: Pixels) -> bool:
    """Whether a picture is almost one colour."""
    channels = pixels.reshape(-1, 3).T.astype(np.float64, order="C")  # in rows: several times as fast
    means = np.einsum("cn->c", channels) / channels.shape[1]
    squares = np.einsum("cn,cn->c", channels, channels) / channels.shape[1]
    return bool((squares - means * means).max() < PLAIN_DEVIATION**2)


def _look_at_item(service: Service, served: ServedGallery, item: Item, crop: Crop | None) -> Subject:
    if crop is None:
        with stage("fetch"):
            latent = served.gallery.latents([item.id])[0]
            embedding = served.gallery.embeddings([item.id])[0]
        decoded = None
    else:
        decoded, latent, embedding = _see(service.originals, served, original(served, item), crop)
    return Subject(
        kind="item",
        id=str(item.id),
        name=item.name,
        item=item,
        width=item.width,
        height=item.height,
        format=item.format,
        latent=latent,
        embedding=embedding,
        decoded=decoded,
    )


def _look_at_stored(service: Service, served: ServedGallery, query: StoredQuery, crop: Crop | None) -> Subject:
    decoded, latent, embedding = _see(service.decoding, served, query.data, crop)
    return _decoded_subject("stored", query.id, query.name, decoded, latent, embedding)


def _look_at_upload(service: Service, served: ServedGallery, file: File, crop: Crop | None) -> Subject:
    decoded, latent, embedding = _see(service.decoding, served, file.data, crop)
    service.decoded_at = time.monotonic()
    name = printable(file.name[:MAX_NAME]) or "Your picture"
    return _decoded_subject("upload", None, name, decoded, latent, embedding)


def _decoded_subject(
    kind: Kind, subject_id: str | None, name: str, decoded: Decoded, latent: Vector, embedding: Vector
) -> Subject:
    return Subject(
        kind=kind,
        id=subject_id,
        name=name,
        item=None,
        width=decoded.width,
        height=decoded.height,
        format=decoded.format,
        latent=latent,
        embedding=embedding,
        decoded=decoded,
    )


def _see(pool: DecodePool, served: ServedGallery, data: bytes, crop: Crop | None) -> tuple[Decoded, Vector, Vector]:
    with stage("decode"):
        decoded = pool.fit(data, served.gallery.preprocessing, crop=crop)
    with stage("embed"):
        codes = served.engine.embed(decoded.pixels[None])
    if not codes.usable[0]:
        raise ImageError("the model gave no usable embedding for this picture: try a crop.", code="bad_embedding")
    return decoded, codes.latents[0], codes.embeddings[0]


def parse_id(text: str) -> int | None:
    """The number of an item; None where the text is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 19 and int(text) < _INT64 else None
