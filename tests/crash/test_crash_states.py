"""Power cuts at every write boundary of small workloads: each image that may be left is held against what was promised.

WALRUS_STATES sets how many states are tried (3,000 by default, over all workloads and ways to the disk, and a fifth more over
chains of crashes), WALRUS_SEED from where.
"""
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.child import DEBUG_BUILD, environment
from tests.crash.states import BACKENDS, CHAINS, search, search_chains
from tests.crash.workloads import WORKLOADS

STATES = int(os.environ.get("WALRUS_STATES", "3000"))
SEED = int(os.environ.get("WALRUS_SEED", str(random.SystemRandom().randrange(1 << 30))))

pytestmark = pytest.mark.skipif(not DEBUG_BUILD.is_dir(), reason="needs the debug build: make debug")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_no_power_cut_loses_what_was_durable(scratch: Path, workload: str, backend: str) -> None:
    count, seed = STATES // (len(WORKLOADS) * len(BACKENDS)), SEED
    print(f"seed {seed}: WALRUS_SEED={seed} repeats this run")
    assert search(scratch, workload, backend, seed, count) == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", CHAINS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_no_power_cut_behind_a_crash_or_inside_recovery_loses_what_was_durable(scratch: Path, kind: str, backend: str) -> None:
    count, seed = STATES // 5 // (len(CHAINS) * len(BACKENDS)), SEED
    print(f"seed {seed}: WALRUS_SEED={seed} repeats this run")
    assert search_chains(scratch, kind, backend, seed, count) == []


def test_a_power_cut_that_leaves_the_cursor_table_of_an_earlier_clean_close_damages_no_cursor(tmp_path: Path) -> None:
    def child(code: str, **more: str) -> str:
        text = f"import os, walrus; log = walrus.open({str(path)!r}, fsync_schedule=walrus.FsyncSchedule.NoFsync); {code}"
        return subprocess.run([sys.executable, "-P", "-c", text], env=environment(debug=True, **more), check=True,
                              stdout=subprocess.PIPE, text=True).stdout

    path = tmp_path / "log"
    child('log.topic("t").append_batch([b"x"] * 9); log.close()')
    shutil.copy(path / "control", tmp_path / "control")
    child('log.topic("t").cursor("c").commit(3); log.sync(); os._exit(0)')
    shutil.copy(tmp_path / "control", path / "control")
    assert child('print(log.topic("t").cursor("c").committed)', WALRUS_OTHER_BOOT="1") == "3\n"
