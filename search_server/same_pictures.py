"""Searches whose hits that are the same picture as the query come first (`index_data.same_picture`)."""

from collections.abc import Callable
from dataclasses import replace

from index_data.same_picture import LOOKED_AT, outline_of, same_first
from index_data.template_matching import Outline
from search_server.api.schemas import SearchBody
from search_server.galleries import Neighbour, ServedGallery
from search_server.incoming import File
from search_server.problems import InvalidRequest
from search_server.service import Service
from search_server.stopwatch import stage
from search_server.subjects import Source, Subject, original


def same_pictures_first(
    service: Service,
    served: ServedGallery,
    subject: Subject,
    asked: SearchBody,
    source: Source | None,
    find: Callable[[int], list[Neighbour]],
) -> Callable[[int], list[Neighbour]]:
    """A search that puts the hits that are the same picture first.

    Args:
        service: The service.
        served: The gallery.
        subject: What is asked about.
        asked: Says which part of it.
        source: The picture that it is; None: an item of the gallery.
        find: The search itself.

    Raises:
        InvalidRequest: What is asked about is no picture.
        ImageError: It cannot be decoded, or the file of the item is gone.
    """
    outline = _outline(service, served, subject, asked, source)

    def find_with_same_first(count: int) -> list[Neighbour]:
        neighbours = find(max(count, LOOKED_AT))
        with stage("fetch"):
            outlines = service.outlines.of(served.gallery, [each.item.sha256 for each in neighbours[:LOOKED_AT]])
        with stage("register"):
            found = same_first(outline, neighbours, outlines)
        return [replace(neighbour, same=same) for neighbour, same in found[:count]]

    return find_with_same_first


def _outline(
    service: Service, served: ServedGallery, subject: Subject, asked: SearchBody, source: Source | None
) -> Outline:
    crop = asked.crop.box() if asked.crop else None
    with stage("decode"):
        if isinstance(source, File):
            return outline_of(source.data, service.decoding, crop)
        if subject.kind == "stored" and subject.id is not None:
            return outline_of(service.stored_query(subject.id).data, service.decoding, crop)
        if subject.item is None:
            raise InvalidRequest("same_picture: only one picture can be laid over others.")
        kept = service.outlines.of(served.gallery, [subject.item.sha256])[0] if crop is None else None
        return kept or outline_of(original(served, subject.item), service.originals, crop)
