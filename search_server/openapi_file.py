"""docs/openapi.json: the document that a server gives, for whoever wants it without one.

`python -m search_server.openapi_file docs/openapi.json` writes it anew.
"""

import json
import sys
import tempfile
from pathlib import Path

from flask_openapi import OpenAPI

from search_server.api.documents import describe_api
from search_server.app import create_app
from search_server.service import EXTENSION
from train.files import write_file
from train.workspace import Workspace


def openapi_text() -> str:
    """The document, as it stands in the file."""
    with tempfile.TemporaryDirectory() as nowhere:
        app = create_app({}, workspace=Workspace(Path(nowhere)))
        try:
            assert isinstance(app, OpenAPI)  # noqa: S101  (create_app makes one)
            return json.dumps(describe_api(app), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        finally:
            app.extensions[EXTENSION].close()


if __name__ == "__main__":
    write_file(Path(sys.argv[1]), openapi_text().encode())
