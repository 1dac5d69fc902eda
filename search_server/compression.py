"""Answers made smaller on their way (gzip), where that is worth it and gives nothing away.

Only gzip: browsers take Brotli over HTTPS and from their own machine alone, not from a server in the home network,
which is where fewer bytes count. See docs/decisions/0011-the-page-without-libraries.md.
"""

import zlib

from flask import Request, Response

LEAST_BYTES = 1_400  # one packet: less than that arrives no sooner
LEVEL = 5  # of an answer that is made once: 40 kB take a millisecond
_TEXTS = {"text/html", "application/json", "text/css", "text/javascript", "image/svg+xml", "text/csv"}
_GZIP = 16 + zlib.MAX_WBITS


def compress_answer(request: Request, response: Response) -> None:
    """Compress an answer of some length, where the client can read it.

    Not where the answer has a validator, which `If-Match` compares byte by byte, nor where it is a stream. Another
    site's page that asks in the reader's name gets the plain length: a length that depends on what the asker added
    to a secret would tell the secret (BREACH).
    """
    if response.mimetype not in _TEXTS or not response.is_sequence or "Content-Encoding" in response.headers:
        return
    response.vary.add("Accept-Encoding")
    if response.status_code != 200 or response.get_etag()[0] is not None:
        return
    if not takes_gzip(request) or request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        return
    data = response.get_data()
    if len(data) >= LEAST_BYTES:
        response.set_data(compressed(data, LEVEL))
        response.headers["Content-Encoding"] = "gzip"


def compressed(data: bytes, level: int) -> bytes:
    """Bytes as gzip; the same bytes always give the same."""
    packer = zlib.compressobj(level, zlib.DEFLATED, _GZIP)
    return packer.compress(data) + packer.flush()


def takes_gzip(request: Request) -> bool:
    """Whether the client says that it reads gzip."""
    return "HTTP_ACCEPT_ENCODING" in request.environ and request.accept_encodings["gzip"] > 0
