"""Errors that the user can put right, and the one table of their codes, statuses and exit codes.

Whatever derives from `UserError` is shown as one line on the command line and as problem+json by the API. All else
is a bug and keeps its traceback.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One row of the contract in docs/errors.md."""

    code: str  # the slug: stable, part of the API
    status: int  # HTTP status of the answer
    exit_code: int  # of a command that ends with it
    title: str


_ROWS = (
    # What was asked.
    Problem("bad_request", 400, 2, "The request is malformed"),
    Problem("bad_base64", 400, 2, "Not valid base64"),
    Problem("invalid", 422, 2, "A value is not allowed"),
    Problem("not_found", 404, 4, "No such page or route"),
    Problem("method_not_allowed", 405, 2, "This route does not answer that method"),
    Problem("no_such_gallery", 404, 4, "No such gallery"),
    Problem("no_such_item", 404, 4, "No such item"),
    Problem("no_such_query", 404, 4, "No such stored query"),
    Problem("no_such_model", 404, 4, "No such model"),
    Problem("no_such_job", 404, 4, "No such job"),
    Problem("origin_refused", 403, 2, "The request came from another site"),
    Problem("token_required", 401, 2, "A token is needed"),
    Problem("insufficient_scope", 403, 2, "The token is not for this"),
    Problem("rate_limited", 429, 5, "Too many requests"),
    Problem("bad_url", 400, 2, "Not an address that can be fetched"),
    Problem("url_not_allowed", 403, 2, "This address is not fetched"),
    Problem("upstream_error", 502, 4, "The other server gave no picture"),
    Problem("upstream_timeout", 504, 4, "The other server was too slow"),
    # What came in.
    Problem("body_too_large", 413, 4, "Too many bytes"),
    Problem("too_many_pixels", 413, 4, "Too many pixels"),
    Problem("unsupported_format", 415, 4, "Not an image format that is read here"),
    Problem("empty", 422, 4, "Nothing in it"),
    Problem("corrupt", 422, 4, "The image is damaged"),
    Problem("too_complex", 422, 4, "The image takes too long to decode"),
    Problem("decode_timeout", 422, 4, "Decoding took too long"),
    Problem("decode_crashed", 422, 4, "The decoder crashed"),
    Problem("bad_embedding", 422, 4, "The model gave no usable embedding"),
    Problem("dimension_mismatch", 422, 7, "A vector of another length"),
    Problem("unreadable", 422, 4, "The file cannot be read"),
    Problem("not_a_file", 422, 4, "Not a regular file"),
    Problem("file_missing", 410, 4, "The file is gone"),
    Problem("file_changed", 409, 4, "The file changed while it was read"),
    Problem("taken_out", 410, 4, "Taken out of the gallery by hand"),
    # What stands here.
    Problem("not_computed", 409, 4, "Not computed yet"),
    Problem("fingerprint_mismatch", 409, 7, "Made by another model or format"),
    Problem("no_decoder", 409, 7, "The model has no decoder"),
    Problem("not_trained", 409, 7, "The model was not trained for it"),
    Problem("no_semantic_half", 409, 7, "The model has no semantic half"),
    Problem("gallery_exists", 409, 2, "There is a gallery of this name"),
    Problem("not_empty", 409, 2, "There is something in it that would be lost"),
    Problem("precondition_failed", 412, 5, "It has changed meanwhile"),
    Problem("key_reused", 409, 2, "The idempotency key was used for another request"),
    Problem("job_state", 409, 2, "The job is not in a state for that"),
    Problem("locked", 409, 5, "Another process is at work here"),
    Problem("damaged", 503, 8, "Stored data is damaged"),
    Problem("busy", 503, 5, "Too much to do at the moment"),
    Problem("loading", 503, 5, "Still starting"),
    Problem("disk_full", 507, 6, "The disk is full or read-only"),
    Problem("too_many_rejected", 422, 3, "Too many files were rejected"),
    Problem("internal_error", 500, 1, "A bug in Lookalike"),
)
PROBLEMS: dict[str, Problem] = {row.code: row for row in _ROWS}

BUG_EXIT_CODE = 1
OUT_OF_MEMORY_EXIT_CODE = 9


class UserError(Exception):
    """Something that the user can put right: the message says what is wrong, with the value, then the remedy.

    A subclass names the row of `PROBLEMS` that it stands for; one error may name another row.
    """

    code = "invalid"

    def __init__(self, detail: str, *, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.problem = PROBLEMS[code or self.code]


class SettingsError(UserError):
    """A flag, an environment variable or a line of the settings file has a value that cannot be used."""


class ImageError(UserError):
    """One image cannot be used; in a batch it is listed, counted, and the rest goes on."""

    code = "corrupt"


class NothingFoundError(UserError):
    """Nothing usable was found where images were expected."""

    code = "empty"


class LockedError(UserError):
    """Another process holds the folder."""

    code = "locked"


class DiskError(UserError):
    """The disk is full, read-only, or the folder may not be written."""

    code = "disk_full"


class IncompatibleError(UserError):
    """What was opened was made by another model, or by a newer version of the format."""

    code = "fingerprint_mismatch"


class DamagedError(UserError):
    """Stored data does not have the digest, size or shape that was written."""

    code = "damaged"


class TooManyRejectedError(UserError):
    """The work is done and what was good is kept, but more images than allowed were rejected."""

    code = "too_many_rejected"
