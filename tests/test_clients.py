"""The public endpoints, as scripts (HTTP, gradio_client) and agents (MCP) call them."""

import argparse
import asyncio
import base64
import io
import json
import re

import httpx
import numpy as np
import pytest
from anyio.from_thread import start_blocking_portal
from conftest import running_app
from gradio.routes import App
from gradio_client import Client, handle_file
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from page_parts import gradient, ragged, write
from PIL import Image

from srin import Harmonizer
from srin.cli import main
from srin.compare import CAPTION, GAP
from srin.harmonizer import METHODS
from srin.image_io import load_image
from srin.offsets import Offsets
from srin.ui.blocks import build
from srin.ui.compare.explaining import overlay
from srin.ui.server.serving import credentials

NAMES = ["harmonize", "compare", "segment", "explain"]
USER = ("someone", "se:cret")
FILE = {"meta": {"_type": "gradio.FileData"}}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A composite (odd sizes on purpose) and its mask."""
    folder = tmp_path_factory.mktemp("pair")
    image = gradient(121, 167)
    image[:60] = image[:60][:, ::-1] // 2
    mask = ragged(121, 167)
    image[mask > 127] //= 2
    return write(folder / "composite.png", image), write(folder / "mask.png", mask)


@pytest.fixture(scope="module")
def client(app_address):
    return Client(app_address, verbose=False)


@pytest.fixture(scope="module")
def walled(tmp_path_factory):
    """The app with a login, MCP, and tight limits."""
    limits = {"SRIN_MAX_UPLOAD": "200000", "SRIN_MAX_QUEUE": "2", "SRIN_MAX_PIXELS": "2000000"}
    folder = tmp_path_factory.mktemp("walled")
    with running_app(folder, "--mcp", SRIN_AUTH=":".join(USER), **limits) as address:
        yield address


def same_bytes(result, path):
    with open(result, "rb") as file:
        return file.read() == path.read_bytes()


def raw_call(address, name, how=None, **arguments):
    """An endpoint's last event and its data, over plain HTTP. how: for httpx."""
    route, how = f"{address}/gradio_api/call/v2/{name}", how or {}
    joined = httpx.post(route, json=arguments, **how).json()
    answer = httpx.get(f"{route}/{joined['event_id']}", timeout=60, **how).text
    event, data = [line.partition(": ")[2] for line in answer.strip().split("\n\n")[-1].splitlines()]
    return event, json.loads(data)


def uploaded(address, path, **how):
    with open(path, "rb") as file:
        (there,) = httpx.post(f"{address}/gradio_api/upload", files={"files": file}, **how).json()
    return {"path": there, **FILE}


def test_four_documented_endpoints_and_nothing_else(app_address):
    info = httpx.get(f"{app_address}/gradio_api/info").json()
    assert list(info["named_endpoints"]) == [f"/{name}" for name in NAMES] and not info["unnamed_endpoints"]
    for endpoint in info["named_endpoints"].values():
        assert endpoint["description"] and endpoint["returns"]
        assert all(parameter["type"] for parameter in endpoint["parameters"])
    methods = info["named_endpoints"]["/harmonize"]["parameters"][2]
    assert methods["type"]["enum"] == list(METHODS) and methods["parameter_default"] == "srin"


def test_harmonize_and_segment_equal_the_command_line_to_the_bit(client, files, tmp_path):
    image, mask = map(handle_file, files)
    pair = list(map(str, files))
    labels, painted, said = client.predict(image, mask, api_name="/segment")
    assert main(["segment", pair[0], "--mask", pair[1], "-o", str(tmp_path / "map.png")]) == 0
    assert same_bytes(labels, tmp_path / "map.png") and same_bytes(painted, tmp_path / "map_painted.png")
    regions = len(np.unique(np.asarray(Image.open(labels))))
    assert said == {"regions": regions, "segmenter": "colour regions", "warnings": []}

    ways = {
        "drawn": (client.predict(image, mask, api_name="/harmonize"), []),
        "given": (
            client.predict(image, mask, "srin", 0.7, handle_file(labels), api_name="/harmonize"),
            ["--strength", "0.7", "--map", str(tmp_path / "map.png")],
        ),
        "classical": (client.predict(image, mask, "histogram", api_name="/harmonize"), ["--method", "histogram"]),
    }
    for way, ((result, about), options) in ways.items():
        assert about["warnings"] == [] and about["milliseconds"] > 0
        assert main(["harmonize", *pair, "-o", str(tmp_path / f"{way}.png"), *options]) == 0
        assert same_bytes(result, tmp_path / f"{way}.png"), way


def test_offsets_are_those_of_python(client, files):
    """They are added to what the network decided. The report tells the network's decision without them."""
    image, mask = map(handle_file, files)
    result, about = client.predict(image, mask, "srin", exposure=0.5, saturation=1.5, api_name="/harmonize")
    offsets = Offsets(exposure=0.5, saturation=1.5)
    harmonizer = Harmonizer.from_pretrained("srin")
    expected, plain = harmonizer.harmonize(*files, offsets=offsets), harmonizer.harmonize(*files)
    assert np.array_equal(load_image(result), expected) and not np.array_equal(expected, plain)
    assert about["offsets"] == offsets.to_dict() and about["adjustment"] == plain.adjustment.to_dict()


