"""The components of a page: each is a gr.HTML made of a template, and of JavaScript modules, in a folder of its own.

A page's modules start together, once all of its components are there, so that none of them misses what another one tells.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

UI = Path(__file__).parents[1]
INLINE = UI / "page" / "queue.js"  # put into the page itself, not served
MODULES = sorted(path for path in UI.rglob("*.js") if path != INLINE)
# The address changes with the content, so browsers may keep the files for good.
ADDRESS = "web/" + hashlib.sha256(b"".join(path.read_bytes() for path in MODULES)).hexdigest()[:12]


class Page(NamedTuple):
    """entry: the module that imports all others. components: names of all that have modules."""

    entry: str
    components: tuple[str, ...]


STUDIO = Page("page/main.js", ("stage", "gallery", "compare"))


def component(name: str, events: tuple[str, ...], props: dict[str, Any], page: Page = STUDIO) -> gr.HTML:
    """Makes a component. name: its folder in srin/ui, and its id in the page. events: what its modules trigger.
    props: what its modules find in `props`."""
    return gr.HTML(
        html_template=(UI / name / "template.html").read_text(encoding="utf-8"),
        # gr.HTML takes its events from the names in quotes in this script.
        js_on_load=f"""
// {json.dumps(events)}
const components = (window.srin ??= {{}});
components.{name} = {{ element, props, trigger, watch }};
if ({json.dumps(page.components)}.every((name) => name in components)) {{
  import(new URL("{ADDRESS}/{page.entry}", document.baseURI));
}}""",
        apply_default_css=False,
        elem_id=name,
        **props,
    )


def head(demo: gr.Blocks) -> str:
    """The content of a page's head: the script that must run first, and links that make the browser fetch all modules of
    the page's components at once."""
    names = {block.elem_id for block in demo.blocks.values() if isinstance(block, gr.HTML)}
    wanted = [path.relative_to(UI) for path in MODULES if path.parent.name in {"page", *names}]
    links = [f'<link rel="modulepreload" href="{ADDRESS}/{path.as_posix()}">' for path in wanted]
    return "\n".join([f"<script>{INLINE.read_text(encoding='utf-8')}</script>", *links])


async def _module(request: Request) -> Response:
    path = UI / request.path_params["name"]
    if path not in MODULES:
        return PlainTextResponse("There is nothing here.", 404)
    # Named here, since the machine's table of MIME types may have another one for .js.
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "Content-Type": "text/javascript; charset=utf-8"}
    return Response(path.read_bytes(), headers=headers)


def route() -> Route:
    """The route that serves the modules."""
    return Route(f"/{ADDRESS}/{{name:path}}", _module)
