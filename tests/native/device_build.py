"""Compiles _device_probe.pyx against the importable walrus package, as probe_build.py does for the bytes layer."""
import contextlib
import functools
import hashlib
import importlib.util
import os
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.native import probe_build

SOURCE = Path(__file__).resolve().with_name("_device_probe.pyx")


def key_of(package):
    digest = hashlib.sha256(sys.version.encode())
    for path in [SOURCE, *sorted(package.glob("*.pxd"))]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:24]


def compile_probe(package, directory):
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension

    work = directory.with_name(f"{directory.name}.{os.getpid()}")
    work.mkdir(parents=True, exist_ok=True)
    source = work / "_device_probe.pyx"
    source.write_bytes(SOURCE.read_bytes())
    extensions = cythonize([Extension("_device_probe", [str(source)])], include_path=[str(package.parent)], quiet=True,
                           compiler_directives=probe_build.DIRECTIVES, build_dir=str(work))
    command = Distribution({"name": "probe", "ext_modules": extensions}).get_command_obj("build_ext")
    command.build_lib = str(work)
    command.build_temp = str(work / "temp")
    command.ensure_finalized()
    command.run()
    with contextlib.suppress(OSError):      # another process may have been quicker: its result is the same
        work.rename(directory)


@functools.cache
def load_device_probe():
    pytest.importorskip("Cython", reason="the probe of the device layer is compiled on demand")
    package = probe_build.package_directory()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "walrus-tests"
    directory = cache / f"device-{key_of(package)}"
    library = directory / f"_device_probe{sysconfig.get_config_var('EXT_SUFFIX')}"
    if not library.exists():
        compile_probe(package, directory)
    spec = importlib.util.spec_from_file_location("_device_probe", library)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