def test_compare_equals_the_command_line_but_for_the_times(client, files, tmp_path):
    sheet, said = client.predict(*map(handle_file, files), api_name="/compare")
    assert [method["method"] for method in said["methods"]] == list(METHODS)
    assert all(method["problem"] is None and method["milliseconds"] >= 0 for method in said["methods"])
    assert main(["compare", *map(str, files), "-o", str(tmp_path / "sheet.png")]) == 0
    ours, theirs = load_image(sheet), load_image(tmp_path / "sheet.png")
    assert ours.shape == theirs.shape
    height = load_image(files[0]).shape[0]
    for row in range(3):  # rows of tiles; the captions below them tell times, which differ
        top = GAP + row * (height + CAPTION + GAP)
        assert np.array_equal(ours[top : top + height], theirs[top : top + height])
    assert not np.array_equal(ours[GAP : GAP + height, :167], ours[GAP : GAP + height, -177:-10])


def test_explain_equals_python(client, files):
    y, x = np.argwhere(load_image(files[1])[..., 0] == 255)[500]
    layer, said = client.predict(*map(handle_file, files), int(x), int(y), "bain", api_name="/explain")
    shown = Harmonizer.from_pretrained("bain").explain(*files, (x, y))
    assert np.array_equal(np.asarray(Image.open(layer)), overlay(shown)) and said["sentence"] == shown.sentence


@pytest.mark.parametrize(
    "change, words",
    [
        ({"image": {"path": "http://127.0.0.1:1/x.png", **FILE}}, "must be an uploaded file"),
        ({"image": {"path": "http://x/gradio_api/file=/etc/hostname", **FILE}}, "image must be an uploaded file"),
        ({"image": {"path": "/etc/hostname"}}, "image must be an uploaded file"),
        ({"image": "/etc/hostname"}, "image must be an uploaded file"),
        ({"mask": None}, "mask must be an uploaded file"),
        ({"method": ["srin"]}, "method must be one of"),
        ({"method": "magic"}, "no method 'magic'"),
        ({"strength": "much"}, "strength must be a number"),
        ({"strength": 2.5}, "between 0 and 2"),
        ({"exposure": "much"}, "exposure must be a number"),
        ({"contrast": 9}, "between 0.25 and 4"),
        ({"tint": 3, "method": "poisson"}, "poisson takes no offsets"),
        ({"semantic_map": {"path": "\0"}}, "map must be an uploaded file"),
        ({"segmenter": {"a": 1}}, "no segmenter"),
    ],
)
def test_anything_else_is_refused_in_a_sentence(app_address, files, change, words):
    image, mask = (uploaded(app_address, file) for file in files)
    event, answer = raw_call(app_address, "harmonize", **{"image": image, "mask": mask, **change})
    assert event == "error" and words in answer["error"]


def test_files_of_the_server_are_refused_by_gradio_itself(app_address, files):
    image = {"path": "/etc/hostname", **FILE}
    event, answer = raw_call(app_address, "harmonize", image=image, mask=uploaded(app_address, files[1]))
    assert event == "error" and answer["error"] is None


def test_a_result_can_be_taken_further_by_its_address(app_address, files):
    image, mask = (uploaded(app_address, file) for file in files)
    event, (labels, _, _) = raw_call(app_address, "segment", image=image)
    assert event == "complete" and labels["url"].startswith(app_address)
    again = {"path": labels["url"], **FILE}
    event, (result, _) = raw_call(app_address, "harmonize", image=image, mask=mask, semantic_map=again)
    assert event == "complete" and httpx.get(result["url"]).content.startswith(b"\x89PNG")


def test_warnings_come_with_the_result(client, files, tmp_path):
    inverted = tmp_path / "inverted.png"
    Image.fromarray(255 - np.asarray(Image.open(files[1]).convert("L"))).save(inverted)
    given = handle_file(files[0]), handle_file(inverted)
    _, about = client.predict(*given, "histogram", api_name="/harmonize")
    assert len(about["warnings"]) == 1 and "looks inverted" in about["warnings"][0]
    result, about = client.predict(*given, "histogram", invert_mask=True, api_name="/harmonize")
    right, _ = client.predict(*map(handle_file, files), "histogram", api_name="/harmonize")
    assert not about["warnings"] and np.array_equal(load_image(result), load_image(right))


# --- behind a login


def routes(router):
    """Methods and paths of all routes of a router, with values in place of the parameters."""
    for route in router.routes:
        if hasattr(route, "path"):
            for method in getattr(route, "methods", None) or ["GET"]:
                yield method, re.sub(r"{[^}]*}", "x", route.path)
        else:
            yield from routes(route.original_router)


