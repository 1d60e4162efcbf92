"""Fixtures of all tests: the three ways to the disk, logs with small files, processes that can be killed.

A test marked ``storage`` runs once per way to the disk; it opens its logs with the fixture ``open_log``.
"""
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import walrus
from tests import child as children
from tests.native.probe_build import probe  # noqa: F401 - the fixture of the bytes layer's tests
from walrus import _trace as trace_module

WAYS = ("io_uring", "pwrite", "mmap")
SMALL = {"staging_bytes": 4 << 20, "log_file_bytes": 1 << 20, "journal_file_bytes": 1 << 20}


if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:       # in the background of a script: its children are to be interrupted
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_generate_tests(metafunc):
    if metafunc.definition.get_closest_marker("storage") and "way" in metafunc.fixturenames:
        metafunc.parametrize("way", WAYS, indirect=True)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """No variable of the caller's changes what a test opens."""
    for name in list(os.environ):
        if name.startswith("WALRUS_") and name != "WALRUS_TEST_WAY":
            monkeypatch.delenv(name)


@pytest.fixture
def way(request):
    """The way to the disk: WALRUS_TEST_WAY, or auto, where a test is not run once per way."""
    return getattr(request, "param", os.environ.get("WALRUS_TEST_WAY", "auto"))


@pytest.fixture
def open_log(tmp_path, way):
    """Opens the log in `name` below tmp_path, with small files; all are closed in the end."""
    opened = []

    def open_it(name="log", **options):
        path = options.pop("path", tmp_path / name)
        log = walrus.open(path, **{"backend": way, **SMALL, **options})
        opened.append(log)
        return log

    yield open_it
    for log in opened:
        log.close()


@pytest.fixture
def log(open_log):
    """A log that nobody flushes on his own account."""
    return open_log(fsync_schedule=walrus.FsyncSchedule.NoFsync)


@pytest.fixture
def debug_build():
    """The directory of a debug build: that of this process, if it uses one."""
    if trace_module.DEBUG:
        return Path(walrus.__file__).parent.parent
    if not children.DEBUG_BUILD.is_dir():
        pytest.skip("needs the debug build: make debug")
    return children.DEBUG_BUILD


@pytest.fixture
def child(tmp_path, way):
    """Runs Python code in a process of its own, with `walrus`, `os`, `sys`, `path` and `open_log` at hand; gives the Popen.

    `debug`: the fixture debug_build, for a process that uses the debug build.
    """
    running = []

    def start(code, *, env=None, prefix=(), path=None, debug=None):
        head = f"""
            import os, signal, sys, time
            sys.path.append({str(children.ROOT)!r})
            import walrus
            from walrus import FsyncSchedule, ReadConsistency
            path = {str(path or tmp_path / "log")!r}
            def open_log(path=path, **options):
                return walrus.open(path, **{{"backend": {way!r}, **{SMALL!r}, **options}})
        """
        text = textwrap.dedent(head) + textwrap.dedent(code)
        where = {**os.environ, "PYTHONPATH": str(debug or Path(walrus.__file__).parent.parent), **(env or {})}
        process = subprocess.Popen([*prefix, sys.executable, "-c", text], stdout=subprocess.PIPE, text=True, env=where)
        running.append(process)
        return process

    def run(code, **options):
        process = start(code, **options)
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0, f"the child ended with {process.returncode}"
        return out

    start.run = run
    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()
