"""Scoring on miniature data sets, whose right scores are known from how they are made."""

import json
import math

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from srin.errors import SrinError
from srin.metrics import score
from srin.models.checkpoint import save_weights
from srin.models.config import ModelConfig
from srin.models.unet import HarmonizationNet
from train.evaluate import main
from train.evaluation.data import from_folder
from train.evaluation.methods import Method
from train.evaluation.scoring import run
from train.evaluation.summary import METRICS, summarize

SHAPE = (40, 60)
# Name, foreground's rows (of 40, all columns), error added inside and outside the mask, family, rim.
PICTURES = [
    ("0001", 1, 30, 0, "lab", "clean"),  # 2.5 % of the picture
    ("0002", 4, 20, 0, "tone", "leak"),  # 10 %
    ("0003", 20, 10, 5, "lab", "clean"),  # 50 %, and a background with errors
    ("0004", 20, 0, 0, "identity", "clean"),
]


def pictures(rows, inside, outside, seed):
    """Composite, mask and real picture, (40, 60); the composite is brighter by given amounts. A row has one colour."""
    real = np.random.default_rng(seed).integers(60, 120, (SHAPE[0], 1, 3), dtype=np.uint8).repeat(SHAPE[1], 1)
    mask = np.zeros(SHAPE, np.uint8)
    mask[:rows] = 255
    return real + np.where(mask[..., None] > 0, inside, outside).astype(np.uint8), mask, real


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "set"
    lines = ["id,family,rim"]
    for seed, (name, rows, inside, outside, family, rim) in enumerate(PICTURES):
        for kind, array in zip(("composite", "mask", "real"), pictures(rows, inside, outside, seed), strict=True):
            (root / kind).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(root / kind / f"{name}.png"), array[..., ::-1] if array.ndim == 3 else array)
        lines.append(f"{name},{family},{rim}")
    (root / "index.csv").write_text("\n".join(lines))
    return root


def weights_file(path, **config):
    model = ModelConfig(**{"slot": "srin", "width": 2, "working_size": 32, **config})
    torch.manual_seed(0)
    save_weights(path, model, HarmonizationNet(model).state_dict(), torch.float32, {})
    return path


def command(*arguments):
    main([str(a) for a in arguments])


