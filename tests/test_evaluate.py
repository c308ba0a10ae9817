"""Scoring on miniature data sets that are made so that the right scores are known."""

import json
import math
import shutil
from dataclasses import asdict

import cv2
import numpy as np
import pandas as pd
import pytest
from safetensors import safe_open
from safetensors.torch import save_file

from srin.errors import SrinError
from srin.harmonizer import WEIGHTS
from srin.metrics import score
from srin.models.checkpoint import load_weights
from train.evaluate import main
from train.evaluation.data import from_folder
from train.evaluation.figures import parameters_against_psnr
from train.evaluation.methods import Method
from train.evaluation.oracle import ORACLE, affine_oracle
from train.evaluation.scoring import run
from train.evaluation.summary import METRICS, compare, intervals, summarize

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


def weights_file(path, method="srin"):
    shutil.copy(WEIGHTS / f"{method}.safetensors", path)
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

    # Copy-paste's errors are those that were put in, since rows aren't mixed at 40 px.
    table = pd.read_csv(out / "pictures.csv", dtype={"id": str})
    assert len(table) == 4 * 4  # the oracle is always there
    ours = table[table["method"] == "copy-paste"].set_index("id")
    assert ours["fmse"].tolist() == [900, 400, 100, 0]
    assert ours["fg_ratio"].tolist() == [0.025, 0.1, 0.5, 0.5]
    assert ours.loc["0002", "mse"] == 40
    assert (ours["lightness"] > 3).tolist() == [True, True, True, False] and ours.loc["0004", "chroma"] == 0
    assert table[table["method"] == ORACLE]["fmse"].tolist() == [0, 0, 0, 0]  # a constant is an affine transform

    content = json.loads((out / "report.json").read_text())
    assert (content["protocol"], content["size"], content["published"]) == ("composite", 40, {})
    groups = {(g["group"], g["value"], g["method"], g["metric"]): g for g in content["groups"]}
    overall = groups["all", "all", "copy-paste", "fmse"]
    assert overall["pictures"] == 3  # the family identity is reported apart
    assert overall["mean"] == pytest.approx((900 + 400 + 100) / 3)
    assert groups["rim", "clean", "copy-paste", "fmse"]["pictures"] == 2
    assert groups["family", "tone", "copy-paste", "fmse"]["mean"] == 400
    for value, mean in (("0-5 %", 900 / 40), ("5-15 %", 40), ("15-100 %", (100 + 25) / 2)):
        assert groups["ratio", value, "copy-paste", "mse"]["mean"] == mean
    assert groups["unchanged", "identity", "copy-paste", "psnr"]["mean"] is None  # PSNR is infinite

    assert "Protocol **composite**" in text and "Published" not in text and "left out" not in text
    assert f"| copy-paste | {groups['all', 'all', 'copy-paste', 'psnr']['mean']:.2f} [" in text
    gains = text.split("## Gain in fPSNR over copy-paste, dB")[1].split("##")[0]
    gain = groups["rim", "leak", "reinhard", "fpsnr"]["difference"]
    assert "| pictures | number | copy-paste fPSNR | reinhard | mine | affine oracle |" in gains
    assert f"| rim leak | 1 | {10 * math.log10(255**2 / 400):.2f} | {gain:+.2f} | " in gains  # one picture, no interval
    assert "| `tone` | 1 |" in gains and "| `identity` |" not in gains
    for metric in ("chroma", "lightness"):
        signed = text.split(f"## Signed error of {metric}, by groups")[1].split("##")[0]
        means = [groups["all", "all", name, metric]["mean"] for name in ("copy-paste", "reinhard")]
        assert means[0] == pytest.approx(ours[metric].iloc[:3].mean(), abs=1e-4) and means[0] * means[1] != 0
        row = next(line for line in signed.splitlines() if line.startswith("| all | 3 |")).split(" | ")
        assert [cell.split(" [")[0] for cell in row[2:4]] == [f"{mean:.2f}" for mean in means]
    for title, metric in (("fMSE", "fmse"), ("dE2000", "delta_e")):
        cell = f"{groups['family', 'lab', 'copy-paste', metric]['mean']:.2f}"
        assert f"| `lab` | 2 | {cell} | " in text.split(f"## {title}, by groups")[1].split("##")[0]
    differences = text.split("## Paired differences from copy-paste")[1].split("##")[0]
    assert "| reinhard |" in differences and "| copy-paste |" not in differences
    drift = text.split("## Drift where there is nothing to harmonize")[1].split("##")[0]
    assert "| `identity`, 1 |" in drift and "| copy-paste | 0.00 | 0.00 | 0.00 | 0.00 |" in drift
    mine = next(m for m in content["methods"] if m["name"] == "mine")
    config = asdict(load_weights(file).config)
    assert mine["config"] == config and mine["seeds"] == 1
    cells = " | ".join(str(value) for value in config.values())
    assert f"| mine | {cells} | {mine['parameters'] / 1e6:.2f} M | true |" in text
    assert "Semantic maps: colour regions" in text and "## Seeds" not in text and "## Between networks" not in text
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
        table = pd.read_csv(tmp_path / protocol / "pictures.csv", dtype={"id": str}).set_index(["method", "id"])
        found[protocol] = table.loc[("copy-paste", "0003")]
    assert found["composite"]["mse"] == (100 + 25) / 2
    assert found["gt-background"]["mse"] == 100 / 2
    assert found["composite"]["fmse"] == found["gt-background"]["fmse"]


