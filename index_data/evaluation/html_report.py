"""What was measured as one HTML file that needs no other: failures first, then figures, curves and sheets."""

import base64
import html
import math
from collections.abc import Sequence

from export.uses.pictures import encode_picture
from index_data.evaluation.charts import STYLE as CHART_STYLE
from index_data.evaluation.charts import Axis, Bars, Line, histogram, line_chart, shares
from index_data.evaluation.copies import Found
from index_data.evaluation.evaluation import LABEL_COLUMNS, Evaluation, SheetRow, percent
from index_data.evaluation.gallery_report import GalleryReport, near_duplicates_of, verdict
from index_data.evaluation.labels import CURVE, Retrieval
from index_data.evaluation.transforms import STRONG
from train.images import Pixels
from train.progress import duration

_STYLE = """\
:root { color-scheme: light dark; --paper: #fff; --ink: #202124; --soft: #5f6368; --line: #dadce0; --mark: #b3261e;
  --good: #1e7b34; --tint: #eef3fb; --heat: 30, 123, 52 }
@media (prefers-color-scheme: dark) {
  :root { --paper: #17181a; --ink: #e8eaed; --soft: #a8adb4; --line: #3c4043; --mark: #f2b8b5; --good: #81c995;
    --tint: #222a36; --heat: 64, 160, 90 } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1rem 1rem 4rem; max-width: 76rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .5rem 0 .25rem }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .25rem; border-top: 1px solid var(--line); padding-top: 1rem }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem }
p { margin: 0 0 .75rem; max-width: 60rem }
.soft, figcaption, caption { color: var(--soft); font-size: .9rem }
.verdict { background: var(--tint); border-radius: .5rem; padding: .75rem 1rem .75rem 2rem; margin: 1rem 0 }
.verdict li { margin: .25rem 0 }
.wide { overflow-x: auto; margin: .5rem 0 1rem }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums }
caption { text-align: left; padding-bottom: .25rem }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap }
th:first-child, td:first-child { text-align: left }
thead th { color: var(--soft); font-weight: 500; vertical-align: bottom }
tr.model { background: var(--tint) }
tr.model td:first-child { font-weight: 600 }
td.best { font-weight: 700 }
td small { font-weight: 400; color: var(--soft); display: block; line-height: 1.1 }
td.failed { color: var(--mark); font-weight: 600 }
.charts { display: grid; gap: 1.5rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)) }
.sheet { display: grid; gap: .75rem; margin: .75rem 0 }
.asked { display: flex; gap: .3rem; align-items: flex-start; overflow-x: auto; padding: .2rem }
.asked figure { margin: 0; width: 5.2rem; flex: none }
.asked figure:first-child { margin-right: .9rem }
.even figure:first-child { margin-right: 0 }
.asked img { display: block; width: 5.2rem; height: 5.2rem; border-radius: .2rem; background: var(--line);
  outline: 1px solid var(--line) }
.asked .wrong img { outline: 3px solid var(--mark) }
.asked .right img { outline: 3px solid var(--good) }
.asked figcaption { font-size: .72rem; line-height: 1.2; overflow: hidden; text-overflow: ellipsis; margin-top: .3rem;
  white-space: nowrap }
.asked figure:first-child figcaption { color: var(--ink); font-weight: 600; white-space: normal }
img.small { image-rendering: pixelated }
details { margin: .5rem 0 } summary { cursor: pointer }
"""


# --- eval -----------------------------------------------------------------------------------------------------------


def evaluation_page(result: Evaluation) -> str:
    """The page of `lookalike eval`."""
    names = ", ".join(result.models)
    parts = [
        f"<h1>How good {_e(names)} {'is' if len(result.models) == 1 else 'are'} on {_e(result.title)}</h1>",
        f'<p class="soft">{result.pictures:,} pictures, seed {result.settings.seed}, measured in '
        f"{duration(result.seconds)} on the exported models.</p>",
        _list(_highlights(result)),
        _labels(result),
        _copies(result),
        _drift(result),
        _reconstruction(result),
        _notes(result.notes),
    ]
    return _page(f"{names} on {result.title}", "\n".join(part for part in parts if part))


