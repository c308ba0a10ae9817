"""Downloads Segment Anything's checkpoint from the page: once for all visitors, who all see how far it is."""

import logging
import threading
from typing import Any

import gradio as gr

from srin.errors import SegmentationError
from srin.segmentation import checkpoints
from srin.segmentation.shared_download import SharedDownload
from srin.ui.answering.requests import data_of, text
from srin.untrusted import number

HOST = "host"  # who asks for it when the server starts; visitors are told apart by their sessions
SHARED = "Somebody else has asked for it too, so it goes on."

download = SharedDownload()


def fetch_chosen() -> None:
    """Begins to fetch what SRIN_SAM_CHECKPOINT names: for servers, whose disk may be empty at every start."""
    chosen = checkpoints.chosen()
    if chosen and not chosen.is_complete:
        download.ask(HOST, chosen)
    threading.Thread(target=_fetch_from_hub, daemon=True).start()


def _fetch_from_hub() -> None:
    try:
        checkpoints.fetch_from_hub()
    except SegmentationError as error:
        logging.getLogger(__name__).error("%s", error)


def checkpoint(event: gr.EventData, request: gr.Request) -> dict[str, Any]:
    """Starts the download, cancels it, or only says how far it is."""
    data, who = data_of(event), request.session_hash or ""
    act, note = text(data, "act"), ""
    if act == "get" and (offer := _offer()):
        download.ask(who, offer)
    elif act == "cancel" and not download.cancel(who):
        note = SHARED
    return gr.update(checkpoint={"request": number(data, "request", 0, 1e9), "note": note, **_view()})


def leave(request: gr.Request) -> None:
    """Called when a page is closed: its visitor no longer asks for the download."""
    download.leave(request.session_hash or "")


def _offer() -> checkpoints.Checkpoint | None:
    """The checkpoint that visitors may fetch, or None."""
    return None if checkpoints.is_offline() or checkpoints.is_here() else checkpoints.offered()


def _view() -> dict[str, Any]:
    """state: "here", "offline", "named" (another one is wanted here than can be fetched), or as Status.state."""
    offer = _offer()
    if offer is None:
        return {"state": "here" if checkpoints.is_here() else "offline" if checkpoints.is_offline() else "named"}
    status = download.status
    has = offer.part.stat().st_size if offer.part.is_file() else 0
    about = {"size": offer.size, "has": has, "licence": checkpoints.LICENCE, "free": checkpoints.free_bytes()}
    return {**about, "state": status.state, "done": status.done, "left": status.left, "problem": status.problem}
