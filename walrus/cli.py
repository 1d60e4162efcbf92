"""The command line: ``walrus put | get | tail | topics | stat | verify | doctor | bench``, for people, pipes and scripts.

Payloads go through stdin and stdout, words through stderr. Exit codes: 0 all is well; 1 trouble was found, or an error that
stderr explains; 2 the command was wrong; 130 interrupted. A reader that closes its end of a pipe ends ``get`` and ``tail``
with 0.

Commands that only read take no writer's place: they look in beside a writer, and open the log themselves only if there is none.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import struct
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict
from itertools import islice
from typing import Any, BinaryIO, Final

import walrus

from .bench import add_arguments as add_bench_arguments
from .bench import run as bench
from .doctor import examine
from .errors import ClosedError, CorruptionError, LockedError, OffsetOutOfRange, WalrusError
from .progress import progress

__all__ = ["main"]

OK: Final = 0
TROUBLE: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130

PREFIX: Final = struct.Struct(">I")  # before each entry under --length-prefixed
READ_BYTES: Final = 4 << 20
REOPEN_PAUSE_S: Final = 0.2
EXIT_CODES: Final = (
    "exit codes: 0 all is well; 1 trouble was found, or an error that stderr explains; 2 the command was wrong; 130 interrupted"
)


class CommandError(Exception):
    """The command cannot go on; the message is for its user."""


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; gives its exit code. ``SystemExit`` (2) where argparse refuses the arguments."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    # Names of topics may hold what the terminal's encoding does not.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        if sys.stdout is None and options.command != "put":
            raise CommandError("stdout is closed: there is nowhere to write to")
        code: int = options.run(options)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        forget_stdout()
        return OK if options.command in ("get", "tail") else TROUBLE
    except (CommandError, WalrusError, OSError, MemoryError) as error:
        try:
            if sys.stdout is not None:
                sys.stdout.flush()
        except OSError:
            forget_stdout()
        return fail(options.command, error, TROUBLE)
    except (ValueError, TypeError) as error:
        return fail(options.command, error, USAGE)


def forget_stdout() -> None:
    """Nobody takes what is left for it. What the interpreter flushes at its exit must not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def fail(command: str, error: BaseException, code: int) -> int:
    print(f"walrus {command}: {error}", file=sys.stderr)
    return code


# ------------------------------------------------------------------------------------------------------------- opening


def require_log(path: str) -> None:
    """Looking makes nothing: neither a directory nor a log."""
    if not os.path.isdir(path):
        raise CommandError(f"there is no directory {path}")
    if not any(os.path.exists(os.path.join(path, name)) for name in ("catalog.0", "catalog.1", "log-00000001")):
        raise CommandError(f"there is no log in {path}: it has no catalog")


def open_to_look(path: str) -> Any:
    """The log beside its writer; where it has none, the log itself."""
    require_log(path)
    opening: Callable[..., Any] = walrus.open
    try:
        return opening(path, read_only=True)
    except (WalrusError, OSError) as refused:
        try:
            return opening(path)
        except LockedError:
            raise refused from None


def known_topic(log: Any, name: str) -> Any:
    names = log.topics()
    if name in names:
        return log.topic(name)
    shown = ", ".join(map(printable, names[:10])) + (", ..." if len(names) > 10 else "")
    raise CommandError(f"no topic {name!r} in {log.path}; it has {f'{len(names)}: {shown}' if names else 'none'}")


def printable(name: str) -> str:
    return name if name.isprintable() else repr(name)


# ----------------------------------------------------------------------------------------------------- payloads in, out


def lines_of(stream: BinaryIO) -> Iterator[bytes]:
    """One entry per line, without its line end; a last line needs none."""
    for line in stream:
        yield line[:-1] if line.endswith(b"\n") else line


def prefixed_of(stream: BinaryIO) -> Iterator[bytes]:
    """Entries, each after its length in 4 bytes, big-endian."""
    while head := stream.read(PREFIX.size):
        if len(head) < PREFIX.size:
            raise CommandError(f"the input ends within a length: {len(head)} of {PREFIX.size} bytes")
        (size,) = PREFIX.unpack(head)
        data = stream.read(size)
        if len(data) < size:
            raise CommandError(f"the input ends within an entry: {len(data)} of {size} bytes")
        yield data


def as_json(entry: Any) -> dict[str, Any]:
    """Text as it is, other bytes in base64, under a name of its own."""
    shown: dict[str, Any] = {"offset": entry.offset, "timestamp_ns": entry.timestamp_ns}
    try:
        shown["data"] = entry.data.decode()
    except UnicodeDecodeError:
        shown["data_base64"] = base64.b64encode(entry.data).decode()
    return shown


