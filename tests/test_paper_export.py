"""The paper's networks as ONNX files, run by onnxruntime alone."""

import numpy as np
import pytest
import torch

from srin.export import CHECKED_SIZES, TOLERANCE, export_onnx
from tests.paper_loops import network


@pytest.mark.slow
@pytest.mark.parametrize("slot, head", [("srin", "residual"), ("srin", "rgb"), ("bain", "residual"), ("rain", "rgb")])
def test_an_exported_network_gives_the_same_at_sizes_it_has_not_seen(slot, head, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    net, path = network(slot, head).eval().requires_grad_(False), tmp_path / "network.onnx"
    assert export_onnx(net, path) <= TOLERANCE
    assert [p.name for p in tmp_path.iterdir()] == ["network.onnx"]
    session = onnxruntime.InferenceSession(path)
    height, width = 93, 170
    assert (height, width) not in CHECKED_SIZES
    generator = torch.Generator().manual_seed(5)
    coarse = torch.rand(1, 3, 7, 9, generator=generator) * 2 - 1
    composite = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    mask = torch.zeros(1, 1, height, width)
    mask[..., 20:60, 70:130], mask[..., 60:64, 70:130] = 1, 0.4
    inputs = {"composite": composite, "mask": mask}
    if slot == "srin":
        inputs["regions"] = (torch.arange(width) // 40).expand(1, height, width) + 7 * (mask[:, 0] > 0.5)
    assert [given.name for given in session.get_inputs()] == list(inputs)
    expected = net(*inputs.values())
    (actual,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    assert (expected - composite).abs().max() > 0.05
    assert np.abs(actual - expected.numpy()).max() / 2 <= TOLERANCE
    if slot == "srin":  # the map is used, not only taken
        inputs["regions"] = inputs["regions"].flip(2)
        (other,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
        assert np.abs(other - actual).max() > 1e-3
