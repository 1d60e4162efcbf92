"""The plots: throughput over time, latency percentiles, scaling over threads and over topics. Drawn from results.json
alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes

__all__ = ["draw"]

PERCENTILES: Final = ("p50", "p99", "p99.9", "p99.99")
COLOURS: Final = pyplot.get_cmap("tab20").colors
MARKERS: Final = "osD^v<>phX*P"


def style(results: dict[str, Any], rival: str) -> dict[str, Any]:
    """The same colour and marker for a rival in every plot."""
    at = list(results["rivals"]).index(rival)
    return {
        "color": COLOURS[at % len(COLOURS)],
        "marker": MARKERS[at % len(MARKERS)],
        "label": results["rivals"][rival],
        "markersize": 4,
    }


def rates_over_time(series: list[list[float]]) -> tuple[list[float], list[float]]:
    """Entries a second between one look and the next."""
    times, rates, before = [], [], [0.0, 0.0]
    for point in series:
        if point[0] > before[0]:
            times.append(point[0])
            rates.append((point[1] - before[1]) / (point[0] - before[0]))
        before = point
    return times, rates


def finish(axes: list[Axes], path: Path, title: str) -> None:
    """Legends that are not empty, a grid, the file."""
    for one in axes:
        one.grid(True, which="major", alpha=0.3)
        if one.get_legend_handles_labels()[0]:
            one.legend(fontsize=7)
    figure = axes[0].figure
    figure.suptitle(title)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    pyplot.close(figure)


def panels(count: int) -> list[Axes]:
    """Side by side."""
    _, axes = pyplot.subplots(1, count, figsize=(6.5 * count, 4.5), squeeze=False)
    return list(axes[0])


def over_time(results: dict[str, Any], output: Path) -> None:
    """The long runs; of several rounds the last."""
    rows = [row for row in results["workloads"] if row["group"] == "long"]
    rows = [row for row in rows if any(run["workload"] == row["name"] and run.get("series") for run in results["runs"])]
    if not rows:
        return
    axes = panels(len(rows))
    for one, row in zip(axes, rows, strict=True):
        last = {
            run["rival"]: run["series"]
            for run in results["runs"]
            if run["workload"] == row["name"] and run.get("series")
        }
        for rival, series in last.items():
            look = {**style(results, rival), "marker": ""}
            one.plot(*rates_over_time(series), **look)
        one.set(title=row["title"], xlabel="seconds", ylabel="entries/s", yscale="log")
    finish(axes, output / "throughput_over_time.png", "Ten threads, a topic each, 500-1,024 B: throughput over time")


def latencies(results: dict[str, Any], output: Path) -> None:
    """Percentiles of a call: ten threads without a sync, and synced."""
    wanted = ("threads10", "threads10_200ms", "fsync_1", "fsync_10", "fsync_64")
    rows = [row for row in results["workloads"] if row["name"] in wanted and row["name"] in results["summary"]]
    if not rows:
        return
    axes = panels(len(rows))
    for one, row in zip(axes, rows, strict=True):
        for rival, figures in results["summary"][row["name"]].items():
            names = [name for name in PERCENTILES if name in figures]
            if names and (row["limit"] == "fdatasync" or rival != "fio"):
                one.plot(names, [figures[name]["median"] / 1000 for name in names], **style(results, rival))
        one.set(title=f"{row['group']}: {row['title']}", ylabel="µs", yscale="log")
    finish(axes, output / "latency.png", "Latency of one append")


def scaling(
    results: dict[str, Any],
    output: Path,
    workloads: dict[str, int],
    figure: str,
    path: str,
    title: str,
    axis: tuple[str, str],
) -> None:
    """One figure over a number that grows."""
    present = {name: number for name, number in workloads.items() if name in results["summary"]}
    if len(present) < 2:
        return
    axes = panels(1)
    for rival in results["rivals"]:
        points = [
            (number, results["summary"][name][rival][figure]["median"])
            for name, number in present.items()
            if figure in results["summary"][name].get(rival, {})
        ]
        if points:
            axes[0].plot([point[0] for point in points], [point[1] for point in points], **style(results, rival))
    axes[0].set(xlabel=axis[0], ylabel=axis[1], xscale="log", yscale="log")
    finish(axes, output / path, title)


def draw(results: dict[str, Any], output: Path) -> None:
    """All for which there are figures."""
    over_time(results, output)
    latencies(results, output)
    threads = {f"fsync_{number}": number for number in (1, 10, 64)}
    scaling(
        results,
        output,
        threads,
        "rate",
        "scaling_threads.png",
        "Each append durable when it returns",
        ("threads", "entries/s"),
    )
    topics = {f"topics_{number}": number for number in (1, 1000, 10_000)}
    scaling(
        results,
        output,
        topics,
        "sync_seconds",
        "scaling_topics.png",
        "A sync of one new entry in each topic",
        ("topics", "seconds"),
    )
