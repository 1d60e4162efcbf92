"""Crash tests work in memory where they can: thousands of directories are made and opened."""
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    shm = Path("/dev/shm")
    if not shm.is_dir() or shutil.disk_usage(shm).free < 2 << 30:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="walrus-crash-", dir=shm) as directory:
        yield Path(directory)
