"""Renders the recorded results to a page and a picture, from the files in results/ alone, without network.

    python asv_bench/render.py [DIRECTORY]      (default: build/asv) writes index.html and benchmarks.png there

Needs matplotlib: `make asv-page` runs it. Each line is relative to its own first commit: what counts is where it
bends.
"""

import html
import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

HERE = Path(__file__).resolve().parent
COLUMNS = 3
STYLE = """body { font: 15px/1.5 sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; color: #222 }
img { max-width: 100% }
table { border-collapse: collapse; font-size: 13px; margin: 1em 0; display: block; overflow-x: auto }
th, td { padding: .2em .6em; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap }
th:first-child, td:first-child { text-align: left } .worse { color: #b00 } .better { color: #070 }"""


def commits():
    """Hash to (place in history, subject)."""
    lines = subprocess.run(
        ["git", "-C", str(HERE), "log", "--reverse", "--format=%H %s"], check=True, capture_output=True, text=True
    ).stdout
    return {line.split(" ", 1)[0]: (place, line.split(" ", 1)[1]) for place, line in enumerate(lines.splitlines())}


def values(result, columns):
    """(parameters, value) of each combination that was measured."""
    row = dict(zip(columns, result, strict=False))
    names = itertools.product(*row["params"]) if row["params"] else [()]
    for parameters, value in zip(names, row["result"] or [], strict=False):
        if value is not None and not math.isnan(value):
            yield " ".join(parameter.strip("'") for parameter in parameters), value


def recorded(machine, history):
    """{benchmark: {parameters: {commit: value}}}, commits in the order of history."""
    series = {}
    files = [json.loads(path.read_text()) for path in machine.glob("*.json") if path.name != "machine.json"]
    for file in sorted(
        (file for file in files if file["commit_hash"] in history), key=lambda file: history[file["commit_hash"]]
    ):
        for name, result in file["results"].items():
            for parameters, value in values(result, file["result_columns"]):
                series.setdefault(name, {}).setdefault(parameters, {})[file["commit_hash"]] = value
    return dict(sorted(series.items()))


def shown(value, unit):
    """A value with its unit, three digits."""
    if unit == "seconds":
        for factor, name in ((1, "s"), (1e-3, "ms"), (1e-6, "µs")):
            if value >= factor or name == "µs":
                return f"{value / factor:.3g} {name}"
    return f"{value / 2**20:.0f} MiB" if unit == "bytes" else f"{value:.3f}"


def draw(series, order, path):
    figure, axes = pyplot.subplots(
        -(-len(series) // COLUMNS),
        COLUMNS,
        squeeze=False,
        sharex=True,
        figsize=(5 * COLUMNS, 2.3 * -(-len(series) // COLUMNS)),
    )
    for axis in axes.flat[len(series) :]:
        axis.set_axis_off()
    for axis, (name, lines) in zip(axes.flat, series.items(), strict=False):
        for parameters, points in lines.items():
            first = next(iter(points.values()))
            axis.plot(
                [order.index(commit) for commit in points],
                [value / first for value in points.values()],
                marker=".",
                label=parameters or None,
            )
        axis.set_title(name, fontsize=9)
        axis.set_ylim(0, max(2, axis.get_ylim()[1]))
        axis.grid(alpha=0.3)
        axis.set_xticks(range(len(order)), [commit[:7] for commit in order], rotation=90, fontsize=6)
        if any(lines):
            axis.legend(fontsize=6)
    figure.suptitle("Cost from commit to commit, relative to the first one recorded (less is better)", fontsize=11)
    figure.tight_layout(rect=(0, 0, 1, 0.99))
    figure.savefig(path, dpi=70)
    pyplot.close(figure)


def row(label, points, order, unit):
    cells = [f"<td>{shown(points[commit], unit) if commit in points else '–'}</td>" for commit in order]
    known = list(points.values())
    change = known[-1] / known[0] - 1
    kind = "worse" if change > 0.1 else "better" if change < -0.1 else ""
    return f"<tr><td>{html.escape(label)}</td>{''.join(cells)}<td class='{kind}'>{change:+.0%}</td></tr>"


def page(machine, series, order, history, units):
    about = json.loads((machine / "machine.json").read_text())
    head = "".join(f"<th title='{html.escape(history[commit][1], quote=True)}'>{commit[:7]}</th>" for commit in order)
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>walrus: from commit to commit</title>",
        f"<style>{STYLE}</style><h1>Cost from commit to commit</h1>",
        f"<p>{html.escape(about['cpu'])}, {about['num_cpu']} CPUs, {about['ram']}, {about['os']}.",
        "Medians of few samples on a machine that others used as well: a step that stays is a change, a single point",
        "is none. The last column is the newest against the oldest recorded.</p>",
        "<img src='benchmarks.png' alt='Cost over commits'>",
    ]
    for name, lines in series.items():
        rows = "".join(
            row(parameters or "–", points, order, units.get(name, "seconds")) for parameters, points in lines.items()
        )
        parts.append(f"<h2>{html.escape(name)}</h2><table><tr><th></th>{head}<th></th></tr>{rows}</table>")
    return "\n".join(parts) + "</html>\n"


def main():
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent / "build" / "asv"
    history = commits()
    units = {
        name: value["unit"]
        for name, value in json.loads((HERE / "results" / "benchmarks.json").read_text()).items()
        if name != "version"
    }
    machines = sorted(path.parent for path in (HERE / "results").glob("*/machine.json"))
    for machine in machines:
        series = recorded(machine, history)
        order = sorted(
            {commit for lines in series.values() for points in lines.values() for commit in points}, key=history.get
        )
        directory = target / machine.name
        directory.mkdir(parents=True, exist_ok=True)
        draw(series, order, directory / "benchmarks.png")
        (directory / "index.html").write_text(page(machine, series, order, history, units))
        print(f"{directory}/index.html: {len(series)} benchmarks, {len(order)} commits")


if __name__ == "__main__":
    main()
