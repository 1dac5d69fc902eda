"""The limits of every request, in one table: shown by /api/v1/info, named in the problems that they cause."""

from index_data.config import MAX_BETA
from train.images import HTTP_LIMITS, THUMBNAIL_SIDE

MIB = 1 << 20

IMAGE_BYTES = HTTP_LIMITS.bytes  # of one picture
BODY_BYTES = 28 * MIB  # of a whole request: the largest picture as base64, and the words around it
TEXT_FIELD_BYTES = 500_000  # of one text field of a form
FORM_PARTS = 20
URL = 2000  # letters of an address that is fetched
JSON_DEPTH = 32
JSON_DIGITS = 20  # of an integer: a 64-bit number has at most 20
K = 1000  # neighbours of one search
OFFSET = 10_000
BETA = MAX_BETA  # weight of the pixel half of a query
QUERY_PARTS = 16  # pictures of one query
GALLERIES = 32  # that one search goes through
PATHS = 100  # folders and files of one scan
PATH = 4096  # letters of one
BATCH = 64  # searches of one request
LIST = 1000  # items of one page
OUTLINE = 1_000_000  # items of one outline: 12 MB
EMBED_IMAGES = 16  # of one call
ADD_IMAGES = 16  # of one call
FRAMES_MIN, FRAMES_MAX = 2, 240  # of one morph
MORPH_STOPS = 16  # pictures that one morph leads past, its ends among them
NEAREST_K = 10  # real pictures beside each frame
FRAME_SIDE_MIN, FRAME_SIDE_MAX = 16, 1024  # pixels
MORPH_PIXELS = 24_000_000  # of all frames together: 72 MB
CODES, CODE_NUMBERS = 64, 65_536  # codes of one call to decode, numbers of one code
EXPLAIN_GRID = 12  # patches in a row
CLEANED_SIDE = 2048  # longest side of a picture that is cleaned, pixels
AXES, PROTOTYPES = 16, 64  # of one answer
PREVIEW_SIDE = 1024  # longest side of size=preview, pixels
THUMB_SIDE = THUMBNAIL_SIDE
WEBP_SIDE = 16_383  # longest side that a WebP file can have, so of size=full
MAP_AT_ONCE = 20_000  # items of a map by PCA that is not worth a job
QUERY_SECONDS = 3600  # a stored query is forgotten after an hour ...
QUERY_BYTES = 128 * MIB  # ... or when newer ones need the room
QUERY_COUNT = 1000


def as_json() -> dict[str, int | float]:
    """The table as /api/v1/info shows it, with the pictures' own limits."""
    return {
        "image_bytes": IMAGE_BYTES,
        "body_bytes": BODY_BYTES,
        "pixels": HTTP_LIMITS.pixels,
        "baseline_jpeg_pixels": HTTP_LIMITS.baseline_jpeg_pixels,
        "side": HTTP_LIMITS.side,
        "scans": HTTP_LIMITS.scans,
        "decode_seconds": HTTP_LIMITS.seconds,
        "json_depth": JSON_DEPTH,
        "k_max": K,
        "offset_max": OFFSET,
        "beta_max": BETA,
        "list_max": LIST,
        "outline_max": OUTLINE,
        "query_parts_max": QUERY_PARTS,
        "galleries_max": GALLERIES,
        "batch_max": BATCH,
        "embed_images_max": EMBED_IMAGES,
        "add_images_max": ADD_IMAGES,
        "frames_min": FRAMES_MIN,
        "frames_max": FRAMES_MAX,
        "frame_side_max": FRAME_SIDE_MAX,
        "morph_pixels": MORPH_PIXELS,
        "morph_stops_max": MORPH_STOPS,
        "codes_max": CODES,
        "explain_grid_max": EXPLAIN_GRID,
        "cleaned_side": CLEANED_SIDE,
        "nearest_k_max": NEAREST_K,
        "map_at_once": MAP_AT_ONCE,
        "query_seconds": QUERY_SECONDS,
    }