def rows_of(scores, **about):
    """Rows for `summarize`, from arrays (pictures, seeds) by method. All metrics have the same value."""
    table = []
    pictures = len(next(iter(scores.values())))
    for i in range(pictures):
        known = {"id": str(i), "subset": "", "family": "", "series": str(i), "changed": True, "fg_ratio": 0.2}
        known |= {"true_chroma": float(i)} | {key: values[i] for key, values in about.items()}
        for method, values in scores.items():
            for seed, value in enumerate(values[i]):
                table.append({**known, "method": method, "seed": seed, **dict.fromkeys(METRICS, float(value))})
    return pd.DataFrame(table)


def test_means_intervals_and_paired_differences():
    """Two methods differ by a constant, on pictures that differ a lot, so only pairing shows it."""
    rng = np.random.default_rng(0)
    base = rng.normal(30, 4, (200, 1))
    better = base + 1 + 0.1 * rng.normal(size=(200, 1))
    table = rows_of({"copy-paste": base, "better": better})
    table["fmse"] = 5 * (50 - table["psnr"])
    table["mse"] = 10.0
    summary = summarize(table, "copy-paste").set_index(["group", "value", "method", "metric"]).sort_index()
    summary = summary.loc["all", "all"]
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
    assert (psnr["pictures"], psnr["series"]) == (200, 200)


def test_a_signed_error_is_better_near_zero():
    table = rows_of({"copy-paste": [[-3], [3], [-3], [1]], "other": [[2], [-2], [4], [1]]})
    summary = summarize(table, "copy-paste").set_index(["group", "method", "metric"]).sort_index()
    found = summary.loc[("all", "other")]["better"]
    assert found[["chroma", "lightness", "delta_e", "fpsnr"]].tolist() == [0.5, 0.5, 0.25, 0.5]


def test_seeds_are_drawn_too_and_together_where_methods_have_as_many():
    """All pictures are alike, so only the seeds vary. One in 27 draws of three seeds has the lowest three times."""
    one, three = np.full((5, 1), 10.0), np.full((5, 3), 10.0) + [0, 1, 2]
    table = rows_of({"copy-paste": one, "a": three, "b": three + 0.5})
    summary = summarize(table, "copy-paste").set_index(["group", "method", "metric"]).sort_index()
    found = summary.loc[("all", "a", "fpsnr"), ["mean", "low", "high", "difference", "difference_low", "difference_high"]]
    assert found.tolist() == pytest.approx([11, 10, 12, 1, 0, 2])
    assert summary.loc[("all", "copy-paste", "fpsnr"), ["low", "high"]].tolist() == pytest.approx([10, 10])
    pairs = compare(table, ["a", "b"])
    pair = pairs[(pairs["group"] == "all") & (pairs["metric"] == "fpsnr")].iloc[0]
    assert pair[["method", "other"]].tolist() == ["b", "a"] and not pair["tie"]
    assert pair[["difference", "low", "high"]].tolist() == pytest.approx([0.5] * 3)  # seed by seed
    pairs = compare(table, ["copy-paste", "a"])
    assert pairs[pairs["metric"] == "fpsnr"]["tie"].all()  # one of three seeds is no better


