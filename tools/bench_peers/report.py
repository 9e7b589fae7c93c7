"""Results as a table and as a picture."""

from html import escape
from math import log


def base(rows: list[dict], on: str) -> dict | None:
    """What the others on this kind of device are compared with."""
    return next((r for r in rows if r["on"] == on and r["peer"].startswith("loopfm") and "cpu_ms" in r), None)


def times(row: dict, rows: list[dict], clock: str) -> float | None:
    """How many times as long as this project it takes."""
    first = base(rows, row["on"])
    return row[clock] / first[clock] if first and first[clock] and clock in row else None


def table(rows: list[dict]) -> str:
    """Markdown, of one workload and one number of threads."""
    threads = rows[0]["threads"]
    title = f"{rows[0]['workload']}, {threads} thread{'s'[: threads != 1]}"
    lines = [
        f"| {title} | CPU ms | wall ms | times loopfm's, CPU | wall | off | peak MiB | first answer, s | CPU s |",
        "|---|" + "---|" * 8,
    ]
    for row in rows:
        if "inapplicable" in row:
            continue
        if "cpu_ms" not in row:
            lines.append(f"| {row['peer']} | not measured: {row['refused'].replace('|', '/')} |" + " |" * 7)
            continue
        ratios = [times(row, rows, clock) for clock in ("cpu_ms", "wall_ms")]
        ratios = ["" if ratio is None else f"{ratio:.2f}" for ratio in ratios]
        off = f"{row['off']:.0e}" if "off" in row else ""
        cells = [f"{row['cpu_ms']:.2f}", f"{row['wall_ms']:.2f}", *ratios, off, f"{row['peak_mib']:.0f}" if row["peak_mib"] else ""]
        cells += [f"{row['first_seconds']:.1f}", f"{row['first_cpu_seconds']:.1f}"]
        lines.append(f"| {row['peer']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


WIDTH, LABEL, LINE = 900, 260, 560
COLOURS = {"loopfm": "#2a78d6", "other": "#8a8a85"}


def picture(results: list[dict], machine: dict) -> str:
    """Medians, a logarithmic axis for each workload: processor time, which is what software devices cost, or wall time where the
    adapter is silicon."""
    groups: dict[tuple, list[dict]] = {}
    for row in results:
        if "cpu_ms" in row:
            groups.setdefault((row["workload"], row["threads"]), []).append(row)
    on_processors = machine["software"] or not machine["adapter"]
    clock, words = ("cpu_ms", "processor") if on_processors else ("wall_ms", "wall")
    y, body = 56, []
    for (workload, threads), rows in groups.items():
        least, most = min(r[clock] for r in rows), max(r[clock] for r in rows)
        body.append(f'<text class="head" x="16" y="{y + 14}">{escape(workload)}, {threads} thread{"s"[: threads != 1]}</text>')
        y += 24
        for row in sorted(rows, key=lambda r: r[clock]):
            body.append(dot(row, clock, least, most, y))
            y += 20
        y += 14
    about = ", ".join(str(machine[k]) for k in ("cpu", "adapter", "date") if machine[k])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" font-family="system-ui, sans-serif" font-size="12">\n'
        "<style>text{fill:#222}.head{font-weight:600}rect.page{fill:#fff}"
        "@media(prefers-color-scheme:dark){text{fill:#ddd}rect.page{fill:#181818}}</style>\n"
        f'<rect class="page" width="{WIDTH}" height="{y}"/>\n'
        f'<text class="head" x="16" y="24" font-size="15">Milliseconds of {words} time a batch, median; each group from its least to its most, logarithmic</text>\n'
        f'<text x="16" y="42">{escape(about)}</text>\n' + "\n".join(body) + "\n</svg>\n"
    )


def dot(row: dict, clock: str, least: float, most: float, y: int) -> str:
    share = log(row[clock] / least) / log(most / least) if most > least else 0.0
    colour = COLOURS["loopfm" if row["peer"].startswith("loopfm") else "other"]
    at = LABEL + share * LINE
    return (
        f'<text x="{LABEL - 8}" y="{y + 12}" text-anchor="end">{escape(row["peer"])}</text>'
        f'<line x1="{LABEL}" x2="{LABEL + LINE}" y1="{y + 8}" y2="{y + 8}" stroke="#8884"/>'
        f'<circle cx="{at:.1f}" cy="{y + 8}" r="5" fill="{colour}"/>'
        f'<text x="{at + 10:.1f}" y="{y + 12}">{row[clock]:.4g}</text>'
    )