def refusal(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        command(*arguments)
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_a_folder_from_the_command_line(folder, tmp_path, capsys):
    out = tmp_path / "reports" / "first"
    file = weights_file(tmp_path / "w.safetensors")
    command(folder, "-o", out, "--methods", "copy-paste", "reinhard", "--weights", f"mine={file}", "--size", 40)
    text = (out / "report.md").read_text()
    assert text == capsys.readouterr().out[:-1]

    # Copy-paste's errors are those that were built in: at 40 px no rows are mixed.
    table = pd.read_csv(out / "pictures.csv", dtype={"id": str})
    assert len(table) == 4 * 3
    ours = table[table["method"] == "copy-paste"].set_index("id")
    assert ours["fmse"].tolist() == [900, 400, 100, 0]
    assert ours["fg_ratio"].tolist() == [0.025, 0.1, 0.5, 0.5]
    assert ours.loc["0002", "mse"] == 40

    content = json.loads((out / "report.json").read_text())
    assert (content["protocol"], content["size"], content["published"]) == ("composite", 40, {})
    groups = {(g["group"], g["value"], g["method"], g["metric"]): g for g in content["groups"]}
    overall = groups["all", "all", "copy-paste", "fmse"]
    assert overall["pictures"] == 3  # identity is apart
    assert overall["mean"] == pytest.approx((900 + 400 + 100) / 3)
    assert groups["rim", "clean", "copy-paste", "fmse"]["pictures"] == 2
    assert groups["family", "tone", "copy-paste", "fmse"]["mean"] == 400
    for value, mean in (("0-5 %", 900 / 40), ("5-15 %", 40), ("15-100 %", (100 + 25) / 2)):
        assert groups["ratio", value, "copy-paste", "mse"]["mean"] == mean
    assert groups["unchanged", "unchanged", "copy-paste", "psnr"]["mean"] is None  # infinite

    assert "Protocol **composite**" in text and "Published" not in text and "left out" not in text
    assert f"| copy-paste | {groups['all', 'all', 'copy-paste', 'psnr']['mean']:.2f} [" in text
    differences = text.split("## Paired differences from copy-paste")[1].split("##")[0]
    gain = groups["rim", "leak", "reinhard", "fpsnr"]["difference"]
    assert "fPSNR, rim=leak" in differences and f"| {gain:+.2f} |" in differences  # one picture, no interval
    assert "| copy-paste |" not in differences
    assert "## Drift on pictures that were harmonious, 1" in text
    mine = next(m for m in content["methods"] if m["name"] == "mine")
    assert mine["config"]["slot"] == "srin"
    assert f"| mine | srin | default | affine | 2 | {mine['parameters'] / 1e6:.2f} M | true |" in text
    assert "Semantic maps: colour regions" in text
    for name in ("parameters.png", "grid.png"):
        assert min(cv2.imread(str(out / name)).shape[:2]) > 100
    assert len(list(out.iterdir())) == 5


def test_both_protocols_are_named_and_differ_outside_the_foreground(folder, tmp_path):
    found = {}
    for protocol in ("composite", "gt-background"):
        more = ["--methods", "copy-paste", "--size", 40, "--grid", 0, "--protocol", protocol]
        command(folder, "-o", tmp_path / protocol, *more)
        assert f"Protocol **{protocol}**" in (tmp_path / protocol / "report.md").read_text()
        assert json.loads((tmp_path / protocol / "report.json").read_text())["protocol"] == protocol
        table = pd.read_csv(tmp_path / protocol / "pictures.csv", dtype={"id": str}).set_index("id")
        found[protocol] = table.loc["0003"]
    assert found["composite"]["mse"] == (100 + 25) / 2
    assert found["gt-background"]["mse"] == 100 / 2
    assert found["composite"]["fmse"] == found["gt-background"]["fmse"]


def test_means_intervals_and_paired_differences():
    """Two methods that differ by a constant on pictures that differ a lot: only pairing shows it."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(200):
        base = rng.normal(30, 4)
        for method, psnr in (("copy-paste", base), ("better", base + 1 + 0.1 * rng.normal())):
            values = dict.fromkeys(METRICS, 10.0) | {"psnr": psnr, "fmse": 5 * (50 - psnr)}
            about = {"id": str(i), "subset": "", "family": "", "rim": "", "changed": True, "fg_ratio": 0.2}
            rows.append({**about, "method": method, **values})
    table = pd.DataFrame(rows)
    summary = summarize(table, "copy-paste").set_index(["group", "value", "method", "metric"]).loc["all", "all"]
    psnr, values = summary.loc["better", "psnr"], table[table["method"] == "better"]["psnr"]
    error = 1.96 * values.std() / math.sqrt(200)
    assert psnr["mean"] == pytest.approx(values.mean())
    assert (psnr["low"], psnr["high"]) == pytest.approx((values.mean() - error, values.mean() + error), abs=0.15 * error)
    assert psnr["low"] < summary.loc["copy-paste", "psnr"]["high"]  # unpaired, they can't be told apart
    assert 0.97 < psnr["difference_low"] < psnr["difference"] < psnr["difference_high"] < 1.03
    assert psnr["better"] == summary.loc["better", "fmse"]["better"] == 1
    assert summary.loc["better", "fmse"]["difference"] == pytest.approx(-5, abs=0.15)
    same = summary.loc["copy-paste", "psnr"]
    assert same["difference"] == same["difference_low"] == same["difference_high"] == same["better"] == 0
    assert summary.loc["better", "mse"]["better"] == 0  # a tie is not better


class Recorder:
    """Stands for SRIN: returns the composite, and keeps the maps that it was given, by the foreground's rows."""

    needs_map = True

    def __init__(self):
        self.seen = {}

    def harmonize_composite(self, composite, semantic_map):
        self.seen[int((composite.mask[:, 0] > 127).sum())] = (composite, semantic_map)
        return composite.image


def test_maps_are_the_own_anothers_or_one_region(tmp_path):
    """Each background has stripes of a number of its own, so a map tells whose it is."""
    stripes = {6: 1, 8: 2, 10: 4}  # the foreground's rows: the background's regions
    for rows, count in stripes.items():
        width = 60 if rows != 10 else 80  # of another shape, so that the map must be fitted
        image = np.full((90, width, 3), 250, np.uint8)
        edges = np.linspace(rows, 90, count + 1).astype(int)
        for i in range(count):
            image[edges[i] : edges[i + 1]] = (i * 71 % 256, i * 151 % 256, 200 - i * 37)
        mask = np.zeros((90, width), np.uint8)
        mask[:rows] = 255
        for kind, array in (("composite", image), ("mask", mask), ("real", image // 2)):
            (tmp_path / kind).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / kind / f"{rows}.png"), array)
    recorders = {kind: Recorder() for kind in ("true", "shuffled", "one-region")}
    methods = [Method(kind, recorder, map=kind) for kind, recorder in recorders.items()]
    scores = run(from_folder(tmp_path), methods, "composite", 32, "colour")
    assert len(scores.rows) == 9 and scores.segmenters == {"colour regions"}

    def regions(kind, rows):
        composite, semantic_map = recorders[kind].seen[rows]
        inside = composite.mask > 127
        assert not set(semantic_map.labels[inside]) & set(semantic_map.labels[~inside])
        return len(set(semantic_map.labels[~inside]))

    own = [regions("true", rows) for rows in stripes]
    assert own == list(stripes.values())
    shuffled = [regions("shuffled", rows) for rows in stripes]
    # Every map went to another picture; its own foreground's region adds to the background's.
    assert all(a != b for a, b in zip(own, shuffled, strict=True)) and len(set(shuffled)) == 3
    assert [regions("one-region", rows) for rows in stripes] == [1, 1, 1]


def test_pictures_that_cannot_be_scored_are_left_out_and_named(folder, tmp_path, capsys):
    cv2.imwrite(str(folder / "mask" / "0001.png"), np.zeros(SHAPE, np.uint8))
    cv2.imwrite(str(folder / "real" / "0002.png"), np.zeros((40, 50, 3), np.uint8))
    command(folder, "-o", tmp_path / "out", "--methods", "copy-paste", "reinhard", "--size", 40, "--grid", 0)
    text = capsys.readouterr().out
    assert "**2 of 4 pictures are left out, for all methods:**" in text
    assert "- 0001: The mask is empty" in text and "- 0002: The real picture has 50 x 40 pixels" in text
    assert set(pd.read_csv(tmp_path / "out" / "pictures.csv")["id"]) == {3, 4}
    (folder / "composite" / "0003.png").write_bytes(b"not a picture")
    (folder / "composite" / "0004.png").write_bytes(b"")
    message = refusal(capsys, folder, "-o", tmp_path / "none")
    assert "No picture could be scored" in message and not list((tmp_path / "none").iterdir())


class Failing:
    needs_map = False

    def harmonize_composite(self, composite, semantic_map):
        if (composite.mask > 127).mean() < 0.05:
            raise SrinError("too small for me")
        return composite.image


def test_a_picture_that_one_method_fails_on_counts_for_none(folder):
    methods = [Method("failing", Failing()), Method("other", Recorder())]
    scores = run(from_folder(folder), methods, "composite", 64, "colour")
    assert scores.left_out == [("0001", "too small for me")]
    assert scores.rows.groupby("method")["id"].agg(list).tolist() == [["0002", "0003", "0004"]] * 2


def test_folders_and_weights_that_make_no_sense(folder, tmp_path, capsys):
    out = ["-o", tmp_path / "out"]
    assert "no folder" in refusal(capsys, tmp_path / "nowhere", *out)
    (tmp_path / "empty").mkdir()
    assert "holds neither composite/" in refusal(capsys, tmp_path / "empty", *out)
    for kind in ("composite", "mask", "real"):
        (tmp_path / "empty" / kind).mkdir()
    assert "no pictures" in refusal(capsys, tmp_path / "empty", *out)
    assert "only iHarmony4 has sub-datasets" in refusal(capsys, folder, *out, "--subsets", "HCOCO")
    assert "'srin2' is not among the methods" in refusal(capsys, folder, *out, "--reference", "srin2")

    good = weights_file(tmp_path / "good.safetensors")
    assert "NAME=FILE" in refusal(capsys, folder, *out, "--weights", good)
    assert "no weights file" in refusal(capsys, folder, *out, "--weights", "a=nowhere.safetensors")
    twice = ["--weights", f"a={good}", f"b={good}", "--weights", f"a={good}"]
    assert "'a' is taken" in refusal(capsys, folder, *out, *twice)
    assert "'poisson' is taken" in refusal(capsys, folder, *out, "--weights", f"poisson={good}")
    (tmp_path / "broken.safetensors").write_bytes(good.read_bytes()[:-100])
    assert "can't be read" in refusal(capsys, folder, *out, "--weights", f"a={tmp_path / 'broken.safetensors'}")
    other = tmp_path / "other.safetensors"
    save_weights(other, ModelConfig("rain", width=3), HarmonizationNet(ModelConfig("rain", width=2)).state_dict(),
                 torch.float32, {})
    assert "doesn't fit its own configuration" in refusal(capsys, folder, *out, "--weights", f"a={other}")
    (tmp_path / "file").touch()
    assert "can't be written" in refusal(capsys, folder, "-o", tmp_path / "file")

    (folder / "real" / "0002.png").unlink()
    (folder / "composite" / "0003.png").unlink()
    assert "Missing: real/0002, composite/0003." in refusal(capsys, folder, *out)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def iharmony4(tmp_path):
    root = tmp_path / "iHarmony4"
    lines = []
    for subset, rows, inside in (("HAdobe5k", 2, 10), ("HCOCO", 4, 20)):
        composite, mask, real = pictures(rows, inside, 3, rows)
        names = {"composite_images": ("x_1_1.png", composite), "masks": ("x_1.png", mask), "real_images": ("x.png", real)}
        for kind, (name, array) in names.items():
            (root / subset / kind).mkdir(parents=True)
            cv2.imwrite(str(root / subset / kind / name), array)
        lines.append(f"{subset}/composite_images/x_1_1.png")
    (root / "IHD_test.txt").write_text("\n".join(lines))
    return root


def test_iharmony4_with_published_tables_apart(iharmony4, tmp_path, capsys):
    out = ["-o", tmp_path / "out", "--cache", tmp_path / "cache", "--methods", "copy-paste", "--grid", 0]
    command(iharmony4, *out)
    ours, published = capsys.readouterr().out.split("## Published")
    assert "squeezed to this size before" in ours
    assert "| HAdobe5k (1) MSE | PSNR | fMSE | HCOCO (1) MSE | PSNR | fMSE | average (2) MSE |" in ours
    for figure in ("GiftNet", "40.32", "191.08"):
        assert figure in published and figure not in ours
    assert list(json.loads((tmp_path / "out" / "report.json").read_text())["published"]) == [
        "table1_iharmony4",
        "table2_foreground_ratio",
    ]
    assert len(list((tmp_path / "cache" / "256").rglob("*.png"))) == 6

    # Squeezed first, then scored: the same as scoring at the pictures' own size.
    composite, mask, real = pictures(4, 20, 3, 4)
    row = pd.read_csv(tmp_path / "out" / "pictures.csv").set_index("subset").loc["HCOCO"]
    assert row["fmse"] == pytest.approx(score(composite, real, mask)["fmse"], rel=0.02)

    command(iharmony4, *out, "--subsets", "HAdobe5k", "--size", 1024)
    ours, published = capsys.readouterr().out.split("## Published")
    assert "1024 x 1024 pixels" in ours and "(the paper's Table 3), 1" in ours
    assert "| INR |" in published and "GiftNet" not in published
    assert "HFlickr" in refusal(capsys, iharmony4, *out, "--subsets", "HFlickr")