def _highlights(result: Evaluation) -> list[str]:
    """What a reader should know who reads nothing else; what is weak comes first."""
    said: list[tuple[bool, str]] = []
    floors = [each for each in result.retrievals if not each.is_model]
    for found in (each for each in result.retrievals if each.is_model):
        best = max(floors, key=lambda each: each.figures["mAP"].value)
        ours, floor = found.figures["mAP"].value, best.figures["mAP"].value
        than = "above" if ours > floor else "below"
        said.append(
            (
                ours <= floor,
                f"{found.method} has an mAP of {100 * ours:.1f} %, {than} the best of what needs no training "
                f"({best.method}, {100 * floor:.1f} %).",
            )
        )
    for name in result.models:
        answers = [each for each in result.finding.get(name, []) if each.transform.severity]
        failed = sorted((each for each in answers if not each.passed), key=lambda each: each.recall)
        if failed:
            worst = ", ".join(f"{each.transform.name} ({100 * each.recall:.0f} %)" for each in failed[:4])
            many = f"{len(failed)} of {len(answers)}"
            said.append((True, f"{name} finds too few originals of {many} kinds of copies; the fewest: {worst}."))
        elif answers:
            said.append((False, f"{name} finds enough originals of all {len(answers)} kinds of copies."))
    for rebuilt in result.reconstructions:
        ours, linear = rebuilt.rows[0].mse, rebuilt.rows[-1].mse
        share = abs(1 - ours / linear) if linear else 0.0
        said.append(
            (
                ours > linear,
                f"{rebuilt.method} rebuilds pictures with an error {100 * share:.0f} % "
                f"{'above' if ours > linear else 'below'} that of {rebuilt.rows[-1].name}.",
            )
        )
    return [text for _, text in sorted(said, key=lambda each: not each[0])]


def _labels(result: Evaluation) -> str:
    if result.protocol is None:
        return ""
    best = {name: max(each.figures[name].value for each in result.retrievals) for name in LABEL_COLUMNS}
    rows = []
    for each in result.retrievals:
        cells = []
        for name in LABEL_COLUMNS:
            figure = each.figures[name]
            half = 50 * (figure.high - figure.low)
            marked = _class("best" * (figure.value == best[name]))
            cells.append(f"<td{marked}>{100 * figure.value:.1f}<small>± {half:.1f}</small></td>")
        rows.append(_row(each.method, each.is_model, [f"<td>{each.dims:,}</td>", *cells]))
    lines = [
        Line(each.method, [(math.log10(k), share) for k, share in zip(CURVE, each.curve, strict=True)], each.is_model)
        for each in _shown(result.retrievals)
    ]
    x = Axis("pictures looked at", [(math.log10(k), str(k)) for k in CURVE])
    sheets = "".join(
        _sheet(f"Worst answers of {name}", rows_, "Framed red: another label than the query's.")
        + _sheet(f"Answers of {name} without a mistake", result.right.get(name, []), "")
        for name, rows_ in result.wrong.items()
    )
    return f"""\
<h2>Pictures of the same kind</h2>
<p class="soft">{_e(result.protocol.sentence)} Per cent, with half the width of the 95 % interval below; the best of
each column is bold. kNN: the label that the nearest neighbours choose, weighted by exp(cosine / T).</p>
{_table(["", "dims", *LABEL_COLUMNS], rows)}
<div class="charts">{line_chart("Queries with a right picture among the first", x, shares("queries"), lines)}</div>
{sheets}"""


def _shown(retrievals: Sequence[Retrieval]) -> list[Retrieval]:
    """Models, and of the others those that differ: eleven lines are a tangle."""
    return [each for each in retrievals if each.is_model or "whitened PCA" not in each.method]


