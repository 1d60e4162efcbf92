"""Keys, environment and directories: two keys never share a directory, none leaves the data directory."""
import itertools
import os
from pathlib import Path

import pytest

import walrus
from walrus.options import directory_of_key, resolve

HOSTILE = [
    "", ".", "..", "...", "a/b", "a_b", "a b", "a\\b", "/", "//", "/etc", "../x", "a/../b", "ns_", "ns_e",
    "NS_E", "ns_x61", "a.b", "a" * 200, "a" * 201, "a" * 300, "a" * 300 + "b", "é", "é" * 300, "e\u0301",
    "\u202e", "\U0001f40b", "\0", "\n", "\ud800", "-", "_", "--", "con", "ns_h" + "0" * 64, "ns_x" +
    b"b".hex(), "%2F", "~", "~root", "$HOME", "*",
]


def test_no_two_keys_share_a_directory():
    keys = HOSTILE + [a + b for a, b in itertools.product(["a", "/", "_", ".", "é", "ns_", "ns_x"], repeat=2)]
    keys = list(dict.fromkeys(keys))
    names = {directory_of_key(key).lower() for key in keys if not key.isupper()}
    assert len(names) == len([key for key in keys if not key.isupper()])


@pytest.mark.parametrize("key", HOSTILE, ids=ascii)
def test_a_key_is_one_name_inside_the_data_directory(key):
    name = directory_of_key(key)
    assert name not in ("", ".", "..")
    assert "/" not in name
    assert "\0" not in name
    assert len(os.fsencode(name)) <= 255
    assert name.isascii()
    assert directory_of_key(key) == name


@pytest.mark.parametrize("key", ["a", "billing", "a-b_c", "A1", "0", "-", "a" * 200])
def test_a_plain_key_names_its_directory(key):
    assert directory_of_key(key) == key


def test_no_plain_key_has_the_prefix_of_the_others():
    for key in HOSTILE:
        name = directory_of_key(key)
        assert (name == key) != name.startswith("ns_")


@pytest.mark.storage
@pytest.mark.parametrize("key", ["..", "a/b", "", "x" * 300, "é\U0001f40b", "/etc/passwd"], ids=ascii)
def test_a_hostile_key_opens_inside_the_data_directory(open_log, tmp_path, key):
    before = set(tmp_path.parent.iterdir())
    with open_log("data", key=key) as log:
        log.topic("t").append(b"x")
        assert Path(log.path).parent == tmp_path / "data"
    assert set(tmp_path.parent.iterdir()) == before
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.storage
def test_keys_that_look_alike_are_different_logs(open_log):
    a, b = open_log("data", key="a/b"), open_log("data", key="a_b")
    a.topic("t").append(b"a/b")
    b.topic("t").append(b"a_b")
    assert [entry.data for entry in a.topic("t").read()] == [b"a/b"]
    assert [entry.data for entry in b.topic("t").read()] == [b"a_b"]


class TestEnvironment:
    @pytest.fixture(autouse=True)
    def here(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        return tmp_path

    def test_default(self, here):
        assert resolve().path == str(here / "wal_files")

    def test_directory_and_key(self, here, monkeypatch):
        monkeypatch.setenv("WALRUS_DATA_DIR", str(here / "data"))
        monkeypatch.setenv("WALRUS_INSTANCE_KEY", "billing")
        assert resolve().path == str(here / "data" / "billing")

    def test_an_explicit_key_wins(self, here, monkeypatch):
        monkeypatch.setenv("WALRUS_INSTANCE_KEY", "billing")
        assert resolve(key="other").path == str(here / "wal_files" / "other")

    def test_a_path_ignores_both(self, here, monkeypatch):
        monkeypatch.setenv("WALRUS_DATA_DIR", str(here / "data"))
        monkeypatch.setenv("WALRUS_INSTANCE_KEY", "billing")
        assert resolve("mine").path == str(here / "mine")
        assert resolve("mine", key="k").path == str(here / "mine" / "k")

    def test_it_is_read_at_open(self, here, monkeypatch):
        for name in ("first", "second"):
            monkeypatch.setenv("WALRUS_DATA_DIR", name)
            assert resolve().path == str(here / name)

    def test_the_key_of_the_environment_may_be_hostile(self, here, monkeypatch):
        monkeypatch.setenv("WALRUS_INSTANCE_KEY", "../../etc")
        assert Path(resolve().path).parent == here / "wal_files"

    @pytest.mark.parametrize(("value", "way"), [("1", 2), ("true", 2), ("0", 0), ("", 0), ("no", 0)])
    def test_io_uring_can_be_switched_off(self, monkeypatch, value, way):
        monkeypatch.setenv("WALRUS_DISABLE_IO_URING", value)
        assert resolve("x").engine["way"] == way
        assert resolve("x", backend="io_uring").engine["way"] == 1

    def test_the_backends_of_the_process_can_be_switched(self, here):
        walrus.disable_fd_backend()
        try:
            with walrus.open("mapped") as log:
                assert log.stats().io == "mmap"
            with walrus.open("asked", backend="pwrite") as log:
                assert log.stats().io == "pwrite"
        finally:
            walrus.enable_fd_backend()
        with walrus.open("mapped") as log:
            assert log.stats().io != "mmap"
