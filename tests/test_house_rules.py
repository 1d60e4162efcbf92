"""The rules of the house, held by the sources: modules use only what is below them, nothing grows too long, nothing below the
border raises or takes the GIL. Each check is tried on small made-up sources first, so that it is known to fail.
"""
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "walrus"
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 600

# Bottom to top. A module uses those of lower layers, and of its own layer those named before it.
LAYERS = {
    0: ["_libc", "_uring", "_isal", "_rules"],
    1: ["_checksum", "_frame", "_extent", "_logfile_format", "_changes", "_snapshot_format"],
    2: ["_device_types", "_trace", "_transfer", "_ring", "_read_ring", "_device"],
    3: ["_staging", "_logfiles", "_journal", "_topics", "_control", "_catalog", "_cursors"],
    4: ["_log_state", "_append", "_writeback", "_read_cache", "_read_source", "_read_large", "_read", "_take",
        "_journal_reuse", "_group_commit", "_space", "_repair", "_truncate", "_findings", "_adopt", "_restore",
        "_merge", "_reopen_control", "_scan", "_salvage", "_survey", "_reopen_files", "_recovery", "_iothread", "_log",
        "_view"],
    # The exceptions' classes import nothing, and the border raises them: they come first in its layer.
    5: ["errors", "_core_errors", "_core_gather", "_core", "_core_topic", "_core_read", "_core_cursor", "_core_repair",
        "_core_view"],
    6: ["schedules", "options", "stats", "cursor", "topic", "log", "reader", "reference", "__init__"],
    7: ["limits", "progress", "doctor", "demo", "bench", "cli", "__main__"],
}
BELOW_THE_BORDER = range(5)

# file, or file:function: why it may be longer
LONG: dict[str, str] = {}

STRING_OR_COMMENT = re.compile(r'''("""|\'\'\')(?:\\.|(?!\1).)*\1|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|\#[^\n]*''', re.DOTALL)
FUNCTION = re.compile(r"(?:async\s+)?def\s+(\w+)|(?:cdef|cpdef)\s(?!\s*(?:class|extern|enum|struct|union)\b)[^(]*?(\w+)\s*\(")


def blanked(match):
    text = match.group()
    if text.startswith("#"):
        return ""
    return '"' + text[1:-1].translate({ord("\n"): "\\\n"} | dict.fromkeys(map(ord, set(text) - {"\n"}), " ")) + '"'


def code_of(source):
    """The source without comments and the contents of strings; the lines keep their numbers."""
    return STRING_OR_COMMENT.sub(blanked, source)


def statements(source):
    """(first line, last line, indentation, text) of each logical line, counted from 1."""
    found, begun, depth, text = [], 0, 0, ""
    for number, line in enumerate(code_of(source).split("\n"), 1):
        if not text and not line.strip():
            continue
        begun = begun or number
        depth += sum(line.count(c) for c in "([{") - sum(line.count(c) for c in ")]}")
        text += line.rstrip("\\") + " "
        if depth <= 0 and not line.endswith("\\"):
            found.append((begun, number, len(text) - len(text.lstrip()), text.strip()))
            begun, depth, text = 0, 0, ""
    return found


def imports(source, known):
    """The modules of walrus that a source imports or cimports; `__init__` stands for names of the package itself."""
    used = set()
    for _, _, _, text in statements(source):
        if match := re.match(r"from\s+(?:walrus\.|\.)(\w+)\S*\s+c?import\b", text):
            used.add(match[1])
        elif match := re.match(r"from\s+(?:walrus|\.)\s+c?import\b(.*)", text):
            names = [part.split()[0] for part in match[1].strip(" ()").split(",") if part.strip()]
            used |= {name if name in known else "__init__" for name in names}
        elif match := re.match(r"c?import\s+(.*)", text):
            names = [part.split()[0] for part in match[1].split(",") if part.strip()]
            paths = [name.split(".") for name in names]
            used |= {path[1] if len(path) > 1 else "__init__" for path in paths if path[0] == "walrus"}
    return used


