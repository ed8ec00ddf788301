"""Plot: curves over logarithmic axes as a small SVG, readable on light and dark pages."""

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 560, 340
LEFT, RIGHT, TOP, BOTTOM = 76, 16, 44, 48
COLOURS = ("#0f7b6c", "#c2570c", "#5b5bd6", "#b0306a")  # three to one on white and on #111 alike

Curve = Sequence[tuple[float, float]]


def svg(title: str, across: str, up: str, curves: Mapping[str, Curve]) -> str:
    """Curves by name, each a row of (x, y), all above 0."""
    points = [point for curve in curves.values() for point in curve]
    xs, ys = (_decades([point[axis] for point in points]) for axis in (0, 1))
    body = "\n".join(_parts(title, across, up, curves, xs, ys))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'font-family="sans-serif" font-size="12" fill="#777">\n<title>{escape(title)}</title>\n{body}\n</svg>\n'
    )


def _parts(
    title: str, across: str, up: str, curves: Mapping[str, Curve], xs: range, ys: range
) -> Iterator[str]:
    yield f'<text x="{LEFT}" y="18" font-size="14">{escape(title)}</text>'
    for power in xs:
        x = _place(10.0**power, xs, LEFT, WIDTH - RIGHT)
        yield f'<path d="M{x:.0f} {TOP}V{HEIGHT - BOTTOM}" stroke="#8884"/>'
        yield f'<text x="{x:.0f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{10.0**power:,g}</text>'
    for power in ys:
        y = _place(10.0**power, ys, HEIGHT - BOTTOM, TOP)
        yield f'<path d="M{LEFT} {y:.0f}H{WIDTH - RIGHT}" stroke="#8884"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4:.0f}" text-anchor="end">{10.0**power:,g}</text>'
    yield f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 10}" text-anchor="middle">{escape(across)}</text>'
    yield f'<text x="{LEFT}" y="{TOP - 8}">{escape(up)}</text>'
    for (name, curve), colour in zip(curves.items(), COLOURS, strict=False):
        at = [(_place(x, xs, LEFT, WIDTH - RIGHT), _place(y, ys, HEIGHT - BOTTOM, TOP)) for x, y in curve]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
        yield f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>'
        yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in at)
        x, y = at[-1]
        yield f'<text x="{x:.0f}" y="{y - 8:.0f}" text-anchor="end" fill="{colour}">{escape(name)}</text>'


def _decades(values: Sequence[float]) -> range:
    """The powers of ten from below the least to above the greatest."""
    least, most = (math.log10(end(values)) for end in (min, max))
    return range(math.floor(least), max(math.ceil(most), math.floor(least) + 1) + 1)


def _place(value: float, decades: range, first: float, last: float) -> float:
    return first + (math.log10(value) - decades[0]) / (decades[-1] - decades[0]) * (last - first)
