"""A client of the REST API, on Python's standard library alone.

    with Client("http://localhost:8000", token="lookalike_...") as lookalike:
        for hit in lookalike.search("photos", Path("cat.jpg"), k=5)["hits"]:
            print(hit["score"], hit["path"])

A method that is not here is one line: `lookalike.call("GET", "/galleries/photos/stats")`.
"""

import http.client
import json
import os
import random
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from train.errors import PROBLEMS, UserError

TOKEN_VARIABLE = "LOOKALIKE_TOKEN"  # noqa: S105  (where one is looked for, not one)
TRIES = 4  # of a request that is refused because too much is to do
LONGEST_WAIT = 30.0  # seconds, whatever the server asks for
_API = "/api/v1"

Picture = Path | bytes | str  # a file, its bytes, or the id of an item or stored query


class ServerProblem(UserError):
    """What a server refused.

    Args:
        document: The problem (RFC 9457) as it came.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        code = str(document.get("code"))
        super().__init__(
            str(document.get("detail") or document.get("title")), code=code if code in PROBLEMS else "internal_error"
        )
        self.document = document
        self.status = int(document.get("status", 0))


class Unreachable(UserError):
    """There is no server at the address."""

    code = "upstream_error"


class Client:
    """Talks to one server; for one thread.

    Args:
        url: Of the server, with the prefix that it may have.
        token: That it may ask for; the default is LOOKALIKE_TOKEN of the environment.
        timeout: Seconds for an answer.
    """

    def __init__(self, url: str, *, token: str | None = None, timeout: float = 60.0) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Unreachable(f"{url!r} is no address of a server: write it as http://localhost:8000.", code="invalid")
        connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = connect(parts.hostname, parts.port, timeout=timeout)
        self._prefix = parts.path.rstrip("/")
        self._token = os.environ.get(TOKEN_VARIABLE) if token is None else token
        self.url = url

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    # ---- asking

    def info(self) -> Any:
        """Version, galleries, limits, features."""
        return self.call("GET", "/info")

    def galleries(self) -> Any:
        """The galleries that are served."""
        return self.call("GET", "/galleries")["galleries"]

    def items(self, gallery: str) -> Iterator[Any]:
        """All items, page by page."""
        cursor: dict[str, str] = {}
        while True:
            page = self.call("GET", f"{_gallery(gallery)}/items", query={"limit": 1000, **cursor})
            yield from page["items"]
            if page["next_cursor"] is None:
                return
            cursor = {"cursor": page["next_cursor"]}

    def search(self, gallery: str, picture: Picture, **options: Any) -> Any:
        """Neighbours of a picture; options as in the API: k, offset, min_score, beta, ..."""
        return self._with_picture(f"{_gallery(gallery)}/search", picture, options)

    def embed(self, picture: Picture, **options: Any) -> Any:
        """The vectors of a picture."""
        return self._with_picture("/embed", picture, options)

    def morph(self, gallery: str, a: str, b: str, **options: Any) -> bytes:
        """A morph between two items or stored queries, as a file."""
        query = {"a": a, "b": b, "format": "webp", **options}
        data = self.call("GET", f"{_gallery(gallery)}/morph", query=query)
        return data if isinstance(data, bytes) else json.dumps(data).encode()

    # ---- changing

    def add(self, gallery: str, pictures: Sequence[Path]) -> Any:
        """Add pictures to a gallery; what became of each, in their order."""
        most = int(self.info()["limits"]["add_images_max"])
        results: list[Any] = []
        for start in range(0, len(pictures), most):
            files = [("images", path.name, path.read_bytes()) for path in pictures[start : start + most]]
            body, kind = _form([], files)
            answer = self.call("POST", f"{_gallery(gallery)}/items", body=body, headers={"Content-Type": kind})
            results += answer["results"]
        return results

    def remove(self, gallery: str, ids: Sequence[str]) -> Any:
        """Take items out of a gallery; their files stay."""
        return self.call("POST", f"{_gallery(gallery)}/items/delete", fields={"ids": list(ids)})

    def scan(self, gallery: str, *, key: str | None = None, **options: Any) -> Any:
        """Look again at the folders of a gallery; the job. A key keeps it from being started twice."""
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        return self.call("POST", f"{_gallery(gallery)}/scan", fields=options, headers=headers)

    def job(self, job_id: int) -> Any:
        """How a job is."""
        return self.call("GET", f"/jobs/{job_id}")

    def wait(self, job_id: int, *, seconds: float = 3600, pause: float = 0.5) -> Any:
        """A job when it has ended, or as it is when the time is over."""
        deadline = time.monotonic() + seconds
        while True:
            job = self.job(job_id)
            if job["ended_at"] is not None or time.monotonic() > deadline:
                return job
            time.sleep(pause)

    # ---- the wire

    def call(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, Any] | None = None,
        fields: dict[str, Any] | None = None,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Any:
        """Ask for anything below /api/v1.

        Args:
            method: Of HTTP.
            path: Below /api/v1.
            query: Parameters of the address.
            fields: A JSON object as the body.
            body: Or bytes; `headers` then say of what type.
            headers: More of them.

        Returns:
            What JSON holds; bytes where the answer is a file; None where it is empty.

        Raises:
            ServerProblem: The server refused. What is only busy (429, 503) is asked again, a few times.
            Unreachable: No server answers.
        """
        address = f"{self._prefix}{_API}{path}" + (f"?{urlencode(query)}" if query else "")
        sent = {"Accept": "application/json, */*", **(headers or {})}
        if self._token:
            sent["Authorization"] = f"Bearer {self._token}"
        if fields is not None:
            body, sent["Content-Type"] = json.dumps(fields).encode(), "application/json"
        for number in range(1, TRIES + 1):
            answer, data = self._send(method, address, body, sent)
            if answer.status in (429, 503) and number < TRIES:
                wait = min(float(answer.headers.get("Retry-After") or 1), LONGEST_WAIT)
                time.sleep(wait * random.uniform(1, 1.5))  # noqa: S311  (so that not all come back at once)
                continue
            break
        kind = answer.headers.get_content_type()
        if answer.status >= 400:
            document = json.loads(data) if kind.endswith("json") else {"detail": f"status {answer.status}"}
            raise ServerProblem({"status": answer.status, **document})
        if kind == "application/json" and data:
            return json.loads(data)
        return data or None

    def _send(
        self, method: str, address: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[http.client.HTTPResponse, bytes]:
        for is_last in (False, True):
            try:
                self._connection.request(method, address, body, headers)
                answer = self._connection.getresponse()
                return answer, answer.read()
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError) as error:
                # A connection that was kept may have been closed in the meantime: once more, on a new one.
                self._connection.close()
                if is_last:
                    raise Unreachable(
                        f"{self.url} closed the connection ({error}): is it a Lookalike server?"
                    ) from error
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                raise Unreachable(f"{self.url} cannot be asked ({error}): is the server running?") from error
        raise AssertionError

    def _with_picture(self, path: str, picture: Picture, options: dict[str, Any]) -> Any:
        if isinstance(picture, str):
            return self.call("POST", path, fields={"id": picture, **options})
        data = picture.read_bytes() if isinstance(picture, Path) else picture
        name = picture.name if isinstance(picture, Path) else "picture"
        body, kind = _form(list(options.items()), [("image", name, data)])
        return self.call("POST", path, body=body, headers={"Content-Type": kind})


def _gallery(name: str) -> str:
    return f"/galleries/{quote(name, safe='')}"


def _form(fields: Sequence[tuple[str, Any]], files: Sequence[tuple[str, str, bytes]]) -> tuple[bytes, str]:
    """A multipart form and its content type."""
    boundary = uuid.uuid4().hex
    parts = []
    for name, value in fields:
        text = str(value).lower() if isinstance(value, bool) else str(value)
        parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'.encode())
    for name, file, data in files:
        shown = file.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")  # as browsers do
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{shown}"\r\n\r\n'
        parts.append(head.encode() + data + b"\r\n")
    return b"".join([*parts, f"--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}"
