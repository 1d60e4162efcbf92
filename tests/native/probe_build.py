"""Compiles _probe.pyx against the importable walrus package, once per content, into a cache outside the source tree."""
import contextlib
import functools
import hashlib
import importlib.util
import os
import platform
import sys
import sysconfig
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().with_name("_probe.pyx")
DIRECTIVES = {"boundscheck": False, "wraparound": False, "cdivision": True}


def package_directory():
    spec = importlib.util.find_spec("walrus")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("walrus is not importable")
    for place in spec.submodule_search_locations:
        if (Path(place) / "_frame.pxd").exists():
            return Path(place)
    pytest.fail("walrus is installed without its .pxd files")


def content_key(package, cython_version):
    digest = hashlib.sha256()
    for path in [SOURCE, *sorted(package.glob("*.pxd"))]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    for fact in (cython_version, sys.version, platform.machine(), os.environ.get("CFLAGS", "")):
        digest.update(fact.encode() + b"\0")
    return digest.hexdigest()[:24]


def compile_probe(package, directory):
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension

    work = directory.with_name(f"{directory.name}.{os.getpid()}")
    work.mkdir(parents=True, exist_ok=True)
    source = work / "_probe.pyx"
    source.write_bytes(SOURCE.read_bytes())
    extensions = cythonize([Extension("_probe", [str(source)])], include_path=[str(package.parent)], quiet=True,
                           compiler_directives=DIRECTIVES, build_dir=str(work))
    distribution = Distribution({"name": "probe", "ext_modules": extensions})
    command = distribution.get_command_obj("build_ext")
    command.build_lib = str(work)
    command.build_temp = str(work / "temp")
    command.ensure_finalized()
    command.run()
    with contextlib.suppress(OSError):      # another process may have been quicker: its result is the same
        work.rename(directory)


@functools.cache
def load_probe():
    Cython = pytest.importorskip("Cython", reason="the probe of the bytes layer is compiled on demand")
    package = package_directory()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "walrus-tests"
    directory = cache / f"probe-{content_key(package, Cython.__version__)}"
    library = directory / f"_probe{sysconfig.get_config_var('EXT_SUFFIX')}"
    if not library.exists():
        compile_probe(package, directory)
    spec = importlib.util.spec_from_file_location("_probe", library)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def probe():
    return load_probe()
