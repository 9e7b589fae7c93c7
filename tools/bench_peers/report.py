"""Results as a table and as a picture."""

from html import escape


def base(rows: list[dict], on: str) -> dict | None:
    """What the others on this kind of device are compared with."""
    return next((r for r in rows if r["on"] == on and r["peer"].startswith("loopfm") and "cpu_ms" in r), None)


def times(row: dict, rows: list[dict], clock: str) -> float | None:
    """How many times as long as this project it takes."""
    first = base(rows, row["on"])
    return row[clock] / first[clock] if first and clock in row else None


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
        ratios = [f"{times(row, rows, clock):.2f}" if base(rows, row["on"]) else "" for clock in ("cpu_ms", "wall_ms")]
        off = f"{row['off']:.0e}" if "off" in row else ""
        cells = [f"{row['cpu_ms']:.2f}", f"{row['wall_ms']:.2f}", *ratios, off, f"{row['peak_mib']:.0f}"]
        cells += [f"{row['first_seconds']:.1f}", f"{row['first_cpu_seconds']:.1f}"]
        lines.append(f"| {row['peer']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


WIDTH, LABEL, BAR = 900, 260, 560
COLOURS = {"loopfm": "#2a78d6", "other": "#8a8a85"}


def picture(results: list[dict], machine: dict) -> str:
    """Medians as bars, a logarithmic axis for each workload: processor time, which is what software devices cost, or wall time
    where the adapter is silicon."""
    groups: dict[tuple, list[dict]] = {}
    for row in results:
        if "cpu_ms" in row:
            groups.setdefault((row["workload"], row["threads"]), []).append(row)
    silicon = machine["adapter"] and "llvmpipe" not in machine["adapter"]
    clock, words = ("wall_ms", "wall") if silicon else ("cpu_ms", "processor")
    y, body = 56, []
    for (workload, threads), rows in groups.items():
        least, most = min(r[clock] for r in rows), max(r[clock] for r in rows)
        body.append(f'<text class="head" x="16" y="{y + 14}">{escape(workload)}, {threads} thread{"s"[: threads != 1]}</text>')
        y += 24
        for row in sorted(rows, key=lambda r: r[clock]):
            body.append(bar(row, clock, least / 2, most, y))
            y += 20
        y += 14
    about = ", ".join(str(machine[k]) for k in ("cpu", "adapter", "date") if machine[k])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" font-family="system-ui, sans-serif" font-size="12">\n'
        "<style>text{fill:#222}.head{font-weight:600}rect.page{fill:#fff}"
        "@media(prefers-color-scheme:dark){text{fill:#ddd}rect.page{fill:#181818}}</style>\n"
        f'<rect class="page" width="{WIDTH}" height="{y}"/>\n'
        f'<text class="head" x="16" y="24" font-size="15">Milliseconds of {words} time a batch, median; logarithmic</text>\n'
        f'<text x="16" y="42">{escape(about)}</text>\n' + "\n".join(body) + "\n</svg>\n"
    )


def bar(row: dict, clock: str, least: float, most: float, y: int) -> str:
    from math import log

    share = log(row[clock] / least) / log(most / least)
    colour = COLOURS["loopfm" if row["peer"].startswith("loopfm") else "other"]
    end = LABEL + max(2.0, share * BAR)
    return (
        f'<text x="{LABEL - 8}" y="{y + 12}" text-anchor="end">{escape(row["peer"])}</text>'
        f'<rect x="{LABEL}" y="{y + 2}" width="{end - LABEL:.1f}" height="13" fill="{colour}"/>'
        f'<text x="{end + 6:.1f}" y="{y + 12}">{row[clock]:.4g}</text>'
    )