def write_entries(entries: Iterable[Any], options: argparse.Namespace, flush_each: bool = False) -> Iterator[int]:
    """Writes them to stdout as the options say; gives the offset behind each one."""
    out = sys.stdout.buffer
    for entry in entries:
        if options.json:
            out.write(json.dumps(as_json(entry)).encode() + b"\n")
        elif options.length_prefixed:
            out.write(PREFIX.pack(len(entry.data)) + entry.data)
        else:
            out.write(entry.data + b"\n")
        if flush_each:
            out.flush()
        yield entry.offset + 1
    out.flush()


# ------------------------------------------------------------------------------------------------------------ commands


def run_put(options: argparse.Namespace) -> int:
    """Appends stdin. What was read before a fault of the input stays appended, and is said."""
    if sys.stdin is None:
        raise CommandError("stdin is closed: there is nothing to read from")
    entries = (prefixed_of if options.length_prefixed else lines_of)(sys.stdin.buffer)
    with walrus.open(options.directory) as log:
        topic = log.topic(options.topic)
        first, count = topic.end_offset, 0
        try:
            with progress(None, "entry") as advance:
                if options.batch is None:
                    for data in entries:
                        topic.append(data)
                        count += 1
                        advance(1)
                else:
                    while batch := list(islice(entries, options.batch)):
                        topic.append_batch(batch)
                        count += len(batch)
                        advance(len(batch))
        finally:
            log.sync()
            report = {"topic": options.topic, "first_offset": first, "entries": count, "end_offset": topic.end_offset}
            if options.json:
                print(json.dumps(report))
            else:
                where = f", offsets {first} to {first + count - 1}" if count else ""
                print(f"{count} entries appended to {printable(options.topic)}{where}, durable", file=sys.stderr)
    return OK


def run_get(options: argparse.Namespace) -> int:
    """Writes entries to stdout, from an offset or from the oldest."""
    with open_to_look(options.directory) as log:
        entries = known_topic(log, options.topic).read(options.start)
        try:
            for _ in write_entries(islice(entries, None if options.max is None else min(options.max, sys.maxsize)), options):
                pass
        except CorruptionError as damage:
            sys.stdout.flush()
            raise CommandError(f"{damage}; here: --from {damage.next_offset}") from None
    return OK


def run_tail(options: argparse.Namespace) -> int:
    """Writes the last entries, and with --follow what comes, across restarts of the writer."""
    if not options.follow:
        with open_to_look(options.directory) as log:
            topic = known_topic(log, options.topic)
            start = max(topic.oldest_offset, topic.end_offset - options.lines)
            for _ in write_entries(topic.read(start), options):
                pass
        return OK
    require_log(options.directory)
    position: int | None = None
    opening: Callable[..., Any] = walrus.open
    while True:
        try:
            with opening(options.directory, read_only=True) as log:
                topic = log.topic(options.topic)
                if position is None:
                    position = max(topic.oldest_offset, topic.end_offset - options.lines)
                while True:
                    position = follow_to_end(topic, position, options)
                    topic._wait(position)
        except (ClosedError, FileNotFoundError):
            time.sleep(REOPEN_PAUSE_S)


def follow_to_end(topic: Any, position: int, options: argparse.Namespace) -> int:
    """Writes what is there from `position` on; gives the new position."""
    try:
        if topic.end_offset > position:
            for behind in write_entries(topic.read(position), options, flush_each=True):
                position = behind
        return position
    except OffsetOutOfRange as overtaken:
        if overtaken.oldest is None or overtaken.oldest <= position:
            raise
        print(f"walrus tail: entries {position} to {overtaken.oldest - 1} are reclaimed", file=sys.stderr)
        return overtaken.oldest
    except CorruptionError as damage:
        if damage.next_offset is None:
            raise
        print(f"walrus tail: {damage}", file=sys.stderr)
        return max(damage.next_offset, position)


def topic_facts(log: Any, name: str) -> dict[str, Any]:
    topic = log.topic(name)
    return {
        "topic": name,
        "oldest_offset": topic.oldest_offset,
        "end_offset": topic.end_offset,
        "durable_offset": topic.durable_offset,
        "entries": topic.end_offset - topic.oldest_offset,
        "payload_bytes": topic.size_bytes,
    }


def run_topics(options: argparse.Namespace) -> int:
    """One line per topic."""
    with open_to_look(options.directory) as log:
        facts = [topic_facts(log, name) for name in log.topics()]
    if options.json:
        print(json.dumps(facts))
        return OK
    rows: list[tuple[str, ...]] = [("topic", "entries", "payload bytes", "oldest", "end", "durable")]
    for fact in facts:
        numbers = ("entries", "payload_bytes", "oldest_offset", "end_offset", "durable_offset")
        rows.append((printable(fact["topic"]), *(f"{fact[name]:,}" for name in numbers)))
    print_table(rows)
    return OK


