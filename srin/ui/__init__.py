"""The page, its endpoints, and their server.

Importing this makes a folder for this process's files, in GRADIO_TEMP_DIR or the system's temporary folder, before Gradio
is imported and reads that variable. Old files in it are deleted, see uploads.py; the folder goes when the process ends.
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
# Otherwise each request makes Gradio compute statistics of the last 10,000, for a page that is off (enable_monitoring).
os.environ |= {"GRADIO_ANALYTICS_MAX_EVENTS": "1", "GRADIO_ANALYTICS_CACHE_FREQUENCY": "1000000000"}
atexit.register(shutil.rmtree, _folder, ignore_errors=True)
