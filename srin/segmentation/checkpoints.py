"""Segment Anything checkpoints: where they come from, where they are kept, and how they are downloaded and verified."""

import errno
import hashlib
import http.client
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from srin.errors import SegmentationError

NONE_HERE = "There is no Segment Anything checkpoint on this machine."

LICENCE = "Apache-2.0"  # of all official checkpoints
CHUNK = 1 << 20
TIMEOUT = 30  # seconds without a byte
HUB = "hf://"


@dataclass(frozen=True)
class Checkpoint:
    """A downloadable checkpoint.

    Attributes:
        name: the architecture's key in segment_anything.sam_model_registry.
        url: where the file is; its last part is the file's name in the cache.
        sha256: hash of the whole file, in hexadecimal.
        size: bytes of the file.
        embed_dim: width of the image encoder, by which a file's architecture is recognised.
    """

    name: str
    url: str
    sha256: str
    size: int
    embed_dim: int

    @property
    def path(self) -> Path:
        """Where the cache keeps the file, whether or not it is there."""
        return cache_folder() / self.url.rpartition("/")[2]

    @property
    def part(self) -> Path:
        """Where an unfinished download keeps its bytes."""
        return self.path.with_name(self.path.name + ".part")

    @property
    def is_complete(self) -> bool:
        """Whether the cache holds the file. Its hash was checked before `download` gave it this name."""
        return self.path.is_file() and self.path.stat().st_size == self.size


_HOST = "https://dl.fbaipublicfiles.com/segment_anything/"
CHECKPOINTS = {
    "vit_b": Checkpoint(
        name="vit_b",
        url=_HOST + "sam_vit_b_01ec64.pth",
        sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        size=375_042_383,
        embed_dim=768,
    ),
    "vit_l": Checkpoint(
        name="vit_l",
        url=_HOST + "sam_vit_l_0b3195.pth",
        sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        size=1_249_524_607,
        embed_dim=1024,
    ),
    "vit_h": Checkpoint(
        name="vit_h",
        url=_HOST + "sam_vit_h_4b8939.pth",
        sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        size=2_564_550_879,
        embed_dim=1280,
    ),
}


def cache_folder() -> Path:
    """The folder of downloaded checkpoints: SRIN_CACHE, or ~/.cache/srin."""
    return Path(os.environ.get("SRIN_CACHE") or "~/.cache/srin").expanduser()


def find_checkpoint() -> Path | None:
    """The checkpoint to use: the one that SRIN_SAM_CHECKPOINT names, or else the smallest one in the cache.

    SRIN_SAM_CHECKPOINT is a file, a key of CHECKPOINTS, or an address that `fetch_from_hub` takes.

    Returns:
        Its path, or None if there is none, or none yet.

    Raises:
        SegmentationError: SRIN_SAM_CHECKPOINT is none of these.
    """
    chosen = os.environ.get("SRIN_SAM_CHECKPOINT")
    if chosen in CHECKPOINTS:
        return CHECKPOINTS[chosen].path if CHECKPOINTS[chosen].is_complete else None
    if chosen and chosen.startswith(HUB):
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(*_on_hub(chosen))
        return Path(cached) if isinstance(cached, str) else None
    if chosen:
        if not Path(chosen).is_file():
            raise SegmentationError(f"SRIN_SAM_CHECKPOINT is {chosen}, but there is no such file.")
        return Path(chosen)
    complete = [checkpoint for checkpoint in CHECKPOINTS.values() if checkpoint.is_complete]
    return min(complete, key=lambda checkpoint: checkpoint.size).path if complete else None


def is_here() -> bool:
    """Whether there is a checkpoint to use."""
    try:
        return find_checkpoint() is not None
    except SegmentationError:
        return False


