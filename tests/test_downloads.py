"""Checkpoints come whole or not at all, whatever the network does."""

import errno
import shutil
import threading
from collections import namedtuple

import pytest

from benchmarks.running_app import free_port
from srin.errors import SegmentationError
from srin.segmentation import checkpoints
from srin.segmentation.checkpoints import CHECKPOINTS, Checkpoint, download, find_checkpoint

pytest_plugins = ["tiny_sam"]


def leave_part(checkpoint: Checkpoint, content: bytes) -> None:
    checkpoint.path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.part.write_bytes(content)


def test_a_download_brings_the_file_and_reports_progress(tiny, server, cache):
    seen = []
    path = download(tiny, lambda done, total: seen.append((done, total)))
    assert path == cache / "sam_tiny.pth"
    assert path.read_bytes() == server.content
    assert seen[-1] == (tiny.size, tiny.size)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert not tiny.part.exists()


def test_what_is_there_is_not_fetched_again(tiny, server, monkeypatch):
    download(tiny)
    monkeypatch.setenv("SRIN_OFFLINE", "1")
    assert download(tiny) == tiny.path
    assert len(server.requests) == 1


def test_an_interrupted_download_continues_where_it_stopped(tiny, server):
    server.stop_after = 200_000
    with pytest.raises(SegmentationError, match=r"broke off after 0\.2 of 0\.\d MB.*Start it again"):
        download(tiny)
    assert not tiny.path.exists()
    assert tiny.part.read_bytes() == server.content[:200_000]

    server.stop_after = None
    seen = []
    download(tiny, lambda done, total: seen.append(done))
    assert server.requests == [None, "bytes=200000-"]
    assert seen[0] > 200_000
    assert tiny.path.read_bytes() == server.content


def test_a_break_is_noticed_without_a_content_length(tiny, server):
    server.length, server.stop_after = False, 1000
    with pytest.raises(SegmentationError, match="broke off"):
        download(tiny)
    assert tiny.part.stat().st_size == 1000


def test_a_server_without_ranges_starts_over(tiny, server):
    leave_part(tiny, server.content[:1000])
    server.ranges = False
    assert download(tiny).read_bytes() == server.content


def test_a_complete_part_needs_no_network(tiny, server):
    leave_part(tiny, server.content)
    assert download(tiny).read_bytes() == server.content
    assert server.requests == []


@pytest.mark.parametrize("kept", [b"", b"x" * 1000])
def test_wrong_content_is_deleted(tiny, server, kept):
    """Wrong content may come from the server, or from an old .part file."""
    if kept:
        leave_part(tiny, kept)
    else:
        server.content = bytes(len(server.content))
    with pytest.raises(SegmentationError, match="not the published one.*was deleted.*Download it again"):
        download(tiny)
    assert not tiny.path.exists() and not tiny.part.exists()


def test_a_part_longer_than_the_file_is_deleted(tiny, server):
    leave_part(tiny, server.content + b"more")
    with pytest.raises(SegmentationError, match="not the published one"):
        download(tiny)
    assert not tiny.part.exists()


def test_a_login_page_in_place_of_the_file_is_refused(tiny, server):
    server.content = b"<html>Please log in</html>"
    with pytest.raises(SegmentationError, match=r"offers 26 bytes .* has \d\d\d,\d\d\d"):
        download(tiny)
    assert not tiny.part.exists()


def test_more_bytes_than_published_never_fill_the_disk(tiny, server):
    server.content += b"more"
    server.length = False
    download(tiny)
    assert tiny.path.stat().st_size == tiny.size


def test_http_errors_say_what_the_server_said(tiny, server):
    server.status = 404
    with pytest.raises(SegmentationError, match="HTTP 404 Not Found"):
        download(tiny)


def test_no_network(tiny):
    unreachable = Checkpoint("tiny", f"http://127.0.0.1:{free_port()}/x.pth", tiny.sha256, tiny.size, 32)
    with pytest.raises(SegmentationError, match="Can't reach .* Check the network"):
        download(unreachable)


def test_offline_refuses_without_asking(tiny, server, monkeypatch):
    monkeypatch.setenv("SRIN_OFFLINE", "1")
    with pytest.raises(SegmentationError, match="SRIN_OFFLINE=1 forbids downloading sam_tiny.pth"):
        download(tiny)
    assert server.requests == []


def test_too_little_space_is_said_before_the_first_byte(tiny, server, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(1000))
    with pytest.raises(SegmentationError, match="needs 1 MB more .* only 0 MB are free"):
        download(tiny)
    assert server.requests == []


def test_a_disk_that_fills_up_on_the_way(tiny, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints.os, "replace", full)
    with pytest.raises(SegmentationError, match="the disk is full"):
        download(tiny)
    assert not tiny.path.exists()


def test_a_cache_that_cannot_be_a_folder(tiny, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SRIN_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(SegmentationError, match="Can't write .*SRIN_CACHE"):
        download(tiny)


def test_stopping_from_the_progress_callback_keeps_the_part(tiny, monkeypatch):
    class Stopped(Exception):
        pass

    def stop(done, total):
        raise Stopped

    monkeypatch.setattr(checkpoints, "CHUNK", 1000)
    with pytest.raises(Stopped):
        download(tiny, stop)
    assert 0 < tiny.part.stat().st_size <= 1000 and not tiny.path.exists()


def test_two_downloads_at_once_fetch_it_once(tiny, server, monkeypatch):
    monkeypatch.setattr(checkpoints, "CHUNK", 10_000)
    results = []
    threads = [threading.Thread(target=lambda: results.append(download(tiny))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [tiny.path] * 4
    assert len(server.requests) == 1
    assert tiny.path.read_bytes() == server.content


def test_find_prefers_the_users_own_file(tiny, tmp_path, monkeypatch):
    assert find_checkpoint() is None
    download(tiny)
    assert find_checkpoint() == tiny.path
    own = tmp_path / "own.pth"
    own.write_bytes(b"anything")
    monkeypatch.setenv("SRIN_SAM_CHECKPOINT", str(own))
    assert find_checkpoint() == own
    own.unlink()
    with pytest.raises(SegmentationError, match="SRIN_SAM_CHECKPOINT is .*own.pth, but there is no"):
        find_checkpoint()


def test_find_overlooks_incomplete_files(tiny, server):
    leave_part(tiny, server.content[:100])
    tiny.path.write_bytes(server.content[:100])
    assert find_checkpoint() is None
    assert download(tiny).read_bytes() == server.content


def test_the_registry_names_the_official_files():
    """The numbers after the architecture in the official names are the beginning of the file's MD5."""
    assert list(CHECKPOINTS) == ["vit_b", "vit_l", "vit_h"]
    for name, checkpoint in CHECKPOINTS.items():
        assert checkpoint.url.startswith(f"https://dl.fbaipublicfiles.com/segment_anything/sam_{name}_")
        assert len(checkpoint.sha256) == 64 and int(checkpoint.sha256, 16)
