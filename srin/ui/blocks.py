"""The page: its components, and which event runs what.

A visitor's work is a `SessionState` in a gr.State. The components' JavaScript holds only what is shown. It tells the
server what happened, and the server answers with its whole state, so that a lost or late answer leaves nothing half done.
"""

from typing import Any

import gradio as gr

from srin import limits
from srin.gpu import is_lent
from srin.ui import api
from srin.ui.compare import compare, explaining, harmonizing
from srin.ui.gallery import gallery
from srin.ui.gallery.examples import FOLDER
from srin.ui.page.component import head, route
from srin.ui.page.theme import CSS, theme
from srin.ui.session.session_state import SessionState
from srin.ui.stage import getting, stage, work

PRIVATE: dict[str, Any] = {"api_visibility": "private"}  # only the typed endpoints of api.py are public
QUIET: dict[str, Any] = {**PRIVATE, "show_progress": "hidden", "trigger_mode": "multiple"}
MODEL: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model"}
# Calls of endpoints wait for a worker, see api.py, so that small pictures can overtake large ones.
ENDPOINTS: dict[str, Any] = {"concurrency_limit": 4, "concurrency_id": "endpoints"}
TITLE = "<h1>SRIN <span>Studio</span></h1><p>Makes a pasted object belong to its new photo.</p>"
ABOUT = """<p>Results are computed from the original files, and differ from the composite only under the mask. Your
files are deleted after a few hours.</p>"""


def launch_settings(demo: gr.Blocks, **server: Any) -> dict[str, Any]:
    """The arguments of launch() that the page needs wherever it runs. server: further arguments of the FastAPI app."""
    return {
        "theme": theme(),
        "css_paths": CSS,
        "head": head(demo),
        "footer_links": ["api"],
        "run_history": False,
        "enable_monitoring": False,
        "max_file_size": limits.MAX_UPLOAD,
        "state_session_capacity": 2000,  # some 50 KiB each; those of endpoint calls go sooner, see gradio_sessions.py
        "ssr_mode": False,
        "allowed_paths": [str(FOLDER)],  # the page fetches a chosen example's photos, to keep them like a visitor's own
        "app_kwargs": {"routes": [route()], **server},
    }


def build() -> gr.Blocks:
    """The whole app; `demo.launch(**launch_settings(demo))` serves it."""
    if is_lent:
        harmonizing.warm_up()  # models loaded before the first request are there in all calls on a lent GPU
    with gr.Blocks(title="SRIN Studio", analytics_enabled=False) as demo:
        # Shorter than the life of the files that the session refers to.
        session = gr.State(SessionState(), time_to_live=limits.KEEP_SECONDS * 3 // 4)
        gr.HTML(TITLE, elem_id="title")
        canvas = stage.layout()
        cards = gallery.layout()
        results = compare.layout()
        gr.HTML(ABOUT, elem_id="about")

        api.register(demo, **ENDPOINTS)
        canvas.act(stage.act, session, [session, canvas], concurrency_limit=8, **QUIET)
        canvas.peek(stage.peek, session, canvas, concurrency_limit=8, **QUIET)
        canvas.hover(stage.hover, session, canvas, concurrency_limit=2, **QUIET)
        canvas.map(stage.draw_map, session, canvas, concurrency_limit=2, **QUIET)
        canvas.project(work.save_project, session, canvas, concurrency_limit=2, **QUIET)
        canvas.live(stage.live, session, canvas, concurrency_limit=2, **QUIET)
        canvas.save(stage.save, session, canvas, concurrency_limit=4, **QUIET)
        canvas.checkpoint(getting.checkpoint, None, canvas, concurrency_limit=8, **QUIET)
        canvas.cancel(compare.cancel, session, None, concurrency_limit=8, **QUIET)
        results.start(compare.start, session, results, **MODEL, **QUIET)
        results.cancel(compare.cancel, session, None, concurrency_limit=8, **QUIET)
        results.save(compare.save, session, results, concurrency_limit=4, **QUIET)
        results.difference(compare.difference, session, results, concurrency_limit=2, **QUIET)
        results.explain(explaining.explain, session, results, **MODEL, **QUIET)
        demo.unload(getting.leave)
        loaded = demo.load(harmonizing.warm_up, concurrency_limit=1, **QUIET)
        loaded.then(gallery.harmonized, None, cards, concurrency_limit=1, **QUIET)
    return demo.queue(max_size=limits.MAX_QUEUE)
