"""The hand-written stubs say what the compiled modules have: the same names, the same parameters."""
import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import walrus

PACKAGE = Path(walrus.__file__).parent
STUBS = sorted(path.stem for path in PACKAGE.glob("*.pyi"))


def public(names):
    return {name for name in names if not name.startswith("__")}


def declared(stub):
    """{name: node} of a stub's classes and functions, and of its classes' members."""
    found = {}
    for node in ast.parse((PACKAGE / f"{stub}.pyi").read_text()).body:
        if isinstance(node, ast.ClassDef):
            found[node.name] = node
            for member in node.body:
                if isinstance(member, ast.FunctionDef):
                    found[f"{node.name}.{member.name}"] = member
        elif isinstance(node, ast.FunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.AnnAssign):
            found[node.target.id] = node
    return found


def existing(module):
    """Names of a compiled module's own classes and functions, and of its classes' members."""
    found = set()
    for name, value in vars(module).items():
        if name.startswith("__") or getattr(value, "__module__", module.__name__) != module.__name__ or inspect.ismodule(value):
            continue
        if inspect.isclass(value):
            found.add(name)
            found |= {f"{name}.{member}" for member in public(vars(value))}
        elif callable(value):
            found.add(name)
    return found


@pytest.mark.parametrize("stub", STUBS)
def test_a_stub_has_what_its_module_has(stub):
    module = importlib.import_module(f"walrus.{stub}")
    names = declared(stub)
    for name in names:
        value = module
        for part in name.split("."):
            value = getattr(value, part, None)
            if part in ("__buffer__",):                 # of Python 3.12 on; before, the buffer itself
                value = part
            assert value is not None, f"{stub}.pyi has {name}, the module does not"
    missing = existing(module) - set(names)
    assert not missing, f"{stub}.pyi lacks {sorted(missing)}"


@pytest.mark.parametrize("stub", STUBS)
def test_parameters_are_the_same(stub):
    module = importlib.import_module(f"walrus.{stub}")
    for name, node in declared(stub).items():
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("__") or node.decorator_list:
            continue
        value = module
        for part in name.split("."):
            value = getattr(value, part)
        try:
            real = list(inspect.signature(value).parameters)
        except (TypeError, ValueError):
            text = (value.__doc__ or "").split("(", 1)[1].split(")", 1)[0]       # the signature that Cython embeds
            parts = [part.strip() for part in text.split(",") if part.strip() not in ("*", "/")]
            real = [part.split("=")[0].split(":")[0].split(" ")[-1] for part in parts]
        stub_names = [argument.arg for argument in node.args.posonlyargs + node.args.args + node.args.kwonlyargs]
        assert [part for part in real if part != "self"] == [part for part in stub_names if part != "self"], name


def test_public_names_have_docstrings():
    for name in walrus.__all__:
        value = getattr(walrus, name)
        if isinstance(value, int):
            continue
        assert value.__doc__, name
        if inspect.isclass(value):
            for member, what in vars(value).items():
                if not member.startswith("_") and (callable(what) or isinstance(what, property)):
                    assert what.__doc__, f"{name}.{member}"


def test_the_package_is_typed():
    assert (PACKAGE / "py.typed").is_file()
    assert set(STUBS) >= {"_core", "_core_cursor", "_core_gather", "_core_read", "_core_topic"}


@pytest.mark.slow
def test_a_program_type_checks(tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "program.py").write_text('''
import walrus
from walrus import FsyncSchedule, ReadConsistency

with walrus.open("x", consistency=ReadConsistency.AtLeastOnce(5), fsync_schedule=FsyncSchedule.SyncEach,
                 retention="consumed") as log:
    offset: int = log.topic("t").append(b"x")
    firsts: dict[str, int] = log.append_batch({"a": [b"x"], "b": (bytearray(b"y"),)})
    for entry in log.topic("t").read():
        data: bytes = entry.data
    batch = log.topic("t").cursor("c").read_batch(max_bytes=5)
    one: bytes = batch[0]
    some: list[bytes] = batch[1:]
    for entry in log.topic("t").cursor("c").follow(timeout=1.5):
        data = entry.data
    maybe: bytes | None = log.read_next("t", True)
    io: str = log.stats().io
''')
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(tmp_path / "program.py")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path,
                          env={"PYTHONPATH": str(PACKAGE.parent), "PATH": "/usr/bin:/bin"})
    assert done.returncode == 0, done.stdout + done.stderr
