"""Slot, transform and the whole network: formulas in float64, exact properties, and that every part has an effect."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from srin.models.config import FOREGROUND_REGIONS, ModelConfig
from srin.models.network import CELL, HarmonizationNet, apply_affine
from srin.models.slot import LENDERS, RELATIONS, relations
from srin.models.transform import STEP, Transform, around
from srin.models.units import BORROWING, CELLS, EMPTY, GRID, LENDING, partition, sides

SLOTS = ("rain", "bain", "srin")
H, W = 64, 96


def scene(seed=1, batch=2, height=H, width=W):
    """Composites, masks and maps whose regions lie on one side of the mask each."""
    generator = torch.Generator().manual_seed(seed)
    composite = F.interpolate(
        torch.rand(batch, 3, 9, 9, generator=generator) * 2 - 1, size=(height, width), mode="bicubic"
    ).clamp(-1, 1)
    mask = torch.zeros(batch, 1, height, width)
    mask[:, :, height // 5 : height // 5 * 4, width // 4 : width // 3 * 2] = 1
    blocks = torch.randint(0, 5, (batch, 1, 4, 6), generator=generator).float()
    regions = F.interpolate(blocks, size=(height, width), mode="nearest")[:, 0].long()
    return composite, mask, regions + 5 * mask[:, 0].long()


def network(slot, members=1, seed=0, spread=0.3):
    """With random weights that do something, and statistics on a common scale."""
    torch.manual_seed(seed)
    net = HarmonizationNet(ModelConfig(slot=slot, members=members)).eval()
    torch.nn.init.normal_(net.project.weight, std=0.05)
    with torch.inference_mode():
        units = net.units(*scene(seed=9))
    for number, head in enumerate(net.heads):
        torch.manual_seed(100 + number)
        torch.nn.init.normal_(head.transform.joint[-1].weight, std=spread / 10)
        head.calibrate(units)
        if head.slot.score is not None:
            torch.nn.init.normal_(head.slot.score[-1].weight, std=1.0)
    return net


@pytest.fixture(scope="module")
def networks():
    return {slot: network(slot) for slot in SLOTS}


@pytest.mark.parametrize("slot", ["bain", "srin"])
def test_every_method_starts_as_rain(slot):
    """All slots equal RAIN while the score's last layer is zero and the foreground is one region."""
    rain, other = network("rain"), network(slot)
    other.load_state_dict(rain.state_dict(), strict=False)
    torch.nn.init.zeros_(other.heads[0].slot.score[-1].weight)
    composite, mask, _ = scene()
    for regions in [None] if slot == "srin" else [None, scene()[2]]:
        with torch.inference_mode():
            torch.testing.assert_close(
                other(composite, mask, regions), rain(composite, mask, regions), atol=1e-4, rtol=1e-4
            )


def test_the_methods_have_the_same_parameters_but_for_the_slot():
    shapes = [
        {
            name: p.shape
            for name, p in HarmonizationNet(ModelConfig(slot=slot)).state_dict().items()
            if ".slot." not in name
        }
        for slot in SLOTS
    ]
    assert shapes[0] == shapes[1] == shapes[2]