def test_pictures_of_one_series_are_drawn_together():
    """Series of one and of three pictures: the mean of a draw is 0, 3 or 4, and a quarter of the draws give each end."""
    values = [[0], [4], [4], [4]]
    together = summarize(rows_of({"copy-paste": values}, series=["a", "b", "b", "b"]), "copy-paste").iloc[0]
    assert together[["pictures", "series", "mean", "low", "high"]].tolist() == pytest.approx([4, 2, 3, 0, 4])
    # Alone, four zeros have a chance of 1/256, three or four of 13/256.
    alone = summarize(rows_of({"copy-paste": values}), "copy-paste").iloc[0]
    assert alone[["series", "low", "high"]].tolist() == pytest.approx([4, 1, 4])
    low, high = intervals(np.array(values, float))
    assert (low, high) == (pytest.approx([1]), pytest.approx([4]))
    lone = summarize(rows_of({"copy-paste": values}, series=["a"] * 4), "copy-paste").iloc[0]
    assert math.isnan(lone["low"]) and lone["mean"] == 3


def test_exchanged_methods_exchange_signs_and_ties_are_ties():
    rng = np.random.default_rng(1)
    base = rng.normal(30, 4, (60, 1))
    noise = rng.normal(size=(60, 1))
    table = rows_of({"a": base, "ahead": base + 1 + noise, "level": base + noise - noise.mean()})
    one = compare(table, ["a", "ahead", "level"]).set_index(["group", "value", "method", "other", "metric"])
    two = compare(table, ["level", "ahead", "a"]).set_index(["group", "value", "method", "other", "metric"])
    for first, second in (("ahead", "a"), ("level", "a"), ("level", "ahead")):
        this = one.loc[("all", "all", first, second, "fpsnr")]
        that = two.loc[("all", "all", second, first, "fpsnr")]
        assert (that["difference"], that["low"], that["high"]) == pytest.approx(
            (-this["difference"], -this["high"], -this["low"])
        )
        assert this["tie"] == that["tie"] == (this["low"] <= 0 <= this["high"]) == ((first, second) == ("level", "a"))
    forth, back = (summarize(table, r).set_index(["group", "method", "metric"]) for r in ("a", "ahead"))
    gain = forth.loc[("all", "ahead", "fpsnr")]
    loss = back.loc[("all", "a", "fpsnr")]
    assert loss["difference"] == pytest.approx(-gain["difference"]) and gain["difference"] == pytest.approx(1, abs=0.3)
    assert loss["better"] == pytest.approx(1 - gain["better"])


def test_groups_of_pictures():
    about = {
        "source": ["facades", "animals", "animals", "facades", "animals", "animals"],
        "second_object": ["yes", "no", "", "no", "no", "no"],
        "family": ["lab", "tone", "lut", "scene", "identity", "requantized"],
        "changed": [True, True, True, True, False, False],
    }
    table = rows_of({"copy-paste": [[1], [2], [4], [8], [16], [32]]}, **about)
    means = summarize(table, "copy-paste", ["facades"]).set_index(["group", "value", "metric"])["mean"]
    found = {key[:2]: value for key, value in means.items() if key[2] == "fmse"}
    assert found == {
        ("all", "all"): 15 / 4,
        ("objects", "without stuff"): 3,
        ("class", "no second object"): 5,
        ("class", "a second object"): 1,
        ("plain", "tone, lab"): 1.5,
        ("family", "lab"): 1,
        ("family", "tone"): 2,
        ("family", "lut"): 4,
        ("family", "scene"): 8,
        ("chroma", "below 1.0"): 1,  # true chroma is 0, 1, 2, 3
        ("chroma", "1.0 to 2.0"): 2,
        ("chroma", "from 2.0"): 6,
        ("ratio", "15-100 %"): 15 / 4,
        ("unchanged", "identity"): 16,
        ("unchanged", "requantized"): 32,
    }
    assert ("objects", "without stuff") not in summarize(table, "copy-paste").set_index(["group", "value"]).index


