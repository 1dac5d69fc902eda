"""Is it alive, is it ready, what is it."""

import time

from flask import Response
from flask_openapi import APIBlueprint, Tag

from index_data.mapping import can_draw_by_umap
from search_server import limits
from search_server.access import needs
from search_server.api.answers import PREFIX, describe_gallery, json_answer
from search_server.api.schemas import Check, Health, InfoOut, Readiness, Status
from search_server.galleries import ServedGallery
from search_server.metrics import CONTENT_TYPE
from search_server.problems import RETRY_SECONDS, responses
from search_server.service import Service, service
from train.errors import UserError

health = APIBlueprint("health", __name__, abp_tags=[Tag(name="server")])

_DECODED_LATELY = 5.0  # seconds
TEXT = {"schema": {"type": "string"}}

# A picture of one pixel: decoding it says that a decode worker answers.
_PIXEL = bytes.fromhex(
    "47494638396101000100800000000000ffffff2c00000000010001000002024401003b"  # GIF
)


@health.get("/healthz", responses={200: Health, **responses()})
@needs("nothing")
def healthz() -> Response:
    """Say that the process lives; does no work."""
    return json_answer(Health())


@health.get("/readyz", responses={200: Readiness, 503: Readiness, **responses()})
@needs("nothing")
def readyz() -> Response:
    """Check what questions need: each model, index and database, and the decode workers."""
    readiness = check_readiness(service())
    answer = json_answer(readiness, 503 if readiness.status == "unavailable" else 200)
    if readiness.status == "unavailable":
        answer.headers["Retry-After"] = str(RETRY_SECONDS)
    return answer


@health.get(
    "/metrics",
    responses={200: {"description": "Prometheus's text format", "content": {"text/plain": TEXT}}, **responses()},
)
def metrics() -> Response:
    """Give counters and times for Prometheus."""
    return Response(service().metrics.as_text(), content_type=CONTENT_TYPE)


def check_readiness(service: Service) -> Readiness:
    """Look at everything once."""
    checks = {"decode": _check_decoding(service)}
    degraded = []
    for served in service.galleries:
        served.engine.keep_up()
        checks[f"db:{served.name}"] = _check_database(served)
        checks[f"index:{served.name}"] = Check(
            ok=True, detail=f"{served.engine.count} pictures, {served.engine.generation}"
        )
        encoder = served.engine.encoder
        checks[f"model:{served.name}"] = Check(
            ok=True, detail=f"{encoder.asked} was asked for, {encoder.provider} computes"
        )
        parts = (encoder, served.engine.decoder, served.engine)
        reasons = dict.fromkeys(part.degraded for part in parts if part is not None and part.degraded)
        if served.trouble:
            reasons[served.trouble] = None
        degraded += [f"{served.name}: {reason}" for reason in reasons]
    ready = all(check.ok for check in checks.values())
    status: Status = "unavailable" if not ready else "degraded" if degraded else "ready"
    return Readiness(status=status, degraded=degraded, checks=checks)


def _check_decoding(service: Service) -> Check:
    if time.monotonic() - service.decoded_at < _DECODED_LATELY:
        # While all decoders are at work, a look at them would have to wait its turn.
        return Check(ok=True, detail=f"{service.settings.decode_workers} workers, at work")
    try:
        service.decoding.render(_PIXEL, None)
    except UserError as error:
        return Check(ok=False, detail=error.problem.title)
    return Check(ok=True, detail=f"{service.settings.decode_workers} workers")


def _check_database(served: ServedGallery) -> Check:
    try:
        return Check(ok=True, detail=f"change {served.gallery.seq}")  # counting the items would read all of them
    except UserError as error:
        return Check(ok=False, detail=error.problem.title)


@health.get(f"{PREFIX}/info", responses={200: InfoOut, **responses()})
def info() -> Response:
    """Describe this server: version, galleries with model and provider, limits, features."""
    from importlib.metadata import version

    galleries = [describe_gallery(served) for served in service().galleries]
    return json_answer(
        InfoOut(
            version=version("lookalike"),
            galleries=galleries,
            limits=limits.as_json(),
            features={
                "morph": any(gallery.model.has_decoder for gallery in galleries),
                "semantic_slider": any(gallery.model.semantic_dims > 0 for gallery in galleries),
                "url_queries": service().fetcher.policy.is_on,
                "umap": can_draw_by_umap(),
                "tokens": service().settings.exposed,
            },
        )
    )