def _copies(result: Evaluation) -> str:
    if not result.detections:
        return ""
    columns = ["mAP", "uAP", "uAP normalised", "uAP prominence"]
    values = {
        each.method: (each.mean_ap.value, each.micro_ap, each.micro_ap_normalised, each.micro_ap_prominence)
        for each in result.detections
    }
    best = [max(value[column] or 0.0 for value in values.values()) for column in range(len(columns))]
    rows = []
    for each in result.detections:
        answers = [found for found in result.finding[each.method] if found.transform.severity]
        passed = sum(found.passed for found in answers)
        cells = [
            f"<td{_class('best' * (value == best[column]))}>{percent(value)}</td>"
            for column, value in enumerate(values[each.method])
        ]
        rows.append(
            _row(
                each.method, each.is_model, [f"<td>{each.dims:,}</td>", *cells, f"<td>{passed} of {len(answers)}</td>"]
            )
        )
    lines = [Line(each.method, each.curve, each.is_model) for each in result.detections]
    chart = line_chart("Precision: one threshold for all copies", shares("copies found"), shares("precision"), lines)
    sheets = "".join(
        _sheet(
            f"Copies whose original {name} does not find first",
            rows_,
            "Left the copy that asked, then its original; framed green: where the original was found.",
            framed="right",
        )
        for name, rows_ in result.missed.items()
    )
    return f"""\
<h2>Copies</h2>
<p class="soft">{len(STRONG)} strong copies of each of {result.originals:,} pictures look for their originals among
{result.searched:,} pictures. uAP: one threshold decides for all queries; normalised: less the mean of a query's three
best scores among {result.background:,} pictures that are not searched; prominence: as near-duplicates are told in a
gallery, by what is ordinary around both pictures.</p>
{_table(["", "dims", *columns, "kinds passed"], rows)}
<div class="charts">{chart}</div>
{_finding_table(result.finding, list(result.finding))}
{sheets}"""


def _finding_table(finding: dict[str, list[Found]], names: Sequence[str]) -> str:
    """How often originals are found first: kinds of copies down, methods across."""
    rows = []
    for number, each in enumerate(finding[names[0]]):
        cells = [f"<td>{100 * each.transform.passes:.0f}</td>"]
        for name in names:
            found = finding[name][number]
            told = f"MRR {found.mrr:.3f}, median score {found.score:.3f}"
            cells.append(_heat(found, f"{100 * found.recall:.0f}", told))
        rows.append(_row(each.transform.name, False, cells))
    return f"""\
<h3>Originals found first</h3>
<p class="soft">Per cent of copies of each kind; red: fewer than needed.</p>
{_table(["", "needed", *names], rows)}"""


def _heat(found: Found, text: str, told: str = "") -> str:
    """A cell that is the greener, the more originals were found."""
    title = f' title="{told}"' if told else ""
    colour = f"background:rgba(var(--heat),{0.45 * found.recall:.2f})"
    return f'<td{_class("failed" * (not found.passed))} style="{colour}"{title}>{text}</td>'


def _drift(result: Evaluation) -> str:
    if not result.drifts:
        return ""
    names = list(result.drifts[0].rows)
    rows = []
    for name in names:
        cells = [f"<td>{each.rows[name][0]:.4f}</td><td>{each.rows[name][1]:.4f}</td>" for each in result.drifts]
        rows.append(_row(name, False, cells))
    heads = [head for each in result.drifts for head in (f"{each.method}, median", "95 %")]
    return f"""\
<h2>Drift</h2>
<p class="soft">How far an embedding moves (1 - cosine) when a picture is saved, shrunk or cut anew.</p>
{_table(["", *heads], rows)}"""