def test_the_affine_oracle_by_hand():
    """Greys 10, 20, 30, 40 that should be 20, 30, 50, 60: the closest line is 1.4 x + 5."""
    composite = np.array([10, 20, 30, 40, 77], np.uint8)[None, :, None].repeat(3, 2)
    real = np.array([20, 30, 50, 60, 99], np.uint8)[None, :, None].repeat(3, 2)
    mask = np.array([[255, 255, 255, 128, 127]], np.uint8)
    assert affine_oracle(composite, real, mask)[0, :, 0].tolist() == [19, 33, 47, 61, 77]
    # With three channels that mix: the truth is a transform of the composite, clipped at 255.
    rng = np.random.default_rng(2)
    composite = rng.integers(0, 256, (30, 30, 3), dtype=np.uint8)
    exact = composite @ np.array([[0.5, 0.2, 0.0], [0.1, 0.3, 0.3], [0.0, 0.1, 0.4]]) + [10, 20, 30]
    real, mask = np.rint(exact).astype(np.uint8), np.full((30, 30), 255, np.uint8)
    assert abs(affine_oracle(composite, real, mask).astype(int) - real).max() <= 1
    one_colour = np.full((30, 30, 3), 50, np.uint8)
    assert (affine_oracle(one_colour, np.full_like(one_colour, 200), mask) == 200).all()


class Reads:
    """A method that knows the truth, by the foreground's rows, and returns what `make` makes of it."""

    needs_map = False

    def __init__(self, folder, make):
        self.make = make
        self.real = {}
        for sample in (data := from_folder(folder)).samples:
            composite, real = data.load(sample)
            self.real[composite.image.tobytes()] = real

    def harmonize_composite(self, composite, semantic_map):
        return self.make(composite, self.real[composite.image.tobytes()])


def greyed(composite, real):
    return real.mean(2, keepdims=True).repeat(3, 2).round().astype(np.uint8)


def test_who_reads_the_truth_gets_the_oracle_and_who_greys_out_is_told(folder):
    rng = np.random.default_rng(3)
    for name, *_ in PICTURES[:3]:  # no affine transform away from the truth
        file = str(folder / "composite" / f"{name}.png")
        image = cv2.imread(file)
        cv2.imwrite(file, image + rng.integers(0, 30, image.shape, dtype=np.uint8))
    cheating = Reads(folder, lambda composite, real: affine_oracle(composite.image, real, composite.mask))
    methods = [Method("copy-paste", Recorder()), Method("cheating", cheating), Method("grey", Reads(folder, greyed))]
    rows = run(from_folder(folder), methods, "composite", 40, "colour").rows
    of = {name: part.reset_index(drop=True) for name, part in rows.groupby("method")}
    assert of["cheating"][list(METRICS)].equals(of[ORACLE][list(METRICS)])
    assert (of[ORACLE]["fmse"] < of["copy-paste"]["fmse"])[:3].all() and (of[ORACLE]["fmse"][1:3] > 0).all()
    assert of["grey"]["chroma"].tolist() == pytest.approx((-of["grey"]["true_chroma"]).tolist(), abs=0.5)
    summary = summarize(rows, "copy-paste").set_index(["group", "method", "metric"])
    gain = summary.loc[("all", ORACLE, "delta_e"), "difference"]
    assert gain < -1 and summary.loc[("all", "cheating", "delta_e"), "difference"] == gain
    assert summary.loc[("all", "grey", "chroma"), "high"] < 0


