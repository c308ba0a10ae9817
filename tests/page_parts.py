"""Helpers of the page's tests."""

from urllib.parse import urljoin

import cv2
import numpy as np

NUMBERS = ("x", "y", "scale", "rotation")


def write(path, image):
    """Writes uint8 (H, W), (H, W, 3) or (H, W, 4), RGB, to a PNG or JPEG."""
    order = [2, 1, 0, 3][: image.shape[2]] if image.ndim == 3 else None
    cv2.imwrite(str(path), image if order is None else np.ascontiguousarray(image[..., order]))
    return path


def gradient(height, width, colour=(60, 150, 70)):
    """A photo whose colours vary smoothly: uint8 (H, W, 3)."""
    across = np.linspace(0, 60, width)[None, :, None]
    down = np.linspace(0, 30, height)[:, None, None]
    return (np.array(colour) + across + down).clip(0, 255).astype(np.uint8)


def ragged(height, width):
    """A mask without any symmetry: uint8 (H, W)."""
    mask = np.zeros((height, width), np.uint8)
    points = np.array([[0.1, 0.9], [0.2, 0.15], [0.55, 0.4], [0.8, 0.1], [0.9, 0.6], [0.6, 0.85]])
    cv2.fillPoly(mask, [(points * (width, height)).astype(np.int32)], 255, cv2.LINE_AA)
    return mask


def halves(height, width):
    """A scene that is blue on the left and orange on the right: uint8 (H, W, 3)."""
    scene = gradient(height, width, (40, 60, 150))
    scene[:, width // 2 :] = gradient(height, width - width // 2, (190, 110, 20))
    return scene


def kite(height, width):
    """A greyish object on green: the photo, uint8 (H, W, 3), and its mask."""
    mask = ragged(height, width)
    inside, outside = gradient(height, width, (110, 90, 110)), gradient(height, width, (10, 80, 30))
    return np.where(mask[..., None] > 127, inside, outside), mask


def give(page, role, path):
    """Chooses a file for one of the Stage's slots, and waits until the page has it."""
    page.locator(f'input[data-for="{role}"]').set_input_files(path)
    settle(page)


def settle(page):
    """Waits until the Stage's server has answered everything."""
    page.evaluate("() => new Promise((done) => window.dispatchEvent(new CustomEvent('srin:ask', { detail: done })))")


def harmonized(page):
    """Waits until the canvas shows the final live preview: not a first look, and as fine as it gets."""
    settle(page)
    page.locator(".stage-live", has_text="Harmonized by").wait_for()
    page.locator('.stage-picture[aria-busy="false"]').wait_for()


def selected(page):
    """uint8 (h, w): the mask on the Stage, as the server gave it to the page, or None."""
    settle(page)
    url = page.locator(".stage-maker").get_attribute("data-mask")
    if not url:
        return None
    data = page.request.get(urljoin(page.url, url)).body()
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)[..., 3]


def only(page, *methods):
    """Chooses these methods alone to be run."""
    for method in page.locator(".methods input:enabled:visible").all():
        method.set_checked(method.input_value() in methods)


def numbers(page):
    """x, y, scale (%) and rotation (degrees) as the panel shows them."""
    return [float(page.locator(f'[data-number="{name}"]').input_value()) for name in NUMBERS]


def set_numbers(page, *values):
    for name, value in zip(NUMBERS, values, strict=True):
        page.locator(f'[data-number="{name}"]').fill(str(value))
        page.locator(f'[data-number="{name}"]').press("Enter")


def at(page, size, x, y):
    """Where on the page a point (fractions) of the picture on the canvas is; size: width, height. It is shown whole."""
    box = page.locator(".stage-marks").bounding_box()
    scale = 0.94 * min(box["width"] / size[0], box["height"] / size[1])
    return (
        box["x"] + box["width"] / 2 + (x - 0.5) * size[0] * scale,
        box["y"] + box["height"] / 2 + (y - 0.5) * size[1] * scale,
    )


def serious_findings(page):
    """What axe finds serious or critical, in light and in dark: the elements by rule and scheme."""
    from axe_playwright_python.sync_playwright import Axe

    found = {}
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(200)
        for finding in Axe().run(page).response["violations"]:
            if finding["impact"] in ("serious", "critical"):
                found[scheme, finding["id"]] = [node["html"][:150] for node in finding["nodes"]]
    return found
