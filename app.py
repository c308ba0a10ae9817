"""SRIN Studio in the browser, on a laptop (`python app.py`) and on Hugging Face Spaces.

Where it listens is set by GRADIO_SERVER_NAME (default 127.0.0.1) and GRADIO_SERVER_PORT (default: the first free one
from 7860).
"""

from srin.ui.blocks import LAUNCH, build

demo = build()

if __name__ == "__main__":
    demo.launch(**LAUNCH)
