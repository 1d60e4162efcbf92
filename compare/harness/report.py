"""Medians and spread, and the Markdown table made of them. Everything comes out of results.json: nothing is measured
here."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any, Final

from .workloads import GROUPS, Workload

__all__ = ["figure_text", "markdown", "summarize"]

MB: Final = 1e6
RATIO_RIVALS: Final = ("walrus_rust", "rocksdb", "rocksdb_wal", "kafka")
# What counts in a group, and whether more of it is better.
METRICS: Final = {"topics": ("sync_seconds", False), "reopen": ("seconds", False), "space": ("stored_ratio", False)}
SHOWN_LATENCIES: Final = ("p50", "p99", "p99.9", "p99.99", "max")
CARRIED: Final = (
    "rate",
    "bytes_rate",
    "seconds",
    "sync_seconds",
    "append_seconds",
    "cpu_us_per_entry",
    "memory_bytes",
    "stored_ratio",
    "disk_ratio",
    "durable_rate",
    "open_seconds",
)


def metric_of(group: str) -> tuple[str, bool]:
    """Its name in `summary`, and whether more is better."""
    return METRICS.get(group, ("rate", True))


def derived(run: dict[str, Any]) -> dict[str, float]:
    """Figures of one run, per second, per entry and per byte."""
    entries, size, seconds = run.get("entries"), run.get("bytes") or 0, run["seconds"]
    found: dict[str, float] = {"seconds": seconds}
    if seconds > 0:
        found["bytes_rate"] = size / seconds
        if entries:
            found["rate"] = entries / seconds
            found["durable_rate"] = entries / (seconds + run.get("sync_seconds", 0.0))
    if entries and "cpu_seconds" in run:
        found["cpu_us_per_entry"] = run["cpu_seconds"] / entries * 1e6
    if "peak_rss" in run:
        found["memory_bytes"] = run["peak_rss"] - run["baseline_rss"]
    if "sync_seconds_median" in run:
        found["sync_seconds"] = run["sync_seconds_median"]
        found["append_seconds"] = run["append_seconds_median"]
    if "disk_bytes" in run and size:
        found["disk_ratio"] = run["disk_bytes"] / size
        found["stored_ratio"] = run.get("extent_bytes", run["disk_bytes"]) / size
    if "open_seconds" in run:
        found["open_seconds"] = run["open_seconds"]
    for name, ns in (run.get("latency_ns") or {}).items():
        found[name] = ns
    return found


def spread_of(values: list[float]) -> dict[str, float]:
    """Median, ends, and how far the ends are apart as a share of the median."""
    middle = statistics.median(values)
    apart = (max(values) - min(values)) / middle if middle else 0.0
    return {"median": middle, "min": min(values), "max": max(values), "spread": apart, "runs": len(values)}


def summarize(results: dict[str, Any]) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """summary[workload][rival][figure] = median, min, max, spread."""
    collected: dict[str, dict[str, dict[str, list[float]]]] = {}
    for run in results["runs"]:
        if "error" in run:
            continue
        figures = collected.setdefault(run["workload"], {}).setdefault(run["rival"], {})
        for name, value in derived(run).items():
            if name in CARRIED or name in SHOWN_LATENCIES:
                figures.setdefault(name, []).append(value)
    return {
        workload: {
            rival: {name: spread_of(values) for name, values in figures.items()} for rival, figures in rivals.items()
        }
        for workload, rivals in collected.items()
    }


# --------------------------------------------------------------------------------------------------------------------
# texts


def count_text(value: float) -> str:
    """A rate in three digits."""
    for size, unit in ((1e6, " M"), (1e3, " k")):
        if value >= size:
            scaled = value / size
            return (
                f"{scaled:.0f}{unit}"
                if scaled >= 100
                else f"{scaled:.1f}{unit}"
                if scaled >= 10
                else f"{scaled:.2f}{unit}"
            )
    return f"{value:.0f}"


def time_text(seconds: float) -> str:
    """A time in its unit."""
    for size, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.0f} ns"


def figure_text(workload: Workload, run: dict[str, Any]) -> str:
    """One run for the progress display."""
    found = derived(run)
    if workload.group == "reopen":
        return time_text(found["seconds"])
    if workload.group == "topics" and "sync_seconds" in found:
        return f"sync {time_text(found['sync_seconds'])}"
    rate = f"{count_text(found['rate'])}/s, " if "rate" in found else ""
    return f"{rate}{found.get('bytes_rate', 0) / MB:.0f} MB/s"


def cell(group: str, figures: dict[str, dict[str, float]]) -> str:
    """A figure with its spread."""
    name, _ = metric_of(group)
    if name not in figures:
        name = "bytes_rate"  # of fio
    one = figures[name]
    spread = f" ±{one['spread'] * 50:.0f} %" if one["runs"] > 1 else ""
    if name == "bytes_rate":
        return f"{one['median'] / MB:.0f} MB/s{spread}"
    if group == "space":
        return f"{one['median']:.2f} (files {figures['disk_ratio']['median']:.2f})"
    if name != "rate":
        return f"{time_text(one['median'])}{spread}"
    size = figures["bytes_rate"]["median"] / MB
    return f"{count_text(one['median'])}/s{spread}" + (f", {size:.0f} MB/s" if size >= 1 else "")


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """Markdown."""
    names = list(head)
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


def head_of(results: dict[str, Any]) -> list[str]:
    machine = results["machine"]
    lines = ["# Walrus for Python beside its rivals", ""]
    lines += [
        f"Made by `make compare{' QUICK=1' if results['quick'] else ''}` on {results['made']}, {results['rounds']} "
        f"round(s), rivals in turn "
        "within each workload. Medians; ± is half the distance between the ends.",
        "",
        f"{machine['cpu']}, {machine['cpus']} "
        f"CPUs{', ' + machine['virtualization'] if machine['virtualization'] else ''}, "
        f"{machine['memory_bytes'] / 2**30:.0f} GiB; {machine['system']}, Linux {machine['kernel']}; "
        f"{machine['file_system']} "
        f"({machine['options']}) on {machine['device']}, scheduler {machine['scheduler'] or 'unknown'}; load at the "
        f"start "
        f"{machine['load_at_start']:.2f}.",
        "",
    ]
    if results["quick"]:
        lines += [
            "**A quick run: of a second or so each, which fit into caches. Rough, and kinder to those who leave the "
            "disk for later.**",
            "",
        ]
    lines += table(
        ("rival", "version"), ((title, results["versions"][name]) for name, title in results["rivals"].items())
    )
    if results["left_out"]:
        lines += (
            ["Left out on this machine:", ""]
            + [f"- {name}: {reason}" for name, reason in results["left_out"].items()]
            + [""]
        )
    return lines


def group_lines(results: dict[str, Any], group: str, rows: list[dict[str, Any]]) -> list[str]:
    """Rivals by workloads, then what is to be known to compare them."""
    summary, titles = results["summary"], results["rivals"]
    lines = [f"## {GROUPS[group]}", ""]
    if group == "space":
        lines += [
            "Bytes stored for each byte of payload, headers and padding included, fixed and reserved files apart; in "
            "brackets all "
            "files as they are on the disk.",
            "",
        ]
    present = [name for name in titles if any(name in summary.get(row["name"], {}) for row in rows)]
    body = [
        [
            titles[name],
            *(cell(group, summary[row["name"]][name]) if name in summary.get(row["name"], {}) else "–" for row in rows),
        ]
        for name in present
    ]
    for at in range(0, len(rows), 6):
        part = rows[at : at + 6]
        shown = [[line[0], *line[at + 1 : at + 1 + len(part)]] for line in body]
        lines += table(("", *(row["title"] for row in part)), [line for line in shown if set(line[1:]) != {"–"}])
    notes: dict[str, None] = {}
    for row in rows:
        for name, note in row["notes"].items():
            notes[f"- {titles[name]}: {note}."] = None
        for name, reason in row["not_run"].items():
            notes[f"- {titles[name]} not compared ({row['title']}): {reason}."] = None
    for run in results["runs"]:
        if "error" in run and run["workload"] in {row["name"] for row in rows}:
            notes[f"- {titles[run['rival']]} failed ({run['workload']}): {run['error']}"] = None
    return [*lines, *notes, ""]


def latency_lines(results: dict[str, Any], rows: list[dict[str, Any]]) -> list[str]:
    """Of each call; of unsynced single appends every 16th is timed."""
    body = []
    for row in rows:
        for name, figures in results["summary"].get(row["name"], {}).items():
            if "p50" in figures:
                texts = [time_text(figures[key]["median"] / 1e9) if key in figures else "–" for key in SHOWN_LATENCIES]
                body.append([f"{GROUPS[row['group']]}: {row['title']}", results["rivals"][name], *texts])
    if not body:
        return []
    return ["## Latencies of a call", "", *table(("", "", *SHOWN_LATENCIES), body)]


def cost_lines(results: dict[str, Any], rows: list[dict[str, Any]]) -> list[str]:
    """CPU and memory, of the very runs above."""
    body = []
    for row in rows:
        for name, figures in results["summary"].get(row["name"], {}).items():
            if "memory_bytes" in figures and "cpu_us_per_entry" in figures:
                durable = (
                    count_text(figures["durable_rate"]["median"]) + "/s" if row["group"] in ("append", "long") else "–"
                )
                body.append(
                    [
                        f"{GROUPS[row['group']]}: {row['title']}",
                        results["rivals"][name],
                        f"{figures['cpu_us_per_entry']['median']:.3g} µs",
                        f"{figures['memory_bytes']['median'] / 2**20:.0f} MiB",
                        durable,
                    ]
                )
    text = (
        "CPU of all threads for each entry; the most memory resident over what was there before opening (interpreter, "
        "payloads; "
        "shared and file pages count); the rate when the sync that ends the run is counted, where there is one."
    )
    return ["## CPU and memory", "", text, "", *table(("", "", "CPU per entry", "memory", "with the last sync"), body)]


def ratio_lines(results: dict[str, Any]) -> list[str]:
    """How many times better than each rival, and which share of the limit."""
    body = []
    for row in results["workloads"]:
        found = results["summary"].get(row["name"], {})
        for who, way in (("walrus", "Python"), ("walrus_native", "native threads")):
            if who in found:
                title = f"{GROUPS[row['group']]}: {row['title']}, {way}"
                body.append([title, cell(row["group"], found[who]), *ratio_texts(row, found, found[who])])
    names = [results["rivals"].get(name, name) for name in RATIO_RIVALS]
    return [
        "## In short",
        "",
        "How many times better Walrus is (1x: equal), and its share of what fio does in the same run.",
        "",
        *table(("", "Walrus", *names, "of fio's rate"), body),
    ]


def ratio_texts(row: dict[str, Any], found: dict[str, Any], mine: dict[str, Any]) -> list[str]:
    """Against each of the rivals, then against the limit."""
    name, more = metric_of(row["group"])
    texts = []
    for rival in RATIO_RIVALS:
        theirs = found.get(rival, {}).get(name)
        if theirs is None or not theirs["median"] or not mine[name]["median"]:
            texts.append("–")
            continue
        ratio = mine[name]["median"] / theirs["median"]
        texts.append(f"{ratio if more else 1 / ratio:.2f}x")
    return [*texts, limit_text(row, found, mine)]


def limit_text(row: dict[str, Any], found: dict[str, Any], mine: dict[str, Any]) -> str:
    """Bytes against bytes, flushed writes against flushed writes."""
    limit = found.get("fio")
    if limit is None:
        return "–"
    name = "rate" if row["limit"] == "fdatasync" else "bytes_rate"
    return f"{mine[name]['median'] / limit[name]['median'] * 100:.0f} %"


def markdown(results: dict[str, Any]) -> str:
    """The whole page."""
    lines = head_of(results) + ratio_lines(results)
    for group in GROUPS:
        rows = [row for row in results["workloads"] if row["group"] == group and row["name"] in results["summary"]]
        if rows:
            lines += group_lines(results, group, rows)
    timed = [row for row in results["workloads"] if row["group"] in ("append", "long", "fsync", "flight", "next")]
    lines += latency_lines(results, timed) + cost_lines(results, results["workloads"])
    lines += ["Settings of each rival: `compare/rivals/NAME/settings.*`; they are in `results.json` as they were.", ""]
    return "\n".join(lines)