@pytest.mark.parametrize("slot", ["bain", "srin"])
def test_shares_are_a_softmax_of_area_and_score(networks, slot):
    net = networks[slot]
    with torch.inference_mode():
        units = net.units(*scene())
        head = net.heads[0]
        borrowers, lenders = units[head.slot.borrowers], units[head.slot.lenders]
        seeking, offering = head.characters(borrowers), head.characters(lenders)
        shares = head.slot(borrowers, lenders, seeking, offering)
        score = head.slot.score(relations(borrowers, lenders, seeking, offering))[..., 0].double()
    area = lenders.area.double()[:, None]
    expected = torch.where(area > EMPTY, area * score.exp(), 0)
    torch.testing.assert_close(shares.double(), expected / expected.sum(-1, keepdim=True), atol=1e-6, rtol=1e-4)
    assert not shares[(area <= EMPTY).expand_as(shares)].any()
    uniform = head.slot(borrowers, lenders, seeking, offering, uniform=True)
    by_area = torch.where(area > EMPTY, area, 0)
    by_area = (by_area / by_area.sum(-1, keepdim=True)).expand_as(uniform)
    torch.testing.assert_close(uniform.double(), by_area, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(uniform.sum(-1), torch.ones_like(uniform[..., 0]))


def test_relations_of_one_pair_by_hand(networks):
    net = networks["srin"]
    with torch.inference_mode():
        units = net.units(*scene())
        head = net.heads[0]
        borrowers, lenders = units[head.slot.borrowers], units[head.slot.lenders]
        found = relations(borrowers, lenders, head.characters(borrowers), head.characters(lenders))
    i, j = 0, GRID**2  # the largest region of each side
    a, b = BORROWING.start + i, LENDING.start
    scaled = {unit: (units.meaning[0, unit] - head.usual[-64:]) / head.spread[-64:] for unit in (a, b)}
    surface = {unit: (units.texture[0, unit, 0] - head.usual[23:103]) / head.spread[23:103] for unit in (a, b)}
    apart = units.colour[0, a, 9:12] - units.colour[0, b, 9:12]
    down, across = units.place[0, a, :2] - units.place[0, b, :2]
    expected = [
        *(units.near[0, b] * 2 - 1),
        3 * F.cosine_similarity(scaled[a], scaled[b], dim=0),
        2 * F.cosine_similarity(surface[a], surface[b], dim=0),
        *(apart.abs() * 3 - 1),
        apart[0] * 2,
        down * 3,
        across.abs() * 4 - 1,
        units.place[0, b, 2] * 5 - 1,
        (units.area[0, b].log() + 4) / 1.5,
        units.colour[0, b, 15] * 2 - 1,
    ]
    assert found.shape[-1] == RELATIONS == len(expected)
    np.testing.assert_allclose(found[0, i, j].numpy(), [float(x) for x in expected], atol=1e-4)


def test_the_object_is_the_mean_of_its_units_and_a_unit_keeps_part_of_its_own():
    """The module's formula, in float64, from the perceptron's own outputs."""
    torch.manual_seed(0)
    transform = Transform().eval()
    torch.nn.init.normal_(transform.joint[-1].weight, std=0.2)
    net = network("srin")
    with torch.inference_mode():
        units = net.units(*scene())
        sources = [net.heads[0].scaled(units[BORROWING])] * 4
        area, mean = units.area[:, BORROWING], units.colour[:, 0, :3]
        whole, each, share = transform(sources, area, mean)
        found = transform._found(sources).double()
    for b in range(2):
        full = [i for i in range(FOREGROUND_REGIONS) if area[b, i] > EMPTY]
        weight = np.array([float(area[b, i]) * np.exp(float(found[b, i, 12])) for i in full])
        weight /= weight.sum()
        changes = np.array([STEP * found[b, i, :12].numpy().reshape(3, 4) for i in full])
        mean_change = (weight[:, None, None] * changes).sum(0)
        mu = mean[b].double().numpy()

        def turned(change, mu=mu):
            return np.concatenate([np.eye(3) + change[:, :3], (change[:, 3] - change[:, :3] @ mu)[:, None]], 1)

        np.testing.assert_allclose(share[b, full].numpy(), weight, atol=1e-5)
        np.testing.assert_allclose(whole[b].numpy(), turned(mean_change), atol=1e-5)
        for i, change in zip(full, changes, strict=True):
            kept = 1 / (1 + np.exp(2 - float(found[b, i, 13])))
            np.testing.assert_allclose(each[b, i].numpy(), turned(mean_change + kept * (change - mean_change)), atol=1e-5)
        for i in set(range(FOREGROUND_REGIONS)) - set(full):
            np.testing.assert_allclose(each[b, i].numpy(), turned(mean_change), atol=1e-5)


def test_training_skips_empty_units_and_nothing_else():
    net = network("srin")
    for module in net.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    units = net.units(*scene())
    ours = [net.heads[0].train(mode)(units).regions for mode in (True, False)]
    torch.testing.assert_close(*ours)


def test_a_fresh_transform_changes_nothing():
    net = HarmonizationNet(ModelConfig(slot="srin")).eval()
    composite, mask, regions = scene()
    with torch.inference_mode():
        torch.testing.assert_close(net(composite, mask, regions), composite, atol=1e-5, rtol=0)


def test_a_transform_acts_around_the_mean():
    change = torch.zeros(1, 3, 4)
    change[0, :, :3] = torch.diag(torch.tensor([0.5, 0.2, -0.1]))
    change[0, :, 3] = torch.tensor([0.1, 0.0, -0.2])
    mean = torch.tensor([[0.3, -0.2, 0.6]])
    found = around(change, mean)[0]
    torch.testing.assert_close(found[:, :3] @ mean[0] + found[:, 3], mean[0] + change[0, :, 3])


@pytest.mark.parametrize("slot", SLOTS)
def test_only_the_foreground_changes(networks, slot):
    composite, mask, regions = scene()
    with torch.inference_mode():
        out = networks[slot](composite, mask, regions)
    outside = (mask == 0).expand_as(out)
    assert torch.equal(out[outside], composite[outside])
    assert (out - composite)[~outside].abs().mean() > 0.01


@pytest.mark.parametrize("slot", SLOTS)
def test_a_mirrored_picture_gets_the_mirrored_result(networks, slot):
    composite, mask, regions = scene()
    net = networks[slot]
    with torch.inference_mode():
        out = net(composite, mask, regions)
        mirrored = net(composite.flip(-1), mask.flip(-1), regions.flip(-1))
        torch.testing.assert_close(mirrored.flip(-1), out, atol=2e-4, rtol=1e-3)
        # And the weights are those of the picture's own cells.
        ours, theirs = (
            net.decide(*x).weights for x in ((composite, mask, regions), [x.flip(-1) for x in (composite, mask, regions)])
        )
    if slot != "rain":
        cells = [x[..., : GRID**2].unflatten(-1, (GRID, GRID)) for x in (ours, theirs)]
        torch.testing.assert_close(cells[1].flip(-1), cells[0], atol=1e-4, rtol=1e-3)


def test_several_members_decide_by_their_mean():
    both = network("srin", members=2)
    composite, mask, regions = scene()
    decisions = []
    for number in range(2):
        one = network("srin")
        one.load_state_dict(both.state_dict(), strict=False)
        one.heads[0].load_state_dict(both.heads[number].state_dict())
        with torch.inference_mode():
            decisions.append(one.decide(composite, mask, regions))
    with torch.inference_mode():
        mean = both.decide(composite, mask, regions)
    assert (decisions[0].whole - decisions[1].whole).abs().max() > 1e-3
    for name in ("whole", "regions", "weights", "share"):
        torch.testing.assert_close(
            getattr(mean, name), (getattr(decisions[0], name) + getattr(decisions[1], name)) / 2, atol=1e-5, rtol=1e-4
        )


@pytest.mark.slow
@pytest.mark.parametrize("slot", SLOTS)
def test_no_weight_is_idle(networks, slot):
    """Zeroing any parameter of the network, or the scale of its statistics, changes the result."""
    net = networks[slot]
    composite, mask, regions = scene()
    with torch.inference_mode():
        before = net(composite, mask, regions)
        for name, values in net.state_dict().items():
            changed = copy.deepcopy(net)
            state = changed.state_dict()
            state[name] = values.roll(1, 0) * 0.5 + 0.37
            changed.load_state_dict(state)
            difference = (changed(composite, mask, regions) - before).abs().max()
            # A bias before a softmax shifts all scores alike, so it changes nothing.
            if name.endswith("slot.score.2.bias"):
                assert difference < 1e-3
            else:
                assert difference > 1e-6, name


@pytest.mark.parametrize("slot", SLOTS)
def test_gradients_reach_every_parameter(slot):
    net = network(slot).train()
    composite, mask, regions = scene()
    (net(composite, mask, regions) - composite).square().mean().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        if not name.endswith("slot.score.2.bias"):
            assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("slot", ["bain", "srin"])
def test_switching_the_slot_off_changes_the_result(networks, slot):
    composite, mask, regions = scene()
    with torch.inference_mode():
        on, off = (networks[slot].decide(composite, mask, regions, uniform=u).whole for u in (False, True))
    assert (on - off).abs().max() > 1e-3


def test_srin_looks_at_the_map_and_not_at_the_names_of_its_regions(networks):
    composite, mask, regions = scene()
    net = networks["srin"]
    with torch.inference_mode():
        ours = net(composite, mask, regions)
        renamed = net(composite, mask, (regions * 3 + 1) % 10)
        another = net(composite, mask, scene(seed=2)[2])
    torch.testing.assert_close(ours, renamed, atol=1e-5, rtol=1e-4)
    assert (ours - another).abs().max() > 1e-3
    for slot in ("rain", "bain"):
        with torch.inference_mode():
            first, second = (networks[slot](composite, mask, r) for r in (regions, None))
        assert torch.equal(first, second)


@pytest.mark.parametrize("slot", SLOTS)
@pytest.mark.parametrize("kind", ["empty", "full", "one colour", "one pixel", "no region", "half precision"])
def test_degenerate_input_gives_numbers(networks, slot, kind):
    composite, mask, regions = scene()
    if kind == "empty":
        mask = torch.zeros_like(mask)
    elif kind == "full":
        mask = torch.ones_like(mask)
    elif kind == "one colour":
        composite = torch.full_like(composite, 0.25)
    elif kind == "one pixel":
        mask = torch.zeros_like(mask)
        mask[:, :, 20, 20] = 1
    elif kind == "no region":
        regions = None
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=kind == "half precision"):
        out = networks[slot](composite, mask, regions)
    assert torch.isfinite(out).all()


