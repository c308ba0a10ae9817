"""A component of the page: a gr.HTML made of a template and of small JavaScript files in web/."""

from pathlib import Path
from typing import Any

import gradio as gr

WEB = Path(__file__).with_name("web")


def component(name: str, scripts: tuple[str, ...], **props: Any) -> gr.HTML:
    """name: its folder in web/, and its id in the page. scripts: file names without .js, in their order.
    "../" leads to those that components share. props: what its scripts find in `props`, and gr.HTML's own arguments.
    """
    files = [WEB / "shared.js", *[WEB / name / f"{script}.js" for script in scripts]]
    return gr.HTML(
        html_template=(WEB / name / "template.html").read_text(encoding="utf-8"),
        js_on_load="\n".join(file.read_text(encoding="utf-8") for file in files),
        apply_default_css=False,
        elem_id=name,
        **props,
    )
