"""The gate on instruction counts judges as it says: what is dearer fails by name, and no key goes uncompared."""

import importlib.util
import json
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "ci" / "gate.py"
COUNTS = {
    "append": 2_000_000,
    "append_batch": 1_000_000,
    "read_batch": 3_000_000,
    "to_bytes": 1_400_000,
    "read_next": 4_000_000,
    "recovery": 1_500_000,
}


@pytest.fixture
def gate(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location("gate", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "FIGURES", tmp_path / "ci" / "instruction-counts.json")
    monkeypatch.setattr(module, "key_of", lambda package: "here")
    monkeypatch.setattr(module, "measure", lambda package, paths: {path: COUNTS[path] for path in paths})
    module.FIGURES.parent.mkdir()
    return module


def figures(gate, **of_keys):
    gate.FIGURES.write_text(json.dumps(of_keys))


def dearer(path, factor):
    return COUNTS | {path: int(COUNTS[path] * factor)}


def test_unchanged_counts_pass(gate, capsys):
    figures(gate, here=COUNTS)
    assert gate.check(Path()) == 0
    assert "6 passed, 0 failed" in capsys.readouterr().out


@pytest.mark.parametrize("path", COUNTS)
def test_a_path_that_became_5_percent_dearer_fails_and_is_named(gate, monkeypatch, capsys, path):
    figures(gate, here=COUNTS)
    monkeypatch.setattr(gate, "measure", lambda package, paths: {name: dearer(path, 1.05)[name] for name in paths})
    assert gate.check(Path()) == 1
    said = capsys.readouterr()
    assert f"gate: {path} costs 5.0% more instructions" in said.err
    assert "make gate UPDATE=1" in said.err
    assert said.err.count("gate:") == 1
    assert "5 passed, 1 failed" in said.out


def test_up_to_3_percent_passes(gate, monkeypatch):
    figures(gate, here=COUNTS)
    monkeypatch.setattr(gate, "measure", lambda package, paths: {path: int(COUNTS[path] * 1.029) for path in paths})
    assert gate.check(Path()) == 0


def test_a_stall_in_one_run_is_forgiven_by_the_second_look_which_takes_only_that_path(gate, monkeypatch):
    looked = []

    def measure(package, paths):
        looked.append(list(paths))
        return {path: int(COUNTS[path] * (1.2 if path == "append" and len(looked) == 1 else 1)) for path in paths}

    figures(gate, here=COUNTS)
    monkeypatch.setattr(gate, "measure", measure)
    assert gate.check(Path()) == 0
    assert looked == [list(COUNTS), ["append"]]


def with_parent(gate, monkeypatch, counts, its_figures):
    built = []

    def measure_commit(commit, paths):
        built.append(commit)
        return {path: counts[path] for path in paths}

    monkeypatch.setattr(gate, "parent", lambda: "0123456789abcdef")
    monkeypatch.setattr(gate, "measure_commit", measure_commit)
    monkeypatch.setattr(gate, "figures_of", lambda commit: its_figures)
    return built


@pytest.mark.parametrize("there", [{}, {"elsewhere": COUNTS}, {"here": {"append": 1}}, None])
def test_under_another_key_the_parent_is_built_and_compared(gate, monkeypatch, capsys, there):
    if there is not None:
        figures(gate, **there)
    built = with_parent(gate, monkeypatch, COUNTS | {"read_next": int(COUNTS["read_next"] / 1.05)}, there or {})
    assert gate.check(Path()) == 1
    assert built == ["0123456789abcdef"]
    assert "gate: read_next costs 5.0% more instructions than commit 0123456789ab" in capsys.readouterr().err


def test_a_checkout_without_history_and_figures_says_that_it_compared_nothing(gate, monkeypatch, capsys):
    def no_parent():
        raise gate.GateError("unknown revision HEAD^")

    monkeypatch.setattr(gate, "parent", no_parent)
    assert gate.check(Path()) == 0
    said = capsys.readouterr().out
    assert "no parent commit to build: unknown revision HEAD^" in said
    assert "NOT compared" in said
    assert "passed" not in said


def test_under_this_key_no_parent_is_built(gate, monkeypatch):
    figures(gate, here=COUNTS)
    built = with_parent(gate, monkeypatch, COUNTS, {})
    assert gate.check(Path()) == 0
    assert not built


def test_what_was_made_dearer_on_purpose_is_allowed_beside_the_parent_too(gate, monkeypatch):
    figures(gate, elsewhere=dearer("append", 1.2))
    with_parent(gate, monkeypatch, COUNTS | {"append": int(COUNTS["append"] / 1.2)}, {"elsewhere": COUNTS})
    assert gate.check(Path()) == 0
    with_parent(gate, monkeypatch, COUNTS | {"append": int(COUNTS["append"] / 1.3)}, {"elsewhere": COUNTS})
    assert gate.check(Path()) == 1


def test_an_update_writes_this_key_and_drops_those_that_speak_of_other_code(gate):
    figures(gate, elsewhere=COUNTS)
    assert gate.update(Path()) == 0
    assert json.loads(gate.FIGURES.read_text()) == {"elsewhere": COUNTS, "here": COUNTS}
    figures(gate, here=dearer("append", 1.5), elsewhere=dearer("append", 1.5))
    assert gate.update(Path()) == 0
    assert json.loads(gate.FIGURES.read_text()) == {"here": COUNTS}


def test_a_missing_valgrind_is_no_pass(gate, monkeypatch, capsys):
    monkeypatch.setattr(gate.sys, "argv", ["gate.py"])
    monkeypatch.setattr(gate.shutil, "which", lambda name: None)
    assert gate.main() == 2
    assert "valgrind is missing" in capsys.readouterr().err


PROFILE = """\
# callgrind format
events: Ir
ob=(1) /package/walrus/_append.so
fl=(1) a.c
fn=(1) append
10 100
+2 20
cob=(2) /lib/libc.so.6
cfn=(2) memcpy
calls=3 50
* 900
cob=(2)
cfn=(3) clock_gettime
calls=1 60
* 7
cob=(2)
cfn=(4) malloc
calls=5 60
* 0

ob=(2)
fn=(2)
50 900
fn=(3)
60 7
totals: 1027
"""


def test_memory_functions_count_by_the_call_and_all_others_by_their_instructions(gate, tmp_path):
    profile = tmp_path / "profile"
    profile.write_text(PROFILE)
    assert gate.total(profile, Path("/package/walrus")) == 100 + 20 + 7 + 3 * gate.MEMORY_CALL


def test_features_are_those_that_valgrind_passes_on(gate):
    assert gate.cpu_features("x : y\nflags\t\t: fpu sse4_2 avx avx2 avx512f vpclmulqdq\n") == ["sse4_2", "avx", "avx2"]
    assert gate.cpu_features("Features\t: fp crc32 pmull\n") == ["crc32", "pmull"]