def upward(sources, layers):
    """(module, used) of each import that does not go down; `sources` are pairs of a module and a text."""
    order = [module for layer in sorted(layers) for module in layers[layer]]
    rank = {module: place for place, module in enumerate(order)}
    edges = {(module, used) for module, source in sources for used in imports(source, rank) if used != module}
    unknown = sorted(({module for module, _ in sources} | {used for _, used in edges}) - set(rank))
    assert not unknown, f"not in LAYERS of tests/test_house_rules.py: {unknown}; add each to its layer, after what it uses"
    return {(module, used) for module, used in edges if rank[used] >= rank[module]}


def functions(source):
    """(name, lines) of each function with a body on lines of its own."""
    lines = statements(source)
    found = []
    for place, (first, last, indentation, text) in enumerate(lines):
        match = FUNCTION.match(text)
        if match and text.endswith(":"):
            for _, end, deeper, _ in lines[place + 1:]:
                if deeper <= indentation:
                    break
                last = end
            found.append((match[1] or match[2], last - first + 1))
    return found


def too_long(files):
    """`file` and `file:function` of what exceeds the limits, with its lines."""
    found = {name: len(text.splitlines()) for name, text in files if len(text.splitlines()) > FILE_LINES_MAX}
    for name, text in files:
        found |= {f"{name}:{function}": lines for function, lines in functions(text) if lines > FUNCTION_LINES_MAX}
    return found


def raises(source):
    """Lines that raise or take the GIL."""
    return [first for first, _, _, text in statements(source) if re.search(r"\bwith\s+gil\b|^raise\b|:\s*raise\b", text)]


def switches(sources):
    """{name of an ordering rule: files that can break it in the debug build}"""
    found = {}
    for name, text in sources:
        for _, _, _, statement in statements(text):
            for rule in re.findall(r"WALRUS_DEBUG and rule_broken\(RULE_(\w+)\)", statement):
                found.setdefault(rule.lower(), set()).add(name)
    return found


def rows(text):
    """Names in the first column of the table of ordering rules."""
    return re.findall(r"^\| `(\w+)` \|", text[text.index("## Order of writes"):], re.MULTILINE)


def package_files(*endings):
    found = [(path, path.read_text()) for path in sorted(PACKAGE.iterdir()) if path.suffix in endings]
    assert found, f"no sources in {PACKAGE}"
    return found


def test_the_order_names_each_module_once():
    order = [module for layer in LAYERS.values() for module in layer]
    assert sorted(order) == sorted(set(order))


def test_no_module_uses_what_is_above_it():
    found = upward([(path.stem, text) for path, text in package_files(".pyx", ".pxd", ".py")], LAYERS)
    assert not found, f"imported upward: {sorted(found)}"


def test_no_function_and_no_file_is_too_long():
    found = too_long([(path.name, text) for path, text in package_files(".pyx", ".pxd", ".py")])
    new = {name: lines for name, lines in found.items() if name not in LONG}
    assert not new, f"longer than {FUNCTION_LINES_MAX} lines (functions) or {FILE_LINES_MAX} (files): {new}"
    assert not set(LONG) - set(found), f"no longer so, take them out of LONG: {sorted(set(LONG) - set(found))}"


def test_nothing_below_the_border_raises_or_takes_the_gil():
    below = {module for layer in BELOW_THE_BORDER for module in LAYERS[layer]}
    found = {path.name: lines for path, text in package_files(".pyx", ".pxd") if path.stem in below and (lines := raises(text))}
    assert not found, f"lines that raise or take the GIL: {found}"


def test_each_ordering_rule_has_a_switch_and_a_row_in_the_format_s_table():
    named = re.findall(r'R\(\w+, "(\w+)"\)', (PACKAGE / "_rules.pxd").read_text())
    assert len(named) == len(set(named)) == 32
    broken = switches([(path.name, text) for path, text in package_files(".pyx")])
    assert set(broken) == set(named), f"without a switch: {sorted(set(named) - set(broken))}"
    assert sorted(rows((PACKAGE.parent / "docs" / "format.md").read_text())) == sorted(named)


# -- the checks themselves

MADE_UP = {0: ["_low", "_same"], 1: ["_high"], 2: ["__init__"]}


