"""The page, its endpoints, and their server.

Importing this makes a folder for this process's files alone, in GRADIO_TEMP_DIR or the system's temporary folder: Gradio
asks for it when it is imported. What lies in it is swept, see uploads.py, and it goes when the process ends.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from srin.batch import make_folder

_given = os.environ.get("GRADIO_TEMP_DIR")
if _given:
    make_folder(Path(_given))
_folder = tempfile.mkdtemp(prefix="srin-studio-", dir=_given)
os.environ["GRADIO_TEMP_DIR"] = _folder
# Statistics of the last 10,000 requests, made anew with each, for a page that is closed here (enable_monitoring).
os.environ |= {"GRADIO_ANALYTICS_MAX_EVENTS": "1", "GRADIO_ANALYTICS_CACHE_FREQUENCY": "1000000000"}
atexit.register(shutil.rmtree, _folder, ignore_errors=True)