def print_table(rows: list[tuple[str, ...]]) -> None:
    """Columns as wide as they need; the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  ".join(cells).rstrip())


def run_stat(options: argparse.Namespace) -> int:
    """The log's state, or one topic's."""
    with open_to_look(options.directory) as log:
        if options.topic is None:
            facts = log_facts(log)
        else:
            known_topic(log, options.topic)
            facts = topic_facts(log, options.topic)
    if options.json:
        print(json.dumps(facts))
        return OK
    for name, value in facts.items():
        if isinstance(value, dict):
            shown = ", ".join(f"{inner} {count:,}" for inner, count in value.items() if count)
            print(f"{name}: {shown or 'nothing to report'}")
        else:
            print(f"{name}: {value:,}" if isinstance(value, int) and not isinstance(value, bool) else f"{name}: {value}")
    return OK


def log_facts(log: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {"path": log.path, "disk_bytes": 0}
    with os.scandir(log.path) as files:
        for file in filter(os.DirEntry.is_file, files):
            with suppress(FileNotFoundError):  # the writer removes files meanwhile
                facts["disk_bytes"] += file.stat(follow_symlinks=False).st_blocks * 512
    facts.update(asdict(log.stats()))
    facts["recovery"] = recovery_facts(log)
    return facts


def recovery_facts(log: Any) -> dict[str, Any]:
    """What opening found; a reader beside a writer has opened nothing."""
    found = getattr(log, "recovery", None)
    return {} if found is None else asdict(found)


# -------------------------------------------------------------------------------------------------------------- verify


def run_verify(options: argparse.Namespace) -> int:
    """Reads every entry of every topic, and says what does not validate."""
    try:
        with open_to_look(options.directory) as log:
            names = log.topics()
            total = sum(log.topic(name).size_bytes for name in names)
            with progress(total, "B") as advance:
                topics = [verify_topic(log, name, advance) for name in names]
            report = {"path": log.path, "topics": topics, "recovery": recovery_facts(log)}
    except CorruptionError as damage:
        report = {"path": os.path.abspath(options.directory), "topics": [], "recovery": {}, "error": str(damage)}
    if report["recovery"].get("older_catalog"):
        report["error"] = "the newest snapshot of the catalog did not validate; the one before it was used"
    elif report["recovery"].get("headers_damaged"):
        report["error"] = "headers of extents or records did not validate; of their entries what validates by itself was found"
    damaged = "error" in report or any(topic["damage"] for topic in report["topics"])
    report["ok"] = not damaged
    if options.json:
        print(json.dumps(report))
    else:
        print_verified(report)
    return TROUBLE if damaged else OK


def verify_topic(log: Any, name: str, advance: Callable[[int], object]) -> dict[str, Any]:
    """Every frame from the oldest entry to the end; goes on behind what is damaged."""
    topic = log.topic(name)
    position, end = topic.oldest_offset, topic.end_offset
    report: dict[str, Any] = {"topic": name, "oldest_offset": position, "end_offset": end, "entries": 0, "payload_bytes": 0}
    report["damage"] = damage = cursor_damage(log, name)
    while position < end:
        try:
            batch = topic.read_batch(position, READ_BYTES)
        except CorruptionError as found:
            after = end if found.next_offset is None else found.next_offset
            damage.append(damage_entry(found, position if found.offset is None else found.offset, after))
            position = max(after, position + 1)
            continue
        except OffsetOutOfRange as overtaken:
            if overtaken.oldest is None or overtaken.oldest <= position:
                raise
            position = overtaken.oldest  # retention went on meanwhile
            continue
        except OSError as found:
            damage.append(damage_entry(found, position, None))
            break
        offsets = batch.offsets
        if len(offsets) == 0 or offsets[0] != position or offsets[-1] != position + len(offsets) - 1:
            damage.append({"offset": position, "next_offset": None, "what": f"offsets are not dense from {position} on"})
            break
        report["entries"] += len(offsets)
        report["payload_bytes"] += batch.payload_bytes
        advance(batch.payload_bytes)
        position += len(offsets)
    return report


def cursor_damage(log: Any, name: str) -> list[dict[str, Any]]:
    """The shared cursor's, where this log has one."""
    try:
        if hasattr(log, "get_topic_entry_count"):
            log.get_topic_entry_count(name)
    except CorruptionError as found:
        return [damage_entry(found, None, None)]
    return []


