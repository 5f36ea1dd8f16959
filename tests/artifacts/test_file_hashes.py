"""A large file is read once, and again only where it may have changed."""

from __future__ import annotations

import hashlib
import os
import time

import pytest
from facts import fails

from crossrec_cli.artifacts import file_hashes
from crossrec_cli.artifacts.file_hashes import hash_file
from crossrec_cli.errors import InputError


@pytest.fixture
def reads(monkeypatch, tmp_path):
    """What is read; large is everything, and a change counts as settled after the time of a test."""
    read = []
    plain = file_hashes.sha256_of
    monkeypatch.setattr(file_hashes, "sha256_of", lambda path: (read.append(path.name), plain(path))[1])
    monkeypatch.setattr(file_hashes, "user_cache_path", lambda name: tmp_path / "cache")
    monkeypatch.setattr(file_hashes, "LARGE", 1)
    monkeypatch.setattr(file_hashes, "SETTLED", -1.0)
    return read


def test_a_file_that_stays_the_same_is_read_once(reads, tmp_path):
    file, other = tmp_path / "a.csv", tmp_path / "b.csv"
    file.write_text("one")
    other.write_text("two")
    assert [hash_file(file), hash_file(other), hash_file(file), hash_file(other)] == [
        hashlib.sha256(text).hexdigest() for text in (b"one", b"two", b"one", b"two")
    ]
    assert reads == ["a.csv", "b.csv"]


def test_a_file_that_may_have_changed_is_read_again(reads, tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("one")
    times = file.stat()
    seen = [hash_file(file)]
    file.write_text("two")  # of the same size, and with the times of before
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    seen.append(hash_file(file))
    (tmp_path / "new").write_text("six")
    (tmp_path / "new").replace(file)
    seen.append(hash_file(file))
    assert seen == [hashlib.sha256(text).hexdigest() for text in (b"one", b"two", b"six")]


def test_what_changed_just_now_or_is_small_is_not_remembered(reads, tmp_path, monkeypatch):
    monkeypatch.setattr(file_hashes, "SETTLED", time.time())
    file = tmp_path / "a.csv"
    file.write_text("one")
    assert hash_file(file) == hash_file(file)
    monkeypatch.setattr(file_hashes, "SETTLED", -1.0)
    monkeypatch.setattr(file_hashes, "LARGE", 4)
    assert hash_file(file) == hash_file(file)
    assert reads == ["a.csv"] * 4
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_is_damaged_or_cannot_be_written_is_no_harm(reads, tmp_path):
    file, cache = tmp_path / "a.csv", tmp_path / "cache"
    file.write_text("one")
    expected = hash_file(file)
    for text in ("", "[]", '{"a": 1'):
        (cache / "file-hashes.json").write_text(text)
        assert hash_file(file) == expected
    (cache / "file-hashes.json").unlink()
    cache.rmdir()
    cache.write_text("a file")
    assert hash_file(file) == expected


def test_no_more_files_are_remembered_than_some(reads, tmp_path, monkeypatch):
    monkeypatch.setattr(file_hashes, "KEPT", 2)
    for name in "abc":
        (tmp_path / name).write_text(name)
        hash_file(tmp_path / name)
    for name in "cba":
        hash_file(tmp_path / name)
    assert reads == ["a", "b", "c", "a"]


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with fails(InputError, tmp_path / "nowhere"):
        hash_file(tmp_path / "nowhere")


@pytest.mark.parametrize("value", ["null", "[]", "{}", "7", "[[3, 1, 1, 1], null]", '[[3, 1, 1, 1], ""]', '"a"'])
def test_a_cache_of_another_form_is_none_and_is_written_anew(reads, tmp_path, value):
    file, cache = tmp_path / "a.csv", tmp_path / "cache" / "file-hashes.json"
    file.write_text("one")
    cache.parent.mkdir()
    for content in (f'{{"{file}": {value}}}', "[" * 100_000):
        cache.write_text(content)
        assert hash_file(file) == hash_file(file) == hashlib.sha256(b"one").hexdigest()
    assert reads == ["a.csv"] * 2


def test_a_cache_that_cannot_be_written_leaves_nothing_behind(reads, tmp_path):
    file, cache = tmp_path / "a.csv", tmp_path / "cache" / "file-hashes.json"
    file.write_text("one")
    cache.mkdir(parents=True)
    assert hash_file(file) == hash_file(file)
    assert [*cache.parent.iterdir()] == [cache]
