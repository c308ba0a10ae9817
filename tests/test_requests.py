"""Hostile requests to the running app, as any program or any web page in a visitor's browser could send them."""

import http.server
import json
import threading
import time
from pathlib import Path

import gradio as gr
import httpx
import pytest
from anyio.from_thread import start_blocking_portal
from conftest import running_app
from hostile_files import encoded, hostile_files, photo

from srin.ui.api import ENDPOINTS
from srin.ui.blocks import build

PAGE = "https://page.example"
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def client(app_address):
    with httpx.Client(base_url=app_address, timeout=60) as client:
        yield client


@pytest.fixture
def inside():
    """A server of the private network, and what it was asked for."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(encoded(photo(), "PNG"))

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()


def upload(client, content=None, name="photo.png", **how):
    content = encoded(photo(), "PNG") if content is None else content
    return client.post("/gradio_api/upload", files={"files": (name, content)}, **how)


def event(client, answer):
    """The end of an event that was started by `answer`: its name and data."""
    assert answer.status_code == 200, answer.text
    with client.stream("GET", f"/gradio_api/call/harmonize/{answer.json()['event_id']}") as stream:
        lines = [line for line in stream.iter_lines() if line]
    return lines[-2].removeprefix("event: "), lines[-1].removeprefix("data: ")


REST = ["histogram", 1.0, None, "auto", False, None, 0.0, 0.0, 0.0, 1.0, 1.0]  # the method, and all that follows it


def harmonize(client, image, mask):
    """Calls the endpoint by plain HTTP, see docs/api.md. The files are as a request names them."""
    files = [{**file, "meta": {"_type": "gradio.FileData"}} for file in (image, mask)]
    data = {"data": [*files, *REST]}
    return event(client, client.post("/gradio_api/call/harmonize", json=data))


@pytest.fixture(scope="module")
def secret(tmp_path_factory):
    path = tmp_path_factory.mktemp("secret") / "secret.png"
    path.write_bytes(encoded(photo(), "PNG"))
    return path


def test_files_outside_the_upload_folder_are_not_served(client, secret):
    uploaded = Path(upload(client).json()[0])
    assert client.get(f"/gradio_api/file={uploaded}").content == encoded(photo(), "PNG")
    root = uploaded.parents[1]
    for path in (
        "/etc/passwd", "../../../../etc/passwd", secret, f"{root}/../log", f"{root}/%2e%2e/log", f"{root}/..%2flog",
        f"//{secret}", f"file://{secret}", f"{uploaded.parent}", "app.py", Path(__file__), "/proc/self/environ", "%00",
    ):  # fmt: skip
        answer = client.get(f"/gradio_api/file={path}")
        assert answer.status_code in (403, 404), (path, answer.status_code)
    for path in ("/assets/..%2f..%2f..%2fetc/passwd", "/static/%2e%2e/%2e%2e/blocks.py", "/svelte/..%2f..%2fblocks.py"):
        assert client.get(path).status_code in (403, 404), path


def test_an_upload_stays_in_its_folder_whatever_its_name(client):
    root = Path(upload(client).json()[0]).parents[1]
    for name in (
        "../../escaped.png",
        "..\\..\\escaped.png",
        "/tmp/escaped.png",
        "..",
        "a/../../b.png",
        "%2e%2e%2fb.png",
        "x" * 900,
    ):
        answer = upload(client, name=name)
        if answer.status_code == 200:
            path = Path(answer.json()[0])
            assert path.resolve().parents[1] == root.resolve() and path.is_file(), name
        else:
            assert answer.status_code in (400, 422), name
            assert "Traceback" not in answer.text


def test_uploaded_pages_and_drawings_are_not_shown_as_pages(client):
    """Otherwise a link to an upload would run its script with the rights of the app's page."""
    for name in ("page.html", "drawing.svg", "page.xhtml", "script.js", "page.png.html"):
        path = upload(client, b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", name).json()[0]
        answer = client.get(f"/gradio_api/file={path}")
        assert answer.headers["content-disposition"].startswith("attachment"), name
        assert answer.headers["content-type"].startswith("application/octet-stream")


@pytest.mark.parametrize("form", ["path", "url", "both"])
def test_the_server_fetches_nothing_from_its_own_network(client, inside, form):
    address, asked = inside
    for target in (address, address.replace("127.0.0.1", "localhost"), address.replace("127.0.0.1", "0x7f.1")):
        file = {"path": f"{target}/a.png", "url": f"{target}/a.png"}
        if form == "url":
            file["path"] = upload(client).json()[0]
        how, said = harmonize(client, {name: file[name] for name in ([form] if form == "path" else file)}, file)
        assert how == "error" or form == "url", said
    client.get(f"/gradio_api/file={address}/a.png")
    client.get(f"/gradio_api/proxy={address}/a.png")
    assert not asked


def test_endpoints_fetch_no_public_address_either():
    """Gradio itself refuses private networks only; here nothing is asked, so this needs no network."""
    parameters = [p for f in build().fns.values() if f.fn in ENDPOINTS for p in f.inputs]
    assert len(parameters) > 10
    with start_blocking_portal() as portal:  # a thread of its own: Playwright may have a loop running in this one
        for parameter in parameters:
            with pytest.raises(gr.Error):
                portal.call(parameter.async_move_resource_to_block_cache, "https://192.0.2.1/a.png")


def test_paths_and_file_urls_in_requests_are_refused(client, secret):
    mask = {"path": upload(client).json()[0]}
    for path in (str(secret), f"file://{secret}", "/etc/passwd", "../app.py", "", "\0", mask["path"] + "/../../../log"):
        how, said = harmonize(client, {"path": path}, mask)
        assert how == "error" and "Traceback" not in said and "/site-packages" not in said, (path, said)
    for odd in (None, 7, "a", [], {"path": 3}, {"path": ["a"]}, {"path": {}}, {"url": "data:,a"}):
        answer = client.post("/gradio_api/call/harmonize", json={"data": [odd, mask, *REST]})
        how, said = event(client, answer)
        assert how == "error" and "Traceback" not in said, odd


def test_damaged_files_over_http_get_a_sentence(client):
    mask = {"path": upload(client).json()[0]}
    for name in ("cut_50_png.png", "drawing.svg_png.png", "memory_by_the_square_jpg.jpg", "four_gigapixels_tif.tif"):
        how, said = harmonize(client, {"path": upload(client, hostile_files()[name], name).json()[0]}, mask)
        assert how == "error" and "The image (" in said and "Traceback" not in said, said


def test_oversized_and_malformed_bodies_are_refused_and_the_app_goes_on(client):
    def pieces():
        for _ in range(40):
            yield b" " * 100_000

    for path in ("/gradio_api/queue/join", "/gradio_api/call/harmonize", "/gradio_api/run/harmonize", "/login", "/"):
        assert client.post(path, content=b"[" + b" " * 3_000_000, headers=JSON).status_code == 413, path
        # 400: Gradio was cut off while it read. 422: it has read all, except at /login, which reads no JSON.
        cut_off = (400, 405, 413, 422) if path == "/login" else (400, 405, 413)
        assert client.post(path, content=pieces(), headers=JSON).status_code in cut_off, path
    for body in (
        b"[" * 100_000,
        b'{"data":' + b'{"a":' * 50_000,
        b"\xff\xfe",
        b"nul",
        b"",
        b'{"data": [' + b"9" * 5000 + b"]}",
    ):
        answer = client.post("/gradio_api/call/harmonize", content=body, headers=JSON)
        assert answer.status_code in (400, 422) and "Traceback" not in answer.text, body[:20]
    odd = {"data": [float("nan")], "fn_index": -1, "session_hash": "\ud800"}
    answer = client.post("/gradio_api/queue/join", content=json.dumps(odd), headers=JSON)
    assert answer.status_code < 600 and "Traceback" not in answer.text
    assert httpx.get(client.base_url, timeout=60).status_code == 200  # a new connection: the refused ones were cut off


def test_other_web_pages_can_not_use_a_visitors_own_app(client):
    """The tests' app listens on this machine, as the app does on a laptop."""
    for origin in (PAGE, "null", "http://localhost.page.example", "http://127.0.0.1.page.example"):
        headers = {"origin": origin}
        assert upload(client, headers=headers).status_code == 403
        assert client.post("/gradio_api/call/harmonize", json={"data": []}, headers=headers).status_code == 403
        assert client.get("/config", headers=headers).status_code == 403
    own = {"origin": str(client.base_url).rstrip("/")}
    assert upload(client, headers=own).status_code == 200


def test_other_web_pages_can_use_a_public_app_but_not_a_visitors_login(client):
    public = {"host": "studio.example", "origin": PAGE}
    assert upload(client, headers=public).status_code == 200
    login = {"cookie": "access-token-abc=secret"}
    assert upload(client, headers=public | login).status_code == 403
    assert client.get("/gradio_api/token", headers=public | login).status_code == 403
    assert upload(client, headers=public | login | {"origin": "https://studio.example"}).status_code == 200


def test_gradios_own_tools_are_closed(client):
    assert client.post("/gradio_api/process_recording", files={"video": ("a.mp4", b"a")}).status_code == 404
    assert client.post("/gradio_api/vibe-edit", json={"prompt": "a"}).status_code == 404
    assert client.get("/gradio_api/vibe-code").status_code == 404
    assert client.get("/monitoring").status_code == 403
    assert client.post("/gradio_api/dev/reload").status_code >= 400


@pytest.mark.hostile
def test_while_a_file_runs_into_the_time_limit_the_page_is_served(tmp_path):
    """With a limit that the file exceeds on every machine."""
    with running_app(tmp_path, SRIN_DECODE_SECONDS="4") as address, httpx.Client(base_url=address, timeout=60) as client:
        slow = {"path": upload(client, hostile_files()["ten_thousand_scans_jpg.jpg"], "slow.jpg").json()[0]}
        mask, ends = {"path": upload(client).json()[0]}, []
        work = threading.Thread(target=lambda: ends.append(harmonize(client, slow, mask)))
        work.start()
        answers = 0
        while work.is_alive():
            began = time.monotonic()
            assert client.get("/gradio_api/info").status_code == 200 and time.monotonic() - began < 10
            answers += 1
            time.sleep(0.2)
        assert answers > 5 and ends[0][0] == "error" and "takes far longer" in ends[0][1]
