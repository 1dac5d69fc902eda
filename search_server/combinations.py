"""What a search asks about beyond one picture: several with weights, a vector, a picture in all its forms."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from index_data.gallery import Item
from index_data.queries import Transforms, best_of, combine, combine_latents, unit_vector, variants
from search_server.api.answers import data_uri
from search_server.api.schemas import QueryPart, SearchBody
from search_server.galleries import Neighbour, ServedGallery
from search_server.incoming import File
from search_server.morphing import encode, scale
from search_server.painting import as_latents, decode
from search_server.problems import InvalidRequest
from search_server.service import Service
from search_server.stopwatch import stage
from search_server.subjects import Kind, Source, Subject, look_at, named_source, pixels_of


def subject_of(
    service: Service, served: ServedGallery, asked: SearchBody, file: File | None
) -> tuple[Subject, Source | None]:
    """What a search asks about, as the gallery's model sees it, and the one picture that it is, if it is one.

    Raises:
        InvalidRequest: It names nothing, or more than one thing.
    """
    several = bool(asked.positive or asked.negative)
    one = file is not None or (asked.id or asked.image_base64 or asked.url) is not None
    if several + one + (asked.vector is not None) > 1:
        raise InvalidRequest("give one picture, or a vector, or positive and negative pictures: not several of them.")
    if several:
        return _combination(service, served, asked.positive, asked.negative), None
    if asked.vector is not None:
        return _vector(served, asked.vector), None
    source = named_source(service, file, asked)
    return look_at(service, served, source, asked.crop.box() if asked.crop else None), source


def embeddings_of(
    service: Service, served: ServedGallery, subject: Subject, transforms: Transforms
) -> NDArray[np.float32]:
    """Embeddings of what is looked for, (forms, dims): the picture's own first.

    Raises:
        InvalidRequest: Other forms are asked for of what is no picture.
    """
    if transforms == "none":
        return subject.embedding[None]
    if subject.kind in ("combination", "vector"):
        raise InvalidRequest("transforms: only one picture can be mirrored and turned.")
    forms = variants(pixels_of(service, served, subject), transforms)
    with stage("embed"):
        codes = served.engine.embed(forms[1:])
    return np.concatenate([subject.embedding[None], codes.embeddings[codes.usable]])


def in_any_form(found: list[list[Neighbour]], k: int) -> list[Neighbour]:
    """Neighbours of a picture in any of its forms: each item once, as the best of them found it."""
    if len(found) == 1:
        return found[0]
    items: dict[int, Item] = {each.item.id: each.item for neighbours in found for each in neighbours}
    best = best_of([[(each.item.id, (each.stands_out, each.score)) for each in neighbours] for neighbours in found], k)
    return [Neighbour(items[number], score, stands_out) for number, (stands_out, score) in best]


def painted_alone(served: ServedGallery, subject: Subject) -> str | None:
    """What the decoder paints of a combined query, as a data: URI; None where there is no latent to paint."""
    if not len(subject.latent):
        return None
    painted = decode(served, subject.latent[None])[0]
    return data_uri(encode(scale(painted, painted.shape[0]), "webp"))


def _combination(
    service: Service, served: ServedGallery, positive: list[QueryPart], negative: list[QueryPart]
) -> Subject:
    parts = [(part, part.weight) for part in positive] + [(part, -part.weight) for part in negative]
    subjects = [
        look_at(
            service,
            served,
            named_source(service, None, part, name="positive or negative"),
            part.crop.box() if part.crop else None,
        )
        for part, _ in parts
    ]
    weights = [weight for _, weight in parts]
    less = f", less {len(negative)}" if negative else ""
    return _without_picture(
        served,
        "combination",
        f"{len(positive)} pictures{less}",
        combine(np.stack([subject.embedding for subject in subjects]), weights),
        combine_latents(np.stack([subject.latent for subject in subjects]), weights),
        frozenset(subject.item.id for subject in subjects if subject.item is not None),
    )


def _vector(served: ServedGallery, vector: list[float]) -> Subject:
    embedding = unit_vector(vector, served.gallery.dims)
    return _without_picture(served, "vector", "Your vector", embedding, np.empty(0, np.float32))


def subject_of_code(served: ServedGallery, code: Sequence[float]) -> Subject:
    """A latent as an end of a morph; raises like `as_latents`."""
    return _without_picture(served, "code", "Your code", np.empty(0, np.float32), as_latents(served, [code])[0])


def _without_picture(
    served: ServedGallery,
    kind: Kind,
    name: str,
    embedding: NDArray[np.float32],
    latent: NDArray[np.float32],
    parts: frozenset[int] = frozenset(),
) -> Subject:
    size = served.gallery.preprocessing.size
    return Subject(
        kind=kind,
        id=None,
        name=name,
        item=None,
        width=size,
        height=size,
        format="",
        latent=latent,
        embedding=embedding,
        decoded=None,
        parts=parts,
    )