@pytest.mark.slow
def test_nothing_but_the_login_page_answers_before_login(walled, files):
    login = {"/", "/login", "/login/", "/theme.css", "/favicon.ico", "/manifest.json", "/gradio_api/startup-events"}
    mcp = {("GET", "/gradio_api/mcp/"), ("POST", "/gradio_api/mcp/"), ("GET", "/gradio_api/mcp/schema")}
    asked = mcp.union(routes(App.create_app(build())))
    asked |= {("GET", f"/gradio_api/file={files[0]}"), ("GET", "/gradio_api//info"), ("GET", "/static/../config")}
    open_to_all = set()
    with httpx.Client(base_url=walled) as http:
        for method, path in asked:
            with http.stream(method, path) as answer:
                if answer.status_code != 401:
                    open_to_all.add(path)
        assert len(asked) > 60
        made_of = ("/static/", "/assets/", "/svelte/", "/pwa_icon")
        assert {path for path in open_to_all if not path.startswith(made_of)} <= login
        page = http.get("/").text
        assert '"auth_required":true' in page and "harmonize" not in page
        assert http.post("/login", data={"username": USER[0], "password": "guess"}).status_code == 400
        assert http.get("/config", auth=(USER[0], "guess")).status_code == 401
        assert http.get("/config", auth=USER).status_code == 200
        assert http.get("/config").status_code == 401  # the header logs in nobody else
        assert http.post("/login", data={"username": USER[0], "password": USER[1]}).status_code == 200
        assert http.get("/config").status_code == 200


def test_a_client_logs_in(walled, files):
    result, _ = Client(walled, auth=USER, verbose=False).predict(
        *map(handle_file, files), "histogram", api_name="/harmonize"
    )
    assert np.array_equal(load_image(result), Harmonizer.from_pretrained("histogram").harmonize(*files))


def test_agents_have_the_four_tools(walled, files):
    given = [f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}" for file in files]

    async def talk():
        async with (
            httpx.AsyncClient(auth=USER, timeout=60) as http,
            streamable_http_client(f"{walled}/gradio_api/mcp/", http_client=http) as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = (await session.list_tools()).tools
            done = await session.call_tool("harmonize", {"image": given[0], "mask": given[1], "method": "bain"})
            wrong = await session.call_tool("compare", {"image": given[0], "mask": "http://127.0.0.1:1/mask.png"})
            return tools, done, wrong

    with start_blocking_portal() as portal:
        tools, done, wrong = portal.call(talk)
    assert [tool.name for tool in tools] == NAMES
    for tool in tools:
        assert len(tool.description) > 80 and "Returns: a PNG" in tool.description
        assert all(len(parameter["description"]) > 20 for parameter in tool.inputSchema["properties"].values())
        assert "image" in tool.inputSchema["required"] and "semantic_map" not in tool.inputSchema["required"]
    assert not done.isError
    shown, address, report = done.content
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown.data))))
    assert address.text.startswith("Image URL: http") and "'adjustment': {'exposure'" in report.text
    assert np.array_equal(picture[..., :3], Harmonizer.from_pretrained("bain").harmonize(*files))
    assert wrong.isError and "uploaded file" in wrong.content[0].text


# --- limits


def test_too_large_files_and_pictures_are_refused_in_a_sentence(walled, files, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    large = write(tmp_path / "large.png", noise)
    with open(large, "rb") as file:
        refused = httpx.post(f"{walled}/gradio_api/upload", files={"files": file}, auth=USER)
    assert refused.status_code == 413 and "size" in refused.text
    wide = write(tmp_path / "wide.png", np.zeros((1000, 2001, 3), np.uint8))
    image, mask = (uploaded(walled, file, auth=USER) for file in (wide, files[1]))
    event, answer = raw_call(walled, "harmonize", {"auth": USER}, image=image, mask=mask)
    assert event == "error" and "2 million are allowed" in answer["error"]


def test_a_full_queue_says_so_and_serves_the_others(walled, files):
    image, mask = (uploaded(walled, file, auth=USER) for file in files)
    route = "/gradio_api/call/v2/compare"

    async def crowd():
        async with httpx.AsyncClient(base_url=walled, auth=USER, timeout=60) as http:

            async def one():
                joined = await http.post(route, json={"image": image, "mask": mask})
                if joined.status_code == 503:
                    return joined.json()["detail"]
                return (await http.get(f"{route}/{joined.json()['event_id']}")).text

            return await asyncio.gather(*[one() for _ in range(12)])

    with start_blocking_portal() as portal:
        answers = portal.call(crowd)
    busy = [answer for answer in answers if answer.startswith("Queue is full")]
    done = [answer for answer in answers if "event: complete" in answer]
    assert len(busy) >= 5 and len(done) >= 2 and len(busy) + len(done) == 12


def test_a_login_needs_a_user_and_a_password():
    assert credentials("someone:se:cret") == USER
    for text in ("nobody", ":secret", "someone:"):
        with pytest.raises(argparse.ArgumentTypeError, match="USER:PASSWORD"):
            credentials(text)