def test_labels_of_a_set_and_composites_with_nothing_to_harmonize(folder, tmp_path, capsys):
    lines = ["id,family,source", "0001,lab,streets", "0002,tone,pets", "0003,requantized,pets", "0004,identity,pets"]
    (folder / "index.csv").write_text("\n".join(lines))
    (folder / "labels.csv").write_text("id,photo,series,second_object\n0001,x.webp,x,no\n0002,y.webp,x,yes\n")
    command(folder, "-o", tmp_path / "out", "--methods", "copy-paste", "--size", 40, "--grid", 0, "--stuff", "streets")
    text = capsys.readouterr().out
    gains = text.split("## Gain in fPSNR over copy-paste, dB")[1].split("##")[0]
    numbers = dict(line.removeprefix("| ").split(" | ")[:2] for line in gains.splitlines() if line.startswith("| "))
    assert numbers == {
        "pictures": "number",
        "---": "---",
        "all": "2",
        "without stuff": "1",
        "no second object of the class": "1",
        "a second object of the class": "1",
        "tone, lab": "2",
        "`lab`": "1",
        "`tone`": "1",
        **{label: "1" for label in numbers if label.startswith("true chroma")},
    }
    assert sum(label.startswith("true chroma") for label in numbers) == 2  # two pictures make two of three thirds
    assert "4 photos in 3 series" in text and "Without stuff: without the pictures from streets." in text
    drift = text.split("## Drift where there is nothing to harmonize")[1].split("##")[0]
    assert "| `requantized`, 1 |" in drift and "| `identity`, 1 |" in drift
    rows = pd.read_csv(tmp_path / "out" / "pictures.csv", dtype={"id": str}).drop_duplicates("id").set_index("id")
    assert rows["changed"].tolist() == [True, True, False, False] and rows.loc["0003", "fmse"] == 100
    assert rows["series"].tolist()[:2] == ["x", "x"] and rows["second_object"].tolist()[:2] == ["no", "yes"]
    (folder / "labels.csv").write_text("name\n0001\n")
    assert "labels.csv needs a column named id" in refusal(capsys, folder, "-o", tmp_path / "out")


@pytest.mark.slow
def test_several_weights_files_are_seeds_of_one_method(folder, tmp_path, capsys):
    file = weights_file(tmp_path / "a.safetensors", "baseline")
    other = tmp_path / "b.safetensors"
    with safe_open(file, "pt") as opened:
        tensors = {key: opened.get_tensor(key) for key in opened.keys()}
        changed = {key: value * 0.5 if value.is_floating_point() else value for key, value in tensors.items()}
        save_file(changed, other, opened.metadata())
    out = tmp_path / "out"
    networks = ["--weights", f"one={file},{other}", f"two={file},{other}", f"three={other}"]
    command(folder, "-o", out, "--methods", "copy-paste", *networks, "--size", 40, "--grid", 1)
    text = capsys.readouterr().out
    table = pd.read_csv(out / "pictures.csv", dtype={"id": str})
    runs = table[table["id"] == "0003"].set_index(["method", "seed"])
    assert len(runs) == 1 + 2 + 2 + 1 + 1
    assert runs.loc[("one", 0), "fmse"] == runs.loc[("two", 0), "fmse"] != runs.loc[("one", 1), "fmse"]
    assert runs.loc[("one", 1), "fmse"] == runs.loc[("three", 0), "fmse"]
    content = json.loads((out / "report.json").read_text())
    assert [(m["name"], m["seeds"]) for m in content["methods"]] == [
        ("copy-paste", 1),
        ("one", 2),
        ("two", 2),
        ("three", 1),
    ]
    pairs = {(p["group"], p["method"], p["other"], p["metric"]): p for p in content["pairs"]}
    same = pairs["all", "two", "one", "fpsnr"]
    assert (same["difference"], same["low"], same["high"], same["tie"]) == (0, 0, 0, True)
    between = text.split("## Between networks: fPSNR")[1].split("##")[0]
    assert "| pictures | two - one | three - one | three - two |" in between
    assert "| all | tie: +0.00 [+0.00, +0.00] |" in between and "| nothing to do: identity | tie: " in between
    assert "over 4 photos and over seeds" in text
    seeds = text.split("## Seeds")[1].split("##")[0]
    changed = table[table["changed"]].groupby(["method", "seed"])["fpsnr"].mean()
    for name in ("one", "two"):
        for seed in (0, 1):
            gain = changed[name, seed] - changed["copy-paste", 0]
            assert f"| {name} | {seed} | {gain:+.2f} |" in seeds
    assert "| three |" not in seeds
    mixed = ["--weights", f"mixed={file},{weights_file(tmp_path / 'c.safetensors')}"]
    assert "different networks" in refusal(capsys, folder, "-o", tmp_path / "none", *mixed)


