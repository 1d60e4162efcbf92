"""Builds the Cython modules of walrus. Linux only; liburing is linked directly, ISA-L where it is to be had.

WALRUS_DEBUG=1 makes the debug build: assertions, Cython's bounds checks, the trace and the switches that break ordering rules.
WALRUS_PROFILE=1 keeps frame pointers, for perf.
"""
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup

HERE = Path(__file__).parent
DEBUG = os.environ.get("WALRUS_DEBUG", "0") not in ("", "0")
PROFILE = os.environ.get("WALRUS_PROFILE", "0") not in ("", "0")


def refuse(reason: str) -> None:
    sys.exit(f"walrus-log cannot be built here: {reason}")


def pkg_config(library: str) -> dict[str, list[str]] | None:
    """Flags of a C library, or None where pkg-config does not know it."""
    tool = shutil.which("pkg-config")
    if tool is None:
        refuse("pkg-config is missing; install it, on Debian and Ubuntu: apt-get install pkg-config")
    if subprocess.run([tool, "--exists", library]).returncode:
        return None
    flags = subprocess.run([tool, "--cflags", "--libs", library], check=True, capture_output=True, text=True).stdout.split()
    return {
        "include_dirs": [f[2:] for f in flags if f.startswith("-I")],
        "library_dirs": [f[2:] for f in flags if f.startswith("-L")],
        "libraries": [f[2:] for f in flags if f.startswith("-l")],
    }


def uses(source: str, module: str) -> bool:
    return re.search(rf"\b(walrus\.)?{module} cimport|cimport .*\b{module}\b", source) is not None


def extensions() -> list[Extension]:
    liburing, isal = pkg_config("liburing"), pkg_config("libisal")
    if liburing is None:
        refuse("liburing was not found by pkg-config; on Debian and Ubuntu: apt-get install liburing-dev")
    macros = [("WALRUS_DEBUG", "1" if DEBUG else "0")]
    if isal is None:
        print("ISA-L was not found (apt-get install libisal-dev): checksums of long data use the slower built-in way")
        macros.append(("WALRUS_NO_ISAL", "1"))
    found = []
    for path in sorted((HERE / "walrus").glob("*.pyx")):
        text = path.read_text()
        links: dict[str, list[str]] = {"include_dirs": [], "library_dirs": [], "libraries": []}
        for module, flags in (("_uring", liburing), ("_isal", isal)):
            if flags and uses(text, module):
                for kind, values in flags.items():
                    links[kind] += values
        found.append(Extension(
            f"walrus.{path.stem}", [str(path.relative_to(HERE))], define_macros=macros,
            extra_compile_args=["-std=gnu11", "-pthread", "-fno-strict-aliasing", "-Wno-unused-function", "-Wno-sign-compare"]
            + (["-O1", "-g"] if DEBUG else ["-O3", "-g1", "-fno-plt", "-fno-semantic-interposition"])
            + (["-fno-omit-frame-pointer", "-mno-omit-leaf-frame-pointer"] if PROFILE else []),
            extra_link_args=["-pthread"], **links))
    return found


def compiled() -> list[Extension]:
    from Cython.Build import cythonize
    checks = {"boundscheck": DEBUG, "wraparound": False, "initializedcheck": DEBUG, "cdivision": True, "embedsignature": True,
              "language_level": 3}
    return cythonize(extensions(), build_dir=f"build/cython-{'debug' if DEBUG else 'release'}", nthreads=os.cpu_count() or 1,
                     compiler_directives=checks, quiet=True)


if not sys.platform.startswith("linux"):
    refuse(f"it is built on Linux io_uring; this is {sys.platform}")
if sys.byteorder != "little":
    refuse("its format on disk is little endian, and so must the machine be")

if __name__ == "__main__":
    from setuptools.command.build_ext import build_ext

    class ParallelBuild(build_ext):
        """Compiles on all cores; looks at the sources only when there is something to compile."""

        def finalize_options(self) -> None:
            self.distribution.ext_modules = compiled()
            super().finalize_options()
            self.parallel = os.cpu_count() or 1

    setup(ext_modules=[Extension("walrus._core", ["walrus/_core.pyx"])], cmdclass={"build_ext": ParallelBuild})
