"""Native threads over the engine: the loops of driver.hpp, built by the harness into an extension module."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from . import settings


def main() -> int:
    """Loads the built bridge and runs it."""
    built = Path(os.environ["COMPARE_BUILD"]) / "walrus_native"
    module = next(built.glob("bridge*.so"))
    specification = importlib.util.spec_from_file_location("bridge", module)
    assert specification is not None and specification.loader is not None
    bridge = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(bridge)
    words = sys.argv[1:]
    if "mode=flight" in words:
        words.append(f"batch={settings.IN_FLIGHT}")
    code: int = bridge.run(words, settings.INTERVAL_MS, settings.OPTIONS)
    return code


if __name__ == "__main__":
    sys.exit(main())
