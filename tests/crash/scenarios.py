"""Named scenarios for rules that a power cut does not show: each gives '' or what went wrong while its rule was broken."""
from pathlib import Path

from tests.child import environment
from tests.crash.test_sigkill import kills


def killed(directory: Path, rule: str) -> str:
    """A child of the debug build is killed again and again under load; it and nobody else breaks the rule."""
    env = environment(debug=True, WALRUS_BREAK_RULE=rule)
    for seed, backend in enumerate(("io_uring", "io_uring", "mmap")):
        try:
            kills(directory / f"log-{seed}", seed, 12, "none", backend, "strict", env)
        except Exception as error:  # whatever it is, something noticed
            return f"SIGKILL, {backend}: {type(error).__name__}: {error}"
    return ""


def chunk_complete(directory: Path) -> str:
    return killed(directory, "chunk_complete")


def chunk_prefix(directory: Path) -> str:
    return killed(directory, "chunk_prefix")


def slot_pair(directory: Path) -> str:
    return killed(directory, "slot_pair")
