"""Neighbours: of an item, of a picture that comes with the request, of a stored query."""

from collections.abc import Callable
from dataclasses import replace

from flask import Response
from flask_openapi import APIBlueprint, Tag

from index_data.collapsing import without_duplicates
from index_data.same_picture import LOOKED_AT
from search_server.access import needs
from search_server.api.answers import (
    PREFIX,
    data_uri,
    describe_hits,
    describe_index,
    describe_subject,
    json_answer,
)
from search_server.api.documents import body_of
from search_server.api.queries import store
from search_server.api.schemas import (
    GalleryPath,
    ItemPath,
    NeighbourOptions,
    SearchBody,
    SearchOptions,
    SearchOut,
)
from search_server.combinations import embeddings_of, in_any_form, painted_alone, subject_of
from search_server.galleries import Neighbour, ServedGallery
from search_server.incoming import File, read_request, reads_parameters
from search_server.morphing import encode
from search_server.painting import STRANGE, error_percentile, reconstruct
from search_server.problems import DECODING, FETCHING, UPLOADING, responses
from search_server.same_pictures import same_pictures_first
from search_server.service import Service, service
from search_server.stopwatch import stage, took_ms
from search_server.subjects import Source, Subject, find_item, look_at

search = APIBlueprint("search", __name__, url_prefix=PREFIX, abp_tags=[Tag(name="search")])


@search.post(
    "/galleries/<gallery>/search",
    request_body=body_of(SearchBody, files=("image",)),
    responses={
        200: SearchOut,
        **responses(
            "no_such_gallery",
            "no_such_item",
            "no_such_query",
            "no_decoder",
            "no_semantic_half",
            "file_missing",
            "file_changed",
            *UPLOADING,
            *FETCHING,
            *DECODING,
        ),
    },
)
@needs("read")
@reads_parameters
def search_gallery(path: GalleryPath, query: SearchOptions) -> Response:
    """Find the nearest neighbours of a picture: uploaded, as base64, an item by its id, or a stored query."""
    found = service()
    incoming = read_request(SearchBody, query, image_fields=("image",))
    asked = incoming.options
    served = found.galleries.find(path.gallery)
    return json_answer(answer_search(found, served, asked, incoming.file("image")))


@search.get(
    "/galleries/<gallery>/items/<id>/similar",
    responses={200: SearchOut, **responses("no_such_gallery", "no_such_item", "no_semantic_half")},
)
def similar_items(path: ItemPath, query: NeighbourOptions) -> Response:
    """Find the nearest neighbours of an item: a search that can be linked to."""
    found = service()
    served = found.gallery(path.gallery)
    item = find_item(served, path.id)  # a stored query has no page of its own here
    subject = look_at(found, served, str(item.id))
    return json_answer(find_neighbours(found, served, subject, SearchBody(**query.model_dump())))


def answer_search(found: Service, served: ServedGallery, asked: SearchBody, file: File | None) -> SearchOut:
    """Neighbours of whatever a request asks about."""
    subject, source = subject_of(found, served, asked, file)
    if isinstance(source, File) and asked.store:
        subject = replace(subject, id=store(found, subject, source).id)
    return find_neighbours(found, served, subject, asked, source)


def find_neighbours(
    found: Service, served: ServedGallery, subject: Subject, asked: SearchBody, source: Source | None = None
) -> SearchOut:
    """Neighbours of a picture that was looked at, as the API and the page show them.

    Args:
        found: The service.
        served: The gallery.
        subject: What is asked about.
        asked: Which neighbours.
        source: The picture that it is; None for an item of the gallery, and for what is no picture.
    """
    itself = ({subject.item.id} if subject.item is not None else subject.parts) if asked.exclude_self else set()
    among = served.passing(asked.filter)
    k = asked.offset + asked.k
    embeddings = embeddings_of(found, served, subject, asked.transforms)

    def alike(count: int) -> list[Neighbour]:
        neighbours = served.neighbours(
            embeddings,
            count,
            exclude=itself,
            beta=asked.beta,
            accuracy=asked.accuracy,
            exact=asked.exact,
            among=among,
        )
        return in_any_form(neighbours, count)

    is_laid_over = asked.same_picture and asked.offset < LOOKED_AT  # what comes behind is in its order anyway
    find = same_pictures_first(found, served, subject, asked, source, alike) if is_laid_over else alike
    nearest = _different_ones(served, find, k) if asked.collapse_duplicates else find(k)
    least = -1.0 if asked.min_score is None else asked.min_score
    wanted = [neighbour for neighbour in nearest[asked.offset :] if neighbour.score >= least]
    described = describe_hits(
        served,
        wanted,
        first_rank=asked.offset + 1,
        beta=asked.beta,
        with_metadata="metadata" in asked.include,
        with_duplicates=asked.collapse_duplicates,
    )
    if asked.placeholders:
        with stage("fetch"):
            small = found.placeholders.of(served, [neighbour.item.id for neighbour in wanted])
        for hit, neighbour in zip(described, wanted, strict=True):
            hit["placeholder"] = small.get(neighbour.item.id)
    query = describe_subject(served, subject)
    if query.warning is None and asked.offset == 0 and _nothing_close(served, wanted, asked.beta):
        query.warning = "nothing-close"
    if "vector" in asked.include:
        query.vector = subject.embedding.tolist()
    if "reconstruction" in asked.include and subject.kind in ("combination", "vector"):
        query.reconstruction_url = painted_alone(served, subject)
    elif "reconstruction" in asked.include:
        painted = reconstruct(found, served, subject)
        query.reconstruction_url = data_uri(encode(painted.image(), "webp"))
        query.reconstruction_mse = painted.mse
        query.reconstruction_percentile = error_percentile(served.engine.bundle, painted.mse)
        if query.warning is None and (query.reconstruction_percentile or 0) > STRANGE:
            query.warning = "out-of-domain"
    return SearchOut(
        query=query,
        hits=described,
        beta=asked.beta,
        passing=None if among is None else len(among),
        index=describe_index(served, exact=served.engine.is_exact(asked.accuracy, exact=asked.exact)),
        provider=served.engine.encoder.provider,
        took_ms=took_ms(),
    )


def _different_ones(served: ServedGallery, find: Callable[[int], list[Neighbour]], k: int) -> list[Neighbour]:
    """The k nearest different pictures, each with the ids of those that are the same."""
    standing = without_duplicates(
        find,
        k,
        id_of=lambda neighbour: neighbour.item.id,
        gallery=served.gallery,
        calibration=served.engine.calibration,
    )
    return [replace(neighbour, duplicates=others) for neighbour, others in standing]


def _nothing_close(served: ServedGallery, neighbours: list[Neighbour], beta: float) -> bool:
    if not neighbours:
        return True
    best = neighbours[0]
    return not best.stands_out and not best.same and served.engine.calibration.at(beta).is_far(best.score)