def damage_entry(found: Exception, offset: int | None, after: int | None) -> dict[str, Any]:
    entry: dict[str, Any] = {"offset": offset, "next_offset": after, "what": str(found)}
    if isinstance(found, CorruptionError):
        entry.update(file=found.file, position=found.position)
    return entry


def print_verified(report: dict[str, Any]) -> None:
    for topic in report["topics"]:
        state = f"{len(topic['damage'])} damaged" if topic["damage"] else "ok"
        print(f"{printable(topic['topic'])}: {topic['entries']:,} entries, {topic['payload_bytes']:,} bytes, {state}")
        for damage in topic["damage"]:
            print(f"  {damage['what']}")
    if "error" in report:
        print(report["error"])
    cut = report["recovery"].get("frames_cut")
    if cut:
        print(f"recovery cut {cut:,} frames that were not durable, or of an earlier life of the log: no damage")
    print(f"{report['path']}: " + ("all is well" if report["ok"] else "DAMAGED"))


# -------------------------------------------------------------------------------------------------------- doctor, bench


def run_doctor(options: argparse.Namespace) -> int:
    """What the machine offers a log in that directory."""
    findings = examine(os.path.abspath(options.directory))
    trouble = any(finding.state == "fail" for finding in findings)
    if options.json:
        print(json.dumps([asdict(finding) for finding in findings]))
        return TROUBLE if trouble else OK
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        print(f"{finding.state:4}  {finding.name.ljust(width)}  {finding.seen}")
        if finding.advice:
            print(f"      {' ' * width}  -> {finding.advice}")
    return TROUBLE if trouble else OK


def run_bench(options: argparse.Namespace) -> int:
    return TROUBLE if bench(options) else OK


# ----------------------------------------------------------------------------------------------------------- arguments


def number_of(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None


def count_of(text: str) -> int:
    """An argument of 0 or more."""
    value = number_of(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} is below 0")
    return value


def batch_of(text: str) -> int:
    value = number_of(text)
    if not 1 <= value <= walrus.MAX_BATCH_ENTRIES:
        raise argparse.ArgumentTypeError(f"{value}: from 1 to {walrus.MAX_BATCH_ENTRIES} entries")
    return value


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="walrus", description="An embedded, crash-safe streaming log: its command line.", epilog=EXIT_CODES
    )
    parser.add_argument("--version", action="version", version=f"walrus {walrus.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    def command(
        name: str, run: Callable[[argparse.Namespace], int], text: str, topic: bool = False, payloads: bool = False
    ) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text, epilog=EXIT_CODES)
        made.set_defaults(run=run)
        made.add_argument("directory", help="the log's directory")
        if topic:
            made.add_argument("topic", help="the topic's name")
        made.add_argument("--json", action="store_true", help="write JSON to stdout")
        if payloads:
            made.add_argument("--length-prefixed", action="store_true", help="entries after their length, 4 bytes big-endian")
        return made

    put = command("put", run_put, "append stdin, one entry per line; durable when it ends", topic=True, payloads=True)
    put.add_argument("--batch", type=batch_of, metavar="N", help="append N at once, all or nothing (default: each as it comes)")
    get = command("get", run_get, "write entries to stdout, one line each", topic=True, payloads=True)
    get.add_argument("--from", type=count_of, dest="start", metavar="OFFSET", help="begin there (default: the oldest)")
    get.add_argument("--max", type=count_of, metavar="N", help="at most N entries (default: to the end)")
    tail = command("tail", run_tail, "write the last entries to stdout", topic=True, payloads=True)
    tail.add_argument("-n", "--lines", type=count_of, default=10, metavar="N", help="the last N entries (default 10)")
    tail.add_argument("-f", "--follow", action="store_true", help="go on with what another process appends, until interrupted")
    command("topics", run_topics, "list the topics")
    stat = command("stat", run_stat, "show the log's state, or a topic's")
    stat.add_argument("topic", nargs="?", help="a topic's name")
    command("verify", run_verify, "read every entry and report what is damaged")
    add_machine_commands(commands)
    return parser


def add_machine_commands(commands: Any) -> None:
    """Those that are about the machine rather than about one log."""
    doctor = commands.add_parser(
        "doctor",
        help="check what this machine offers a log",
        description="check what this machine offers a log: kernel, io_uring, O_DIRECT, file system, space, limits",
        epilog=EXIT_CODES,
    )
    doctor.set_defaults(run=run_doctor)
    doctor.add_argument("directory", nargs="?", default=".", help="where a log is to lie (default: here)")
    doctor.add_argument("--json", action="store_true", help="write JSON to stdout")
    measuring = commands.add_parser(
        "bench", help="measure, each figure beside its limit", description="measure, each figure beside its limit in the same run"
    )
    measuring.set_defaults(run=run_bench)
    add_bench_arguments(measuring)
