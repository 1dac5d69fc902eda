"""Line charts and histograms as inline SVG, coloured by the page's style sheet: light, dark, and on paper."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 560, 280  # px, before the page scales it
LEFT, RIGHT, TOP, BOTTOM = 46, 20, 12, 40  # px around the field
COLOURS = 8  # classes c0 to c7 of the style sheet; more lines begin again, dashed

STYLE = """\
:root { --c0: #1a5fb4; --c1: #c64600; --c2: #26782f; --c3: #813d9c; --c4: #a51d2d; --c5: #63452c; --c6: #0d7377;
  --c7: #5e5c64 }
@media (prefers-color-scheme: dark) { :root { --c0: #78aeed; --c1: #ffa348; --c2: #72c67a; --c3: #d19be0;
  --c4: #f28b82; --c5: #cdab8f; --c6: #5bc8ca; --c7: #c0bfbc } }
.chart { margin: 0; min-width: 0; max-width: 40rem }
.chart svg { display: block; width: 100%; height: auto }
.chart text { fill: var(--soft); font-size: 12px }
.chart .grid { stroke: var(--line); stroke-width: 1 }
.chart path { fill: none; stroke-width: 2 }
.chart .thin path { stroke-width: 1.5; opacity: .75 }
.chart .bar { opacity: .5 }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1rem; margin: .25rem 0 0; padding: 0; list-style: none;
  font-size: .85rem }
.legend span { display: inline-block; width: 1.5em; border-top: 3px solid; vertical-align: middle; margin-right: .4em }
""" + "".join(
    f".s{n} {{ stroke: var(--c{n}) }} .f{n} {{ fill: var(--c{n}) }} .legend .b{n} {{ border-color: var(--c{n}) }}\n"
    for n in range(COLOURS)
)


@dataclass(frozen=True)
class Line:
    """One line of a chart."""

    name: str
    points: Sequence[tuple[float, float]]
    strong: bool = True  # a model; thinner lines stand for comparison


@dataclass(frozen=True)
class Axis:
    """Where a chart begins and ends, and what is written beside it."""

    name: str
    ticks: Sequence[tuple[float, str]]  # at least two, rising; the outer ones are the edges

    def place(self, value: float) -> float:
        """Where a value lies from 0 to 1."""
        low, high = self.ticks[0][0], self.ticks[-1][0]
        return min(max((value - low) / (high - low), 0.0), 1.0)


def shares(name: str) -> Axis:
    """An axis from 0 to 100 %."""
    return Axis(name, [(step / 5, f"{20 * step} %") for step in range(6)])


def line_chart(title: str, x: Axis, y: Axis, lines: Sequence[Line]) -> str:
    """Lines over two axes, with a legend below."""
    drawn = []
    for number, line in enumerate(lines):
        steps = " L".join(f"{_across(x.place(a)):.1f} {_down(y.place(b)):.1f}" for a, b in line.points)
        dashes = ' stroke-dasharray="5 4"' if number >= COLOURS else ""
        thin = "" if line.strong else ' class="thin"'
        drawn.append(f'<g{thin}><path class="s{number % COLOURS}" d="M{steps}"{dashes}/></g>')
    return _figure(title, x, y, "".join(drawn), [line.name for line in lines])


@dataclass(frozen=True)
class Bars:
    """One histogram."""

    name: str
    edges: Sequence[float]
    heights: Sequence[float]


def histogram(title: str, x: Axis, histograms: Sequence[Bars], mark: tuple[float, str] | None = None) -> str:
    """Histograms over one another, each scaled so that its highest bar is as high as the field."""
    y = Axis("", [(0, ""), (1, "")])
    drawn = []
    for number, bars in enumerate(histograms):
        top = max(bars.heights) or 1
        for low, high, height in zip(bars.edges, bars.edges[1:], bars.heights, strict=False):
            if height:
                left, right = _across(x.place(low)), _across(x.place(high))
                upper = _down(height / top)
                drawn.append(
                    f'<rect class="bar f{number % COLOURS}" x="{left:.1f}" y="{upper:.1f}" '
                    f'width="{max(right - left - 0.5, 0.5):.1f}" height="{_down(0) - upper:.1f}"/>'
                )
    if mark is not None:
        at = _across(x.place(mark[0]))
        left = at > WIDTH / 2
        drawn.append(
            f'<line class="s7" stroke-dasharray="4 3" x1="{at:.1f}" x2="{at:.1f}" y1="{_down(1):.1f}" '
            f'y2="{_down(0):.1f}"/><text x="{at + (-6 if left else 6):.1f}" y="{TOP + 12}" '
            f'text-anchor="{"end" if left else "start"}">{html.escape(mark[1])}</text>'
        )
    return _figure(title, x, y, "".join(drawn), [bars.name for bars in histograms])


def _figure(title: str, x: Axis, y: Axis, drawn: str, names: Sequence[str]) -> str:
    grid = []
    for value, text in y.ticks:
        at = _down(y.place(value))
        grid.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        grid.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{html.escape(text)}</text>')
    for value, text in x.ticks:
        at = _across(x.place(value))
        grid.append(f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{html.escape(text)}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    grid.append(f'<text x="{middle:.0f}" y="{HEIGHT - 6}" text-anchor="middle">{html.escape(x.name)}</text>')
    legend = "".join(
        f'<li><span class="b{number % COLOURS}"></span>{html.escape(name)}</li>' for number, name in enumerate(names)
    )
    said = html.escape(title)
    return (
        f'<figure class="chart"><figcaption>{said}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{said}">{"".join(grid)}{drawn}</svg>'
        f'<ul class="legend">{legend}</ul></figure>'
    )


def _across(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _down(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
