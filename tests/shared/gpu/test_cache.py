"""The compile cache: entries appear whole, processes share them, nothing foreign is used."""

import os
import platform
import subprocess
import sys

import pytest

from shared.gpu import cache


@pytest.fixture
def shared(tmp_path):
    return tmp_path / "jax" / "key"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_root_comes_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("CORROBORATE_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.cache_root() == tmp_path / ".cache" / "corroborate"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.cache_root() == tmp_path / "xdg" / "corroborate"
    monkeypatch.setenv("CORROBORATE_CACHE", str(tmp_path / "own"))
    assert cache.cache_root() == tmp_path / "own"
    for off in ("", "off"):
        monkeypatch.setenv("CORROBORATE_CACHE", off)
        assert cache.cache_root() is None


def test_another_cpu_type_or_jax_has_another_folder(monkeypatch, tmp_path):
    folders = {cache.shared_folder(tmp_path)}
    assert folders == {cache.shared_folder(tmp_path)}
    one = {"model name": "A", "flags": "avx avx2"}
    for info in (one, one | {"flags": "avx"}, one | {"model name": "B"}, {}):
        monkeypatch.setattr(cache, "_cpuinfo", lambda info=info: info)
        folders.add(cache.shared_folder(tmp_path))
    monkeypatch.setattr(cache, "version", lambda package: "99.0")
    folders.add(cache.shared_folder(tmp_path))
    assert len(folders) == 6


def test_unreadable_features_tie_the_cache_to_the_host(monkeypatch):
    monkeypatch.setattr(cache, "_cpuinfo", dict)
    here = cache.machine_key()
    monkeypatch.setattr(platform, "node", lambda: "elsewhere")
    assert cache.machine_key() != here


def test_entries_are_shared_once_they_are_published(shared):
    mine = cache.open_private(shared)
    (mine / "a-cache").write_bytes(b"first half")  # as JAX writes: in place
    assert names(cache.open_private(shared)) == []  # nobody else sees it
    (mine / "a-cache").write_bytes(b"first half, second half")
    assert cache.publish(mine) == 1
    assert cache.publish(mine) == 0
    assert (cache.open_private(shared) / "a-cache").read_bytes() == b"first half, second half"


def test_a_published_entry_is_never_replaced(shared):
    mine, other = cache.open_private(shared), cache.open_private(shared)
    (mine / "a-cache").write_bytes(b"one")
    (other / "a-cache").write_bytes(b"two")
    assert cache.publish(mine) == 1
    assert cache.publish(other) == 0
    assert (shared / "entries" / "a-cache").read_bytes() == b"one"


def test_two_that_publish_at_the_same_moment(shared, monkeypatch):
    mine = cache.open_private(shared)
    (mine / "a-cache").write_bytes(b"one")
    link = os.link

    def beaten(source, target):
        target.write_bytes(b"two")
        link(source, target)

    monkeypatch.setattr(os, "link", beaten)
    assert cache.publish(mine) == 0
    assert names(shared / "entries") == ["a-cache"]


def test_file_systems_without_hard_links(shared, monkeypatch):
    def refuse(source, target):
        raise PermissionError("no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    mine = cache.open_private(shared)
    (mine / "a-cache").write_bytes(b"one")
    assert cache.publish(mine) == 1
    other = cache.open_private(shared)
    assert (other / "a-cache").read_bytes() == b"one"
    assert cache.publish(other) == 0
    assert names(shared / "entries") == ["a-cache"]  # no temporary left


def test_closing_publishes_and_removes_but_not_in_a_forked_child(shared):
    mine = cache.open_private(shared)
    (mine / "a-cache").write_bytes(b"one")
    cache._close(mine, os.getpid() + 1)
    assert mine.exists()
    assert names(shared / "entries") == []
    cache._close(mine, os.getpid())
    assert not mine.exists()
    assert names(shared / "entries") == ["a-cache"]


def test_what_killed_processes_left_is_removed(shared):
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait(timeout=30)
    private, host = shared / "private", platform.node()
    kept = [f"{host}-{os.getppid()}-x", "elsewhere-1-x"]
    gone = [f"{host}-{done.pid}-x", "elsewhere-2-x"]
    for name in kept + gone:
        (private / name).mkdir(parents=True)
        (private / name / "stump-cache").write_bytes(b"half")
    os.utime(private / "elsewhere-2-x", (0, 0))
    mine = cache.open_private(shared)
    assert names(private) == sorted([*kept, mine.name])
    assert names(mine) == []


def test_the_oldest_entries_make_room(shared, monkeypatch):
    monkeypatch.setattr(cache, "LARGEST_BYTES", 250)
    mine = cache.open_private(shared)
    for age, name in enumerate("abc"):
        (mine / f"{name}-cache").write_bytes(bytes(100))
        os.utime(mine / f"{name}-cache", (1000 - age, 1000 - age))
    assert cache.publish(mine) == 3
    assert names(shared / "entries") == ["a-cache", "b-cache"]


def test_only_the_own_folder_is_taken_up_again(shared):
    mine = cache.open_private(shared)
    assert cache.is_own(str(mine), shared)
    assert not cache.is_own(None, shared)
    assert not cache.is_own(str(mine), shared.parent / "other")
    stranger = shared / "private" / f"{platform.node()}-{os.getppid()}-x"
    stranger.mkdir()
    assert not cache.is_own(str(stranger), shared)
