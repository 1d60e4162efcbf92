"""Starting modules of the tests as processes of their own, with the walrus that is being tested and not the source tree's."""
import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
DEBUG_BUILD = Path(os.environ.get("WALRUS_DEBUG_BUILD", ROOT / "build" / "debug"))


def command(module: str, *arguments: object) -> list[str]:
    """The command that runs `module` as a program; the source tree comes last on its path."""
    program = (f"import runpy, sys; sys.path.append({str(ROOT)!r}); sys.argv = {[module, *map(str, arguments)]!r}; "
               f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)")
    return [sys.executable, "-P", "-c", program]


def environment(debug: bool = False, **more: str) -> dict[str, str]:
    """Of a child; with `debug` it imports the debug build."""
    env = dict(os.environ, WALRUS_QUIET="1", **more)
    if debug:
        env["PYTHONPATH"] = str(DEBUG_BUILD)
    return env
