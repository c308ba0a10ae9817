"""Forgets the sessions that Gradio keeps of endpoint calls, which nobody uses again."""

import asyncio
from datetime import datetime, timedelta

import gradio as gr

IDLE = 10.0  # seconds
PAUSE = 5.0  # seconds between two looks


async def forget_regularly(demo: gr.Blocks) -> None:
    while True:
        await asyncio.sleep(PAUSE)
        forget_idle(demo)


def forget_idle(demo: gr.Blocks) -> None:
    """Forgets sessions without state that were not used for IDLE seconds: all but those of open pages.

    Gradio makes a session for every call by plain HTTP, with a copy of the page's configuration of some 46 KB. Its limit,
    `state_session_capacity`, ends the longest unused session, which may be an open page that somebody is looking at.
    Call this in the server's event loop, where a page's session and its state are taken in one step.
    """
    holder, queue = demo.state_holder, demo._queue
    long_ago = datetime.now() - timedelta(seconds=IDLE)
    for key, session in list(holder.session_data.items()):
        unread = queue.pending_event_ids_session.get(key)
        if not session.state_data and not unread and holder.time_last_used.get(key, long_ago) <= long_ago:
            del holder.session_data[key]
            holder.time_last_used.pop(key, None)
            queue.pending_event_ids_session.pop(key, None)
            queue.pending_messages_per_session.pop(key, None)