def _reconstruction(result: Evaluation) -> str:
    parts = []
    for each in result.reconstructions:
        least = min(row.mse for row in each.rows)
        rows = [
            _row(
                row.name,
                number == 0,
                [
                    f"<td>{row.dims:,}</td>",
                    f"<td{_class('best' * (row.mse == least))}>{row.mse:.5f}</td>",
                    f"<td>{row.psnr:.2f}</td><td>{row.ssim:.3f}</td>",
                ],
            )
            for number, row in enumerate(each.rows)
        ]
        morph = ""
        if each.morphs:
            found = each.morphs
            morph = (
                f"<p>{found.pairs} morphs: {_e(found.closeness)}; {100 * found.monotone:.0f} % of the ways never turn "
                f"back; the middle frame has {100 * found.sharpness:.0f} % of the ends' fine detail, a cross-fade "
                f"{100 * found.cross_fade:.0f} %.{_e(found.verdicts)}</p>"
            )
        strips = "".join(_strip(name, row) for name, row in each.sheet)
        parts.append(
            f"<h3>{_e(each.method)}</h3>{_table(['', 'dims', 'MSE', 'PSNR, dB', 'SSIM'], rows)}{morph}"
            f'<div class="sheet">{strips}</div>'
        )
    if not parts:
        return ""
    first = result.reconstructions[0]
    return f"""\
<h2>Reconstruction</h2>
<p class="soft">{first.measured:,} pictures; principal components were found in {first.learnt:,}
{"others" if first.held_out else "pictures, these among them"}.</p>
{"".join(parts)}"""


def _strip(name: str, row: Pixels) -> str:
    """Pictures side by side, with a name below the first."""
    figures = [_figure(pixels, "" if number else name) for number, pixels in enumerate(row)]
    return f'<div class="asked even">{"".join(figures)}</div>'


def _sheet(title: str, rows: Sequence[SheetRow], told: str, framed: str = "wrong") -> str:
    if not rows:
        return ""
    lines = []
    for row in rows:
        figures = [_figure(row.query, row.label)]
        if row.original is not None:
            figures.append(_figure(row.original, "original"))
        for pixels, label, score, right in row.found:
            frame = ("right" if right else "") if framed == "right" else ("" if right else "wrong")
            figures.append(_figure(pixels, f"{score:.3f} {label}".strip(), frame))
        lines.append(f'<div class="asked">{"".join(figures)}</div>')
    told = f'<p class="soft">{_e(told)}</p>' if told else ""
    return f'<h3>{_e(title)}</h3>{told}<div class="sheet">{"".join(lines)}</div>'


def _figure(pixels: Pixels, caption: str, frame: str = "") -> str:
    small = _class("small" * (len(pixels) <= 48))
    uri = f"data:image/webp;base64,{base64.b64encode(encode_picture(pixels, 'webp')).decode()}"
    text = _e(caption)
    return (
        f'<figure{_class(frame)}><img{small} src="{uri}" alt="{text}">'
        f'<figcaption title="{text}">{text or "&nbsp;"}</figcaption></figure>'
    )


# --- report ---------------------------------------------------------------------------------------------------------


