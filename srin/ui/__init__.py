"""The page, its endpoints, and their server.

Importing this makes a folder for this process's files alone, in GRADIO_TEMP_DIR or the system's temporary folder: Gradio
asks for it when it is imported. What lies in it is swept, see files.py, and it goes when the process ends.
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
atexit.register(shutil.rmtree, _folder, ignore_errors=True)
