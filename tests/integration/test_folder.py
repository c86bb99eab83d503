"""A folder as image store: whole files, errors that leave nothing, and strays that are swept."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from imagepress.blobs import Blobs
from imagepress.folder import STAGING, STRAY_AFTER_SECONDS, Folder
from tests.support.extents import waits_in_memory


def _files(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def _folders(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_dir())


def test_a_file_is_stored_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    """Storing makes the request's folder; storing again replaces; nothing stays staged."""
    folder = Folder(tmp_path)
    folder.put("r/a.jpg", b"one")
    folder.put("r/a.jpg", b"two")
    assert (tmp_path / "r/a.jpg").read_bytes() == b"two"
    assert _files(tmp_path) == ["r/a.jpg"]


async def test_what_is_deleted_leaves_no_empty_folder(tmp_path: Path) -> None:
    """With its last image the folder of a request goes, but never the root: it may be a mount."""
    blobs = Blobs(f"file://{tmp_path}/images")
    for path in ("r/a.jpg", "r/b.jpg", "s/a.jpg"):
        await blobs.put(path, b"one")
    (tmp_path / "images" / STAGING).rmdir()
    assert await blobs.delete_under("r") == 2
    assert _folders(tmp_path) == ["images", "images/s"]
    assert await blobs.delete_under("s") == 1
    assert _folders(tmp_path) == ["images"]


def test_a_root_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    """A lost mount must not be written beneath: the error comes, and no folder appears."""
    root = tmp_path / "mount"
    folder = Folder(root)
    root.rmdir()
    with pytest.raises(FileNotFoundError):
        folder.put("r/a.jpg", b"one")
    assert not root.exists()


def test_what_was_put_is_on_the_disk_once_it_is_synced(tmp_path: Path) -> None:
    """After `sync` no part of a file waits in memory for the kernel to find it a place on the disk."""
    folder = Folder(tmp_path)
    paths = [f"r/{n}.jpg" for n in range(64)]
    for path in paths:
        folder.put(path, b"x" * 6000)
    folder.sync()
    assert not [path for path in paths if waits_in_memory(tmp_path / path)]


def test_a_folder_that_was_exchanged_vouches_for_nothing_put_before(tmp_path: Path) -> None:
    """Another disk is mounted between a put and the sync: an error, once; what is put afterwards is safe."""
    folder = Folder(tmp_path / "mount")
    folder.put("r/a.jpg", b"one")
    (tmp_path / "mount").rename(tmp_path / "the disk before")
    (tmp_path / "mount").mkdir()
    with pytest.raises(OSError, match="Stale"):
        folder.sync()
    folder.put("r/a.jpg", b"one")
    folder.sync()


def test_a_file_that_cannot_be_moved_leaves_nothing_staged(tmp_path: Path) -> None:
    """Where the target cannot be written, the staged file is removed with the error."""
    (tmp_path / "r").write_bytes(b"a file where the request's folder should be")
    with pytest.raises(NotADirectoryError):
        Folder(tmp_path).put("r/a.jpg", b"one")
    assert _files(tmp_path) == ["r"]


def test_only_what_lost_its_writer_is_swept(tmp_path: Path) -> None:
    """A stray of over an hour goes; one that may be being written, and stored images however old, stay."""
    folder = Folder(tmp_path)
    folder.put("r/a.jpg", b"one")
    (tmp_path / STAGING / "fresh").write_bytes(b"half")
    for old in (tmp_path / STAGING / "stray", tmp_path / "r/a.jpg"):
        old.touch()
        os.utime(old, times=(time.time() - STRAY_AFTER_SECONDS - 60,) * 2)
    assert folder.sweep() == 1
    assert _files(tmp_path) == [f"{STAGING}/fresh", "r/a.jpg"]
    assert Folder(tmp_path / "new").sweep() == 0
