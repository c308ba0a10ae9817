"""The page's JavaScript: modules with logic have tests, and modules are preloaded together and cached for good."""

import re
import shutil
import subprocess
from graphlib import TopologicalSorter
from urllib.parse import urljoin

import httpx
import pytest
from conftest import ROOT, require, running_app

from srin.ui.blocks import build
from srin.ui.page import component
from srin.ui.study import study

NODE = shutil.which("node")
IMPORT = re.compile(r'^(?:import|\}) (?:[^"]* from )?"([^"]+)";$', re.MULTILINE)


def test_placement_undo_and_view():
    require(NODE is not None, "Node.js")
    done = subprocess.run([NODE, "--test", ROOT / "tests" / "web"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout


def reached(path):
    """Files of all modules that one imports, and those import."""
    found, left = set(), [path.resolve()]
    while left:
        file = left.pop()
        if file not in found:
            found.add(file)
            left += [(file.parent / name).resolve() for name in IMPORT.findall(file.read_text(encoding="utf-8"))]
    return found


def test_imports_have_no_circles():
    sorter = TopologicalSorter()
    for path in component.MODULES:
        sorter.add(path, *((path.parent / name).resolve() for name in IMPORT.findall(path.read_text("utf-8"))))
    sorter.prepare()


def preloaded(head):
    links = re.findall(r'<link rel="modulepreload" href="([^"]+)">', head)
    assert all(link.startswith(f"{component.ADDRESS}/") for link in links)
    return {(component.UI / link.removeprefix(f"{component.ADDRESS}/")).resolve() for link in links}


def test_every_module_is_imported_and_a_page_fetches_its_own_at_once():
    assert reached(component.UI / component.STUDIO.entry) <= preloaded(component.head(build()))
    entries = (component.STUDIO.entry, study.PAGE.entry)
    assert set().union(*(reached(component.UI / entry) for entry in entries)) == set(component.MODULES)


def test_modules_are_served_to_be_kept(app_address):
    page = httpx.get(app_address).text.replace('\\"', '"')  # it stands in the page's configuration
    address = urljoin(f"{app_address}/", re.search(r'modulepreload" href="([^"]+/stage/main.js)"', page)[1])
    answer = httpx.get(address)
    assert answer.status_code == 200 and answer.text == (component.UI / "stage" / "main.js").read_text("utf-8")
    assert answer.headers["content-type"].startswith("text/javascript")
    assert "immutable" in answer.headers["cache-control"]
    assert httpx.get(address.replace(component.ADDRESS, "web/another")).status_code == 404
    assert httpx.get(address.replace("stage/main.js", "..%2Fserver%2Fserving.py")).status_code == 404


@pytest.mark.slow
def test_modules_are_served_behind_a_proxy_that_gives_the_app_a_path_of_its_own(tmp_path):
    """The proxy removes the path, as docs/hosting.md describes."""
    with running_app(tmp_path, GRADIO_ROOT_PATH="/srin") as address:
        assert httpx.get(f"{address}/{component.ADDRESS}/page/main.js").status_code == 200