def gallery_page(report: GalleryReport) -> str:
    """The page of `lookalike report`."""
    hubs = report.hubs
    figures = [
        ("RankMe", f"{report.rank_me:.1f}", f"dimensions that are really used, of {report.most_dims:,}"),
        ("alpha-ReQ", f"{report.alpha_req:.2f}", "how fast variances fall; about 1 is good"),
        ("alignment", f"{report.alignment:.3f}", "squared distance of picture and copy; 0 is best, 2 is chance"),
        ("uniformity", f"{report.uniformity:.2f}", "how evenly embeddings are spread; 0 all alike, -4 evenly"),
        ("random pairs", f"{report.random_score:.3f}", "median score of two pictures by chance"),
        ("hubness", f"{hubs.skewness:.2f}", "skewness of how often a picture is a neighbour; 0 is even"),
        ("anti-hubs", f"{100 * hubs.anti_hubs:.0f} %", "pictures that are among nobody's 10 nearest"),
    ]
    rows = [
        _row(name, False, [f"<td>{value}</td>", f'<td style="text-align:left">{_e(what)}</td>'])
        for name, value, what in figures
    ]
    order = sorted(report.finding, key=lambda found: (found.passed, found.recall))
    found_rows = [
        _row(
            each.transform.name,
            False,
            [
                f"<td>{100 * each.transform.passes:.0f}</td>",
                _heat(each, f"{100 * each.recall:.1f}"),
                f"<td>{each.mrr:.3f}</td><td>{each.score:.3f}</td>",
            ],
        )
        for each in order
    ]
    low = report.histograms[0].edges[0]
    steps = round(5 * (1 - low))
    ticks = [(low + step / 5, f"{low + step / 5:.1f}") for step in range(steps + 1)]
    chart = histogram(
        "Scores",
        Axis("score (cosine)", ticks),
        [Bars(each.name, each.edges, each.shares) for each in report.histograms],
        (report.threshold.score, f"near-duplicates from {report.threshold.score:.2f}"),
    )
    alpha = ""
    if report.alpha:
        tried = [
            _row(f"{a:g}", a == report.alpha.present, [f"<td>{100 * r:.1f}</td>"])
            for a, r in report.alpha.recalls.items()
        ]
        alpha = f"""\
<h2>Weight of the pixel half</h2>
<p class="soft">Originals found first, per cent, for other values of alpha; the model has the tinted one.</p>
{_table(["alpha", "found first"], tried)}"""
    slight = len(near_duplicates_of())
    body = f"""\
<h1>How well {_e(report.gallery)} finds what it should</h1>
<p class="soft">{report.pictures:,} different pictures, model {_e(str(report.model["name"]))} with
{report.model["dims"]:,} dimensions, copies made of {report.sampled:,} pictures, seed {report.seed}.</p>
{_list(verdict(report))}
<h2>Find the original</h2>
<p class="soft">Copies of the gallery's own pictures are the queries, and only the picture they were made of counts.
Failures first.</p>
{_table(["", "needed, %", "found first, %", "MRR", "median score"], found_rows)}
<h2>Scores</h2>
<p class="soft">The threshold tells {slight} kinds of slight copies best from the nearest other picture. Each histogram
is as high as its own highest bar.</p>
<div class="charts">{chart}</div>
<h2>The embeddings</h2>
{_table(["", "", ""], rows)}
{alpha}
{_notes(report.notes)}"""
    return _page(f"Report on {report.gallery}", body)


# --- pieces ---------------------------------------------------------------------------------------------------------


def _page(title: str, body: str) -> str:
    return f"""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{_e(title)}</title>
<style>
{_STYLE}{CHART_STYLE}</style>
</head>
<body>
{body}
</body>
</html>
"""


def _table(heads: Sequence[str], rows: Sequence[str]) -> str:
    cells = "".join(f'<th scope="col">{_e(head)}</th>' for head in heads)
    head = f"<thead><tr>{cells}</tr></thead>" if any(heads) else ""
    return f'<div class="wide"><table>{head}<tbody>{"".join(rows)}</tbody></table></div>'


def _row(name: str, is_model: bool, cells: Sequence[str]) -> str:
    return f"<tr{_class('model' * is_model)}><td>{_e(name)}</td>{''.join(cells)}</tr>"


def _list(sentences: Sequence[str]) -> str:
    return f'<ul class="verdict">{"".join(f"<li>{_e(each)}</li>" for each in sentences)}</ul>' if sentences else ""


def _notes(notes: Sequence[str]) -> str:
    listed = "".join(f"<li>{_e(note)}</li>" for note in notes)
    return f'<h2>Notes</h2><ul class="soft">{listed}</ul>' if notes else ""


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def _e(text: str) -> str:
    return html.escape(text)
