"""What the README shows is run: its example, its commands, its links."""
import re
import shlex
from pathlib import Path

import pytest

from walrus import bench, cli

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_example_runs_and_is_short(tmp_path, monkeypatch, capsys):
    [example] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    assert len([line for line in example.splitlines() if line.strip()]) <= 12
    code = compile(example, "README.md", "exec")
    exec(code, {})
    assert capsys.readouterr().out == "0 first\n1 second\n2 third\n"
    exec(code, {})
    assert capsys.readouterr().out == "3 first\n4 second\n5 third\n"


def shown_commands():
    return [line.split("  #")[0].split(" <")[0].strip() for line in README.splitlines() if line.startswith("    walrus ")]


def test_commands_are_shown():
    assert len(shown_commands()) >= 8


@pytest.mark.parametrize("command", shown_commands())
def test_every_command_shown_is_one(command):
    arguments = shlex.split(command)[1:]
    assert cli.build_parser().parse_args(arguments).command == arguments[0]


def test_every_make_target_shown_is_one():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"`?make ([a-z]+)", README)) - {"a"}
    assert targets >= {"demo", "test"}
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("document", ["README.md", "docs/guarantees.md", "docs/operating.md"])
def test_links_lead_somewhere(document):
    file = ROOT / document
    for target in re.findall(r"\]\(([^)#:]+)\)", file.read_text()):
        assert (file.parent / target).is_file(), target


@pytest.mark.parametrize("figure", bench.FIGURES.values(), ids=lambda figure: figure.name)
def test_figures_that_the_readme_names_are_the_benchs(figure):
    assert f"| {figure.title} |" in README