def test_an_import_upward_is_seen_in_each_way_to_write_it():
    for line in ("from walrus._high cimport x", "from walrus._high import x", "from ._high import x", "from walrus cimport _high",
                 "from . import _same, _high", "cimport walrus._high", "import walrus._high as h", "import os, walrus._high",
                 "from walrus._high cimport (a,\n    b)", "from walrus cimport (\n    _high,\n)",
                 "from walrus._high \\\n    cimport x", "def f():\n    from walrus._high import x"):
        assert ("_low", "_high") in upward([("_low", line)], MADE_UP), line


def test_imports_downward_and_of_itself_and_those_in_text_are_not_upward():
    for line in ("from walrus._low cimport x", "from walrus._same cimport y", "from walrus._high cimport z", "import os",
                 "from libc.math cimport sin", "# from walrus import y", '"""\nfrom walrus import y\n"""'):
        assert not upward([("_high", line)], MADE_UP), line


def test_the_same_layer_is_used_only_backward():
    assert not upward([("_same", "from walrus._low cimport x")], MADE_UP)
    assert upward([("_low", "from walrus._same cimport x")], MADE_UP) == {("_low", "_same")}


def test_the_package_itself_is_above_its_modules():
    assert upward([("_high", "from walrus import open")], MADE_UP) == {("_high", "__init__")}
    assert upward([("_high", "import walrus")], MADE_UP) == {("_high", "__init__")}


def test_a_module_that_is_not_listed_is_named_with_the_place_to_add_it():
    for sources in ([("_new", "")], [("_low", "from walrus._new cimport x")]):
        with pytest.raises(AssertionError, match=r"test_house_rules\.py: \['_new'\]; add each to its layer"):
            upward(sources, MADE_UP)


def function_of(lines, header="cdef int work(int a) noexcept nogil:"):
    return header + "\n" + "    a += 1\n" * (lines - 1)


def test_function_lengths_are_those_of_their_bodies():
    after = "\n\n\n# a comment\ncdef int other() noexcept nogil:\n    return 0\n"
    assert functions(function_of(70) + after) == [("work", 70), ("other", 2)]
    assert functions("class A:\n    def f(\n        self,\n    ) -> int:\n        return 1\n\n    x = 1\n") == [("f", 4)]
    assert functions('def f():\n    """text\ndef g():\n"""\n    return 1\n') == [("f", 5)]
    assert functions("cdef inline Chunk *take(int a,\n        int b) noexcept nogil:\n    return NULL\n") == [("take", 3)]
    assert functions('cdef extern from "a.h" nogil:\n    int f(int a)\n') == []
    assert functions("cdef class A(B):\n    cdef int f(self)\ncdef int x = g(1)\n") == []


def test_too_long_functions_and_files_are_seen():
    for header in ("cdef int work(int a) noexcept nogil:", "def work(a):", "async def work(a):", "cpdef work(a):"):
        assert too_long([("a.pyx", function_of(70, header))]) == {}
        assert too_long([("a.pyx", function_of(71, header))]) == {"a.pyx:work": 71}
    assert too_long([("a.py", "x = 1\n" * 600)]) == {}
    assert too_long([("a.py", "x = 1\n" * 601)]) == {"a.py": 601}


def test_raising_and_taking_the_gil_are_seen_but_not_in_text():
    assert raises("x = 1\nraise ValueError\n") == [2]
    assert raises("def f():\n    with gil:\n        pass\n") == [2]
    assert raises("cdef int f() noexcept with gil:\n    return 0\n") == [1]
    assert raises("if x: raise ValueError\n") == [1]
    assert raises('# raise\nfail(b"raise it")\nraised = 1\nwith nogil:\n    pass\n"""\nraise with gil\n"""\n') == []


def test_switches_and_rows_are_those_of_the_code_not_of_comments():
    text = """
if WALRUS_DEBUG and rule_broken(RULE_A_B):
    pass
# if WALRUS_DEBUG and rule_broken(RULE_C):
if rule_broken(RULE_D):
    pass
"""
    assert switches([("a.pyx", text)]) == {"a_b": {"a.pyx"}}
    assert rows("| `x` | y |\n## Order of writes\n| rule | z |\n|---|---|\n| `a` | b |\n| `c_d` | e |\n") == ["a", "c_d"]
