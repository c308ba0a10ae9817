"""SRIN Studio in the browser, on a laptop (`python app.py`) and on Hugging Face Spaces.

Where it listens is set by GRADIO_SERVER_NAME (default 127.0.0.1) and GRADIO_SERVER_PORT (default: the first free one
from 7860); docs/hosting.md has the rest.
"""

import argparse
import os
from pathlib import Path

from srin.errors import SrinError
from srin.ui.blocks import build
from srin.ui.server.serving import credentials, serve
from srin.ui.study import study

demo = build()

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="SRIN Studio in the browser.")
    parser.add_argument("--mcp", action="store_true", help="also serve the endpoints as tools for agents (MCP)")
    parser.add_argument(
        "--auth",
        metavar="USER:PASSWORD",
        type=credentials,
        default=os.environ.get("SRIN_AUTH"),
        help="nothing is answered before login; or set SRIN_AUTH, which other users of the machine can't see",
    )
    parser.add_argument("--study", metavar="FOLDER", type=Path, help="serve a user study instead: see docs/study.md")
    options = parser.parse_args()
    try:
        page = study.build(options.study) if options.study else demo
    except SrinError as error:
        parser.exit(2, f"{error}\n")
    serve(page, mcp=options.mcp, auth=options.auth)