def fetch_from_hub() -> None:
    """Downloads the checkpoint that SRIN_SAM_CHECKPOINT names as hf://OWNER/REPOSITORY/FILE, unless it is here already.

    For private repositories, HF_TOKEN must hold a token that may read them.

    Raises:
        SegmentationError: SRIN_OFFLINE=1 forbids it, or the Hub doesn't give the file.
    """
    chosen = os.environ.get("SRIN_SAM_CHECKPOINT", "")
    if chosen.startswith(HUB) and find_checkpoint() is None:
        if is_offline():
            raise SegmentationError(f"SRIN_OFFLINE=1 forbids downloading {chosen}.")
        from huggingface_hub import hf_hub_download

        try:
            hf_hub_download(*_on_hub(chosen))
        except Exception as error:  # of many kinds: no network, no such file, no permission, no space
            raise SegmentationError(f"{chosen} can't be fetched: {error}") from error


def _on_hub(address: str) -> tuple[str, str]:
    """The repository and the file of hf://OWNER/REPOSITORY/FILE. Raises SegmentationError for other addresses."""
    parts = address.removeprefix(HUB).split("/", 2)
    if len(parts) < 3 or not all(parts):
        raise SegmentationError(f"SRIN_SAM_CHECKPOINT is {address}; it must be hf://OWNER/REPOSITORY/FILE.")
    return f"{parts[0]}/{parts[1]}", parts[2]


def offer(checkpoint: Checkpoint) -> str:
    """What to tell people before a download begins: what it is, its licence, its size and where it comes from."""
    host = checkpoint.url.split("/")[2]
    return (
        f"Segment Anything {checkpoint.name}, {checkpoint.size / 1e6:,.0f} MB, licence {LICENCE}, from {host}, "
        f"to be kept in {cache_folder()}."
    )


def chosen() -> Checkpoint | None:
    """The official checkpoint that SRIN_SAM_CHECKPOINT names, or None."""
    return CHECKPOINTS.get(os.environ.get("SRIN_SAM_CHECKPOINT", ""))


def offered() -> Checkpoint | None:
    """The checkpoint to offer for download: the official one that is chosen, or else the smallest, vit_b.

    None if SRIN_SAM_CHECKPOINT names a file or an address on the Hub, because no other checkpoint is wanted then.
    """
    if os.environ.get("SRIN_SAM_CHECKPOINT"):
        return chosen()
    return min(CHECKPOINTS.values(), key=lambda checkpoint: checkpoint.size)


def is_offline() -> bool:
    """Whether SRIN_OFFLINE=1 forbids downloads."""
    return os.environ.get("SRIN_OFFLINE") == "1"


def free_bytes() -> int:
    """Free bytes on the disk of the cache folder. Raises OSError if they can't be found out."""
    folder = cache_folder().absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def download(checkpoint: Checkpoint, progress: Callable[[int, int], None] | None = None) -> Path:
    """Downloads a checkpoint into the cache, unless it is there.

    The bytes go to a file ending in .part, which is renamed only after its hash was checked. The next download continues
    an interrupted one. Two downloads of the same file wait for each other.

    Args:
        checkpoint: an entry of CHECKPOINTS.
        progress: called with (bytes so far, bytes in all); may raise an exception to stop.

    Returns:
        The path of the complete file.

    Raises:
        SegmentationError: downloads are switched off by SRIN_OFFLINE=1, the server can't be reached or offers
            another file, the connection broke (the next download continues), the content is wrong (it is
            deleted), or the cache folder can't be written or the disk is full.
    """
    if checkpoint.is_complete:
        return checkpoint.path
    if is_offline():
        raise SegmentationError(
            f"SRIN_OFFLINE=1 forbids downloading {checkpoint.path.name}. "
            "Unset it, or point SRIN_SAM_CHECKPOINT to a checkpoint file that you have."
        )
    part = checkpoint.part
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(part.with_suffix(".lock")):
            if not checkpoint.is_complete:  # another process may have finished while this one waited
                _fetch(checkpoint, part, progress or (lambda done, total: None))
                os.replace(part, checkpoint.path)
    except OSError as error:
        raise _write_error(checkpoint, error) from error
    return checkpoint.path


