"""Exported networks, run by onnxruntime alone."""

import numpy as np
import pytest
import torch

from srin.errors import OutputError
from srin.export import TOLERANCE, export_onnx
from tests.test_full_resolution import network


@pytest.mark.slow
@pytest.mark.parametrize("slot", ["srin", "bain", "rain"])
def test_an_exported_network_gives_the_same_at_sizes_it_has_not_seen(slot, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    net, path = network(slot), tmp_path / "network.onnx"
    assert export_onnx(net, path) <= TOLERANCE
    assert [p.name for p in tmp_path.iterdir()] == ["network.onnx"]
    session = onnxruntime.InferenceSession(path)
    height, width = 96, 224
    generator = torch.Generator().manual_seed(5)
    composite = torch.rand(1, 3, height, width, generator=generator) * 2 - 1
    mask = torch.zeros(1, 1, height, width)
    mask[..., 20:60, 70:130], mask[..., 60:64, 70:130] = 1, 0.4
    inputs = {"composite": composite, "mask": mask}
    if slot == "srin":
        inputs["regions"] = (torch.arange(width) // 40).expand(1, height, width) + 7 * (mask[:, 0] > 0.5)
    expected = net(*inputs.values())
    (actual,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    assert (expected - composite).abs().max() > 0.01
    assert np.abs(actual - expected.numpy()).max() / 2 <= TOLERANCE


def test_a_path_that_can_not_be_written_is_said_before_the_work(tmp_path):
    pytest.importorskip("onnxruntime")
    with pytest.raises(OutputError, match="missing"):
        export_onnx(network(), tmp_path / "missing" / "network.onnx")
