"""The answers of many searches as one file: JSON lines, CSV, or an HTML page that shows them."""

import base64
import csv
import html
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from train.errors import SettingsError

FORMATS = (".jsonl", ".csv", ".html")
COLUMNS = (
    "query",
    "rank",
    "score",
    "percentile",
    "label",
    "stands_out",
    "same_picture",
    "id",
    "file",
    "sha256",
    "width",
    "height",
    "problem",
)

Answer = dict[str, Any]  # query and hits, or query and problem, as `search --json` has them
Thumbnail = Callable[[str], bytes | None]  # WebP, by the sha256 of a hit


def expect_format(output: Path) -> None:
    """Refuse a file whose name does not say which kind it is.

    Raises:
        SettingsError: It does not.
    """
    if output.suffix.lower() not in FORMATS:
        raise SettingsError(f"{output} ends in none of {', '.join(FORMATS)}: name the list so.")


def answers_as(suffix: str, answers: Sequence[Answer], thumbnail: Thumbnail) -> str:
    """The content of a list of answers.

    Args:
        suffix: One of `FORMATS`.
        answers: In the order of the queries.
        thumbnail: Of hits; only the page asks for them.
    """
    if suffix == ".jsonl":
        return "".join(f"{json.dumps(answer)}\n" for answer in answers)
    return _csv(answers) if suffix == ".csv" else _page(answers, thumbnail)


TURNED_FROM, PART_FROM = 2.0, 0.97  # degrees, and share, from which it is worth a word
COPIES = ("identical", "near-duplicate")  # labels that say by themselves why a hit comes first


def lying_words(mirrored: bool, turned: float, shown: float, **_more: object) -> str:
    """How a picture lies on another: `mirrored, turned by 10 degrees, 52 % of it`; empty where it is just the whole."""
    said = ["mirrored"] if mirrored else []
    if abs(turned) >= TURNED_FROM:
        said.append(f"turned by {abs(turned):.0f} degrees")
    if shown < PART_FROM:
        said.append(f"{100 * shown:.0f} % of it")
    return ", ".join(said)


def label_words(hit: dict[str, Any]) -> str:
    """What the score of a hit means, and why it comes first where it does so for another reason.

    Reasons: `index_data.same_picture`, `index_data.standing_out`.
    """
    label = str(hit["label"])
    if same := hit.get("same_picture"):
        return ", ".join(filter(None, ("same picture", lying_words(**same))))
    return f"{label}, stands out" if hit.get("stands_out") and label not in COPIES else label


def _csv(answers: Sequence[Answer]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", extrasaction="ignore")
    writer.writeheader()
    for answer in answers:
        if "problem" in answer:
            writer.writerow({"query": _harmless(answer["query"]), "problem": answer["problem"]["code"]})
        for hit in answer.get("hits", ()):
            same = lying_words(**hit["same_picture"]) or "whole" if hit.get("same_picture") else None
            named = {"query": _harmless(answer["query"]), "file": _harmless(hit["file"])}
            writer.writerow({**hit, "same_picture": same, **named})
    return text.getvalue()


def _harmless(text: str) -> str:
    """A name that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 80rem; margin: 2rem auto; padding: 0 1rem; }
section { margin-bottom: 2.5rem; }
h2 { font-size: 1rem; overflow-wrap: anywhere; }
ol { display: flex; flex-wrap: wrap; gap: .75rem; padding: 0; list-style: none; }
figure { width: 9rem; margin: 0; font-size: .8rem; }
img { width: 9rem; height: 7rem; object-fit: cover; border-radius: .4rem; }
figcaption { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
"""


def _page(answers: Sequence[Answer], thumbnail: Thumbnail) -> str:
    sections = "\n".join(_section(answer, thumbnail) for answer in answers)
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{len(answers):,} searches</title>\n<style>{_STYLE}</style>\n<h1>{len(answers):,} searches</h1>\n"
        f"{sections}\n</html>\n"
    )


def _section(answer: Answer, thumbnail: Thumbnail) -> str:
    title = f"<h2>{html.escape(answer['query'])}</h2>"
    if "problem" in answer:
        return f"<section>{title}<p>{html.escape(answer['problem']['detail'])}</p></section>"
    far = "<p>Nothing is much like it: these are only the nearest.</p>" if answer.get("warning") else ""
    hits = "".join(_figure(hit, thumbnail(hit["sha256"])) for hit in answer["hits"])
    return f"<section>{title}{far}<ol>{hits}</ol></section>"


def _figure(hit: dict[str, Any], webp: bytes | None) -> str:
    name = html.escape(hit["file"], quote=True)
    picture = ""
    if webp is not None:
        picture = f'<img src="data:image/webp;base64,{base64.b64encode(webp).decode("ascii")}" alt="{name}">'
    words = f"{hit['score']:.4f} {html.escape(label_words(hit))}"
    return f'<li><figure title="{name}">{picture}<figcaption>{words}<br>{name}</figcaption></figure></li>'
