"""`If-Match`: a change only to what the client has seen."""

from flask import request

from train.errors import UserError


def expect_unchanged(etag: str) -> None:
    """Refuse a change to what is not any more what the client thinks it is (`If-Match`).

    Raises:
        UserError: It has changed (precondition_failed).
    """
    if request.if_match and etag not in request.if_match:
        raise UserError(
            "it is not what If-Match says any more: read it again, and decide again.", code="precondition_failed"
        )