def test_any_size_is_filled_up_to_the_stride(networks):
    composite, mask, regions = scene(height=70, width=45)
    with torch.inference_mode():
        out = networks["srin"](composite, mask, regions)
        grid = networks["srin"].coefficients(composite, mask, regions)
    assert out.shape == composite.shape
    assert grid.shape == (2, 12, 96 // CELL, 64 // CELL)


def test_regions_turn_smoothly_into_each_other(networks):
    net = networks["srin"]
    composite, mask, regions = scene()
    with torch.inference_mode():
        decision = net.decide(composite, mask, regions)
        decision.regions = torch.arange(float(FOREGROUND_REGIONS))[None, :, None, None].expand(2, -1, 3, 4).contiguous()
        decision.whole = torch.full((2, 3, 4), 2.0)
        grid = net.spread_out(decision, mask, regions)[:, 0]
    assert grid.min() >= -1e-5 and grid.max() <= FOREGROUND_REGIONS - 1 + 1e-5
    assert (grid[:, :, 1:] - grid[:, :, :-1]).abs().max() < 2.5  # no jump from one transform to a far one
    assert torch.allclose(grid[:, 0, -1], torch.tensor(2.0))  # far from the foreground: the object's transform
    # One unit: the same transform everywhere.
    with torch.inference_mode():
        even = networks["rain"].coefficients(composite, mask)
    assert (even - even[..., :1, :1]).abs().max() == 0


def test_coefficients_are_applied_as_matrices():
    coefficients = torch.zeros(1, 12, 4, 4)
    coefficients[:, [0, 5, 10]] = torch.tensor([2.0, 1.0, 0.5])[None, :, None, None]
    coefficients[:, [3, 7]] = torch.tensor([0.1, -0.2])[None, :, None, None]
    image = torch.rand(1, 3, 16, 16)
    expected = torch.stack([image[:, 0] * 2 + 0.1, image[:, 1] - 0.2, image[:, 2] * 0.5], 1)
    torch.testing.assert_close(apply_affine(coefficients, image), expected)


def test_who_may_not_lend_lends_nothing(networks):
    composite, mask, regions = scene()
    allowed = torch.ones_like(mask)
    allowed[..., :16] = 0  # the first column of cells
    with torch.inference_mode():
        for slot in ("bain", "srin"):
            weights = networks[slot].decide(composite, mask, regions, allowed).weights
            cells = weights[..., : GRID**2].unflatten(-1, (GRID, GRID))
            assert not cells[..., 0].any() and cells[..., 1].any()


def test_lenders_are_cells_and_regions():
    assert LENDERS["srin"] == slice(CELLS.start, LENDING.stop)
    _, mask, regions = scene()
    weights = partition(mask, regions)
    background = sides(mask)[1]
    torch.testing.assert_close(weights[:, LENDERS["srin"]].sum(1, keepdim=True), 2 * background)