class Recorder:
    """Stands for SRIN: returns the composite, and keeps the maps that it was given, by the foreground's rows."""

    needs_map = True

    def __init__(self):
        self.seen = {}

    def harmonize_composite(self, composite, semantic_map):
        self.seen[int((composite.mask[:, 0] > 127).sum())] = (composite, semantic_map)
        return composite.image


def test_maps_are_the_own_anothers_or_one_region(tmp_path):
    """Each background has its own number of stripes, so a map tells which picture it is of."""
    stripes = {6: 1, 8: 2, 10: 4}  # the foreground's rows: the background's regions
    for rows, count in stripes.items():
        width = 60 if rows != 10 else 80  # another shape, so that the map must be fitted
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
    assert len(scores.rows) == 3 * 4 and scores.segmenters == {"colour regions"}

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
    assert scores.rows.groupby("method")["id"].agg(list).tolist() == [["0002", "0003", "0004"]] * 3


class Adds:
    needs_map = False

    def __init__(self, amount):
        self.amount = amount

    def harmonize_composite(self, composite, semantic_map):
        return composite.image + np.uint8(self.amount)


def test_pictures_show_a_method_once_whatever_its_seeds(folder):
    config = load_weights(WEIGHTS / "baseline.safetensors").config
    methods = [Method("m", Adds(3), config, 1000, seed=0), Method("m", Adds(9), config, 1000, seed=1)]
    scores = run(from_folder(folder), methods, "composite", 40, "colour", examples=3)
    assert len(scores.examples) == 3
    for pictures in scores.examples.values():
        assert list(pictures) == ["composite", "mask", "m", "real"]
        assert (pictures["m"] - pictures["composite"] == 3).all()
    figure = parameters_against_psnr(summarize(scores.rows, "m"), methods, "composite")
    assert [text.get_text() for text in figure.axes[0].texts] == ["m"]


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
    for files in ("nowhere.safetensors", f"{good},nowhere.safetensors", f"{good},"):
        assert "no weights file" in refusal(capsys, folder, *out, "--weights", f"a={files}")
    twice = ["--weights", f"a={good}", f"b={good}", "--weights", f"a={good}"]
    assert "'a' is taken" in refusal(capsys, folder, *out, *twice)
    assert "'affine oracle' is taken" in refusal(capsys, folder, *out, "--weights", f"{ORACLE}={good}")
    assert "'poisson' is taken" in refusal(capsys, folder, *out, "--weights", f"poisson={good}")
    (tmp_path / "broken.safetensors").write_bytes(good.read_bytes()[:-100])
    assert "can't be read" in refusal(capsys, folder, *out, "--weights", f"a={tmp_path / 'broken.safetensors'}")
    other = tmp_path / "other.safetensors"
    with safe_open(good, "pt") as file:
        names = list(file.keys())
        save_file({name: file.get_tensor(name) for name in names[1:]}, other, file.metadata())
    assert "doesn't fit its own configuration" in refusal(capsys, folder, *out, "--weights", f"a={other}")
    (tmp_path / "file").touch()
    assert "Results need a folder" in refusal(capsys, folder, "-o", tmp_path / "file")

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
    table = pd.read_csv(tmp_path / "out" / "pictures.csv").set_index(["method", "subset"])
    row = table.loc[("copy-paste", "HCOCO")]
    assert row["photo"] == row["series"] == "HCOCO/x"  # the real picture, which several composites may share
    assert row["fmse"] == pytest.approx(score(composite, real, mask)["fmse"], rel=0.02)

    command(iharmony4, *out, "--subsets", "HAdobe5k", "--size", 1024)
    ours, published = capsys.readouterr().out.split("## Published")
    assert "1024 x 1024 pixels" in ours and "(the paper's Table 3), 1" in ours
    assert "| INR |" in published and "GiftNet" not in published
    assert "HFlickr" in refusal(capsys, iharmony4, *out, "--subsets", "HFlickr")