def _fetch(checkpoint: Checkpoint, part: Path, progress: Callable[[int, int], None]) -> None:
    """Downloads the missing bytes to `part`, and verifies the whole file."""
    digest = hashlib.sha256()
    done = _hash_existing(part, digest)
    if done < checkpoint.size:
        _check_space(checkpoint, part.parent, checkpoint.size - done)
        with _open(checkpoint, done) as response:
            if response.status != http.HTTPStatus.PARTIAL_CONTENT:  # the server starts over
                done, digest = 0, hashlib.sha256()
            _check_offer(checkpoint, response, done)
            with open(part, "ab" if done else "wb") as file:
                while chunk := _read(checkpoint, response, done):
                    file.write(chunk)
                    digest.update(chunk)
                    done += len(chunk)
                    progress(done, checkpoint.size)
    if done < checkpoint.size:
        raise _interrupted(checkpoint, done)
    if digest.hexdigest() != checkpoint.sha256:
        part.unlink()
        raise SegmentationError(
            f"The content of {checkpoint.path.name} is not the published one (its SHA-256 differs), so it "
            "was deleted. Download it again; if that fails too, something on the way alters it."
        )


def _hash_existing(part: Path, digest: "hashlib._Hash") -> int:
    """Adds the bytes that an earlier download left in `part` to the digest. Returns how many there are."""
    if not part.exists():
        return 0
    with open(part, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
        return file.tell()


def _open(checkpoint: Checkpoint, start: int) -> http.client.HTTPResponse:
    headers = {"User-Agent": "srin-studio"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(checkpoint.url, headers=headers)
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        raise SegmentationError(
            f"The server refused {checkpoint.url} (HTTP {error.code} {error.reason}). Try again later, or "
            "get the file by other means and point SRIN_SAM_CHECKPOINT to it."
        ) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise SegmentationError(
            f"Can't reach {checkpoint.url} ({reason}). Check the network, or get the file by other means and "
            "point SRIN_SAM_CHECKPOINT to it."
        ) from error


def _check_offer(checkpoint: Checkpoint, response: http.client.HTTPResponse, start: int) -> None:
    """Refuses an answer of the wrong size: login pages of public networks, for example, answer 200 to everything."""
    length = response.headers.get("Content-Length")
    if length is not None and start + int(length) != checkpoint.size:
        raise SegmentationError(
            f"The server offers {start + int(length):,} bytes for {checkpoint.path.name}, which has "
            f"{checkpoint.size:,}. Open {checkpoint.url} in a browser to see what answers there."
        )


def _read(checkpoint: Checkpoint, response: http.client.HTTPResponse, done: int) -> bytes:
    try:
        return response.read1(min(CHUNK, checkpoint.size - done))  # read1 doesn't wait for more, so stopping is quick
    except (OSError, http.client.HTTPException) as error:
        raise _interrupted(checkpoint, done) from error


def _interrupted(checkpoint: Checkpoint, done: int) -> SegmentationError:
    return SegmentationError(
        f"The download of {checkpoint.path.name} broke off after {done / 1e6:.1f} of "
        f"{checkpoint.size / 1e6:.1f} MB. Start it again: it continues where it stopped."
    )


def _check_space(checkpoint: Checkpoint, folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SegmentationError(
            f"{checkpoint.path.name} needs {needed / 1e6:.0f} MB more in {folder}, but only "
            f"{free / 1e6:.0f} MB are free. Free some space, or choose another folder with SRIN_CACHE."
        )


def _write_error(checkpoint: Checkpoint, error: OSError) -> SegmentationError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        reason = "the disk is full. Free some space"
    else:
        reason = f"{error.strerror or error}. Check the folder's permissions"
    return SegmentationError(f"Can't write {checkpoint.path}: {reason}, or choose another folder with SRIN_CACHE.")
