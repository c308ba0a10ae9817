"""A Segment Anything model of 0.1 million random parameters, and a web server that hands out its checkpoint.

Real weights are hundreds of megabytes and not at hand where the tests run. The tiny model is built from the
library's own classes, so everything but the quality of its masks is real: they are noise, and tests that use
it prove plumbing.
"""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from segment_anything import sam_model_registry
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

from srin.segmentation import checkpoints, sam, sam_model
from srin.segmentation.checkpoints import CHECKPOINTS, Checkpoint

EMBED_DIM = 32
IMAGE_SIZE = 256


def build_tiny_sam() -> Sam:
    grid = IMAGE_SIZE // 16
    return Sam(
        image_encoder=ImageEncoderViT(
            img_size=IMAGE_SIZE,
            patch_size=16,
            embed_dim=EMBED_DIM,
            depth=2,
            num_heads=2,
            out_chans=32,
            use_rel_pos=True,
            window_size=8,
            global_attn_indexes=(1,),
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=32,
            image_embedding_size=(grid, grid),
            input_image_size=(IMAGE_SIZE, IMAGE_SIZE),
            mask_in_chans=16,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(depth=2, embedding_dim=32, mlp_dim=64, num_heads=8),
            transformer_dim=32,
            iou_head_depth=3,
            iou_head_hidden_dim=32,
        ),
    )


@dataclass
class Server:
    """Settings of the server: what it serves, and which faults it has.

    Attributes:
        url: address of the file.
        content: bytes of the file.
        ranges: whether Range is honoured.
        stop_after: the connection is cut after so many bytes of a response's body; None for never.
        length: False leaves out the Content-Length.
        status: an HTTP error to answer with, or None.
        requests: the Range header of each request, or None where it had none.
    """

    url: str
    content: bytes
    ranges: bool = True
    stop_after: int | None = None
    length: bool = True
    status: int | None = None
    requests: list[str | None] = field(default_factory=list)

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range")
        self.requests.append(asked)
        if self.status is not None:
            handler.send_error(self.status)
            return
        body = self.content
        if asked and self.ranges:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            body = body[start:]
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        else:
            handler.send_response(200)
        if self.length:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: self.stop_after])


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the tiny model that rates its masks high, so that noise passes the generator's filters."""
    path = tmp_path_factory.mktemp("sam") / "tiny.pth"
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = build_tiny_sam()
        model.mask_decoder.iou_prediction_head.layers[-1].bias += 1
        for head in model.mask_decoder.output_hypernetworks_mlps:
            head.layers[-1].weight *= 1e5
            head.layers[-1].bias *= 1e5
        torch.save(model.state_dict(), path)
    return path


@pytest.fixture
def server(tiny_weights: Path) -> Iterator[Server]:
    """Serves the tiny checkpoint on localhost, until told to do something else."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.answer(self)

        def log_message(self, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        served = Server(f"http://127.0.0.1:{web.server_port}/sam_tiny.pth", tiny_weights.read_bytes())
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        web.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, no checkpoint from outside, and nothing left in memory by other tests."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("SRIN_CACHE", str(folder))
    monkeypatch.delenv("SRIN_SAM_CHECKPOINT", raising=False)
    monkeypatch.delenv("SRIN_OFFLINE", raising=False)
    monkeypatch.setattr(checkpoints, "TIMEOUT", 5)
    monkeypatch.delenv("SRIN_SEGMENT_CACHE", raising=False)
    sam.cache.clear()
    sam_model._loaded.clear()
    return folder


@pytest.fixture
def tiny(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Checkpoint]:
    """The tiny model, registered as "tiny" with the library and with us; not downloaded yet."""
    checkpoint = Checkpoint(
        name="tiny",
        url=server.url,
        sha256=hashlib.sha256(server.content).hexdigest(),
        size=len(server.content),
        embed_dim=EMBED_DIM,
    )
    monkeypatch.setitem(CHECKPOINTS, "tiny", checkpoint)
    monkeypatch.setitem(sam_model_registry, "tiny", build_tiny_sam)
    yield checkpoint
