"""What people bring to training and scoring: the same reading and the same checks as for harmonizing."""

import importlib
import os
import subprocess
import sys
import unicodedata

import numpy as np
import pytest
from conftest import ROOT
from PIL import ExifTags, Image

from srin.errors import OutputError, SrinError
from srin.image_io import load_labels
from srin.remarks import collected
from srin.segmentation.semantic_map import SemanticMap
from train.config import DataConfig, load_config
from train.data.photos import find_photos, load_photos
from train.data.tables import read_table
from train.evaluation.data import from_folder
from train.precompute_maps import find_pictures, precompute
from train.runs import claim
from train.train import load, run


def write(path, value=0, size=(60, 40), mask=False, **options):
    """A picture, or a mask of a rectangle, in the format of the path's extension."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if mask:
        image = Image.new("L", size)
        image.paste(255, (10, 10, 30, 30 + value))
    else:
        noise = np.random.default_rng(value).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        image = Image.fromarray(noise)
    image.save(path, **options)


def dataset(root, stems="abc"):
    for i, stem in enumerate(stems):
        write(root / "images" / f"{stem}.jpg", i)
        write(root / "masks" / f"{stem}.png", mask=True)
    return root


def config(root, **more):
    return DataConfig(root=root, cache=root / "cache", size=32, photo_side=48, **more)


def names(root):
    return [(photo.image.name, [mask.name for mask in photo.masks]) for photo in find_photos(root)]


def test_names_are_paired_as_people_name_files(tmp_path):
    images, masks = tmp_path / "images", tmp_path / "masks"
    accents = unicodedata.normalize("NFD", "Zürich")
    for name in ("IMG__01.jpg", "IMG__02.jpg", "A.JPG", "j.jpe", f"{accents}.png", "p__x.png"):
        write(images / name, **({"format": "JPEG"} if name.endswith("jpe") else {}))
    for name in ("IMG__01.png", "IMG__02__0.png", "IMG__02__1.png", "A.PNG", "j.jpg", "p__x__3.png"):
        write(masks / name, mask=True)
    write(masks / f"{unicodedata.normalize('NFC', accents)}.png", mask=True)
    (images / "._A.JPG").write_bytes(b"\0\5\x16\7" + bytes(50))
    (masks / "._A.png").write_bytes(b"\0\5\x16\7" + bytes(50))
    found = dict(names(tmp_path))
    assert found["IMG__01.jpg"] == ["IMG__01.png"] and found["IMG__02.jpg"] == ["IMG__02__0.png", "IMG__02__1.png"]
    assert found["A.JPG"] == ["A.PNG"] and found["j.jpe"] == ["j.jpg"] and found["p__x.png"] == ["p__x__3.png"]
    assert len(found) == 6


def test_what_cannot_be_paired_is_told(tmp_path):
    dataset(tmp_path / "twins")
    write(tmp_path / "twins/images/a.png")
    with pytest.raises(ValueError, match=r"several photos named a .*a.jpg and a.png"):
        find_photos(tmp_path / "twins")
    dataset(tmp_path / "masks")
    write(tmp_path / "masks/masks/b.bmp", mask=True)
    with pytest.raises(ValueError, match="several masks named b .*b.bmp and b.png"):
        find_photos(tmp_path / "masks")
    dataset(tmp_path / "alike")
    write(tmp_path / "alike/masks/B.png", mask=True)
    with pytest.raises(ValueError, match="B.png b.jpg is nearly alike"):
        find_photos(tmp_path / "alike")


def test_tables_as_other_programs_write_them(tmp_path):
    dataset(tmp_path)
    table = tmp_path / "manifest.csv"
    lines = ["image,mask,split", "images/a.jpg,masks/a.png,train", "images\\b.jpg,masks\\b.png,train"]
    lines.append("images/c.jpg,masks/c.png,test")
    for text in ("\ufeff" + "\n".join(lines), "\r\n".join(lines), "\n".join(lines).replace(",", ";")):
        table.write_bytes(text.encode())
        assert [name for name, _ in names(tmp_path)] == ["a.jpg", "b.jpg"]
    table.write_text("\n".join(line.rpartition(",")[0] for line in lines))
    assert len(find_photos(tmp_path)) == 3  # no column "split": all are to be trained on
    table.write_text("picture,mask\na,b")
    with pytest.raises(ValueError, match="needs a column named image; it has picture, mask"):
        find_photos(tmp_path)
    table.write_bytes("image,mask\nZ\xfcrich,b".encode("latin-1"))
    with pytest.raises(ValueError, match="not UTF-8"):
        find_photos(tmp_path)
    table.write_text("")
    with pytest.raises(ValueError, match="it has none"):
        read_table(table, ("id",))


def test_what_inference_refuses_is_not_trained_on(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    root = dataset(tmp_path, "abcd")
    write(root / "images/turned.jpg", exif=exif)
    write(root / "masks/turned.png", mask=True)  # drawn on the stored pixels
    write(root / "masks/b.png", mask=True, size=(60, 30))
    write(root / "images/right.jpg", exif=exif)
    write(root / "masks/right.png", mask=True, size=(40, 60))
    Image.new("L", (60, 40)).save(root / "masks/c.png")
    problems = []
    for part in ("train", "validation"):
        try:
            load_photos(config(root), part)
        except ValueError as error:
            problems.append(str(error))
    said = " ".join(problems)
    assert all(f"{name}: The mask" in said for name in ("turned.jpg", "b.jpg", "c.jpg"))
    assert not any(f" {name}: " in said for name in ("a.jpg", "d.jpg", "right.jpg"))


def of_all(photos):
    """All masks, and all pictures, which are of one size."""
    masks = np.stack([photos.mask(number, 0) for number in range(len(photos))])
    return masks, np.stack([photos.image(number) for number in range(len(photos))])


def test_corrected_masks_and_photos_are_read_again(tmp_path, capsys):
    root = dataset(tmp_path, "abcdef")
    before = load_photos(config(root), "train")
    masks, pictures = of_all(before)
    assert np.array_equal(of_all(load_photos(config(root), "train"))[0], masks)
    for mask in (root / "masks").iterdir():
        Image.fromarray(255 - np.asarray(Image.open(mask))).save(mask)
    after = load_photos(config(root), "train")
    assert not any(after.masks), "inverted they cover nearly everything, which no object does"
    assert np.array_equal(np.stack([after.image(number) for number in range(len(after))]), pictures)
    assert "5 remarks on train photos" in capsys.readouterr().err  # they look inverted
    for i, photo in enumerate((root / "images").iterdir()):
        write(photo, 10 + i)
    again = of_all(load_photos(config(root), "train"))[1]
    assert again.shape == pictures.shape and (again != pictures).any((1, 2, 3)).all()
    for photo in (root / "images").iterdir():
        write(photo, 1)
    with pytest.raises(ValueError, match="nothing is left to train on"):  # one of them is held out
        load_photos(config(root), "train")
    assert not list(root.rglob("*.part"))


def test_paths_and_texts_are_what_was_typed():
    changes = ["data.root=shoot #3", "output_dir=2026-10-29", "data.cache=no", "init=17", "data.maps=null", "seed=4"]
    changes += ["lr=1e-3", "precision=no", "data.leave_out=[x, y]", "data.source_weights={a: 2}"]
    loaded = load_config("photos", changes)
    paths = (loaded.data.root, loaded.output_dir, loaded.data.cache, loaded.init)
    assert [str(path) for path in paths] == ["shoot #3", "2026-10-29", "no", "17"]
    assert loaded.data.maps is None and loaded.seed == 4 and loaded.lr == 1e-3 and loaded.precision == "no"
    odd = load_config("photos", ["data.leave_out=[007, no, 2026-10-29]", "data.source_weights={no: 2e0}", "drops=[3]"])
    assert odd.data.leave_out == ("007", "no", "2026-10-29") and odd.data.source_weights == {"no": 2.0}
    assert odd.drops == (3,)
    assert loaded.data.leave_out == ("x", "y") and loaded.data.source_weights == {"a": 2.0}
    for wrong in ("seed=x", "seed=[", "lr=fast", "precision=maybe"):
        with pytest.raises(ValueError, match=wrong.partition("=")[0]):
            load_config("photos", ["data.root=a", "output_dir=b", wrong])


def test_a_runs_folder_belongs_to_one_run(tmp_path):
    root = dataset(tmp_path / "photos")
    changes = [f"data.root={root}", f"data.cache={tmp_path / 'cache'}", f"output_dir={tmp_path / 'run'}"]
    claim(load_config("smoke", changes))
    claim(load_config("smoke", [*changes, "minutes=1", "save_every=7", f"data.cache={tmp_path / 'elsewhere'}"]))
    for change in ("seed=5", "lr=0.5", "model.slot=bain", "steps=7", "data.free_masks=0.5"):
        with pytest.raises(ValueError, match=f"another .*{change.partition('=')[0]}"):
            claim(load_config("smoke", [*changes, change]))
    write(root / "masks/a.png", 5, mask=True)
    with pytest.raises(ValueError, match="another data.content"):
        claim(load_config("smoke", changes))
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "state_00000001.pt").touch()
    with pytest.raises(ValueError, match="doesn't say how"):
        claim(load_config("smoke", [*changes, f"output_dir={tmp_path / 'old'}"]))
    dataset(tmp_path / "more")
    weights = tmp_path / "run" / "weights.safetensors"
    weights.write_bytes(b"weights")
    with pytest.raises(OutputError, match="would replace"):
        claim(load_config("smoke", [*changes, f"init={weights}"]))
    for place in (root, root / "masks", tmp_path / "more" / "images"):
        with pytest.raises(OutputError, match="among the pictures"):
            claim(load_config("smoke", [*changes, f"data.more={tmp_path / 'more'}", f"output_dir={place}"]))


@pytest.mark.slow
def test_processes_without_a_gpu_are_one_run(tmp_path):
    """The launcher's processes agree on their number before any work: here the command's first step alone."""
    program = """
from train.config import command_line
def work(config):
    from accelerate import Accelerator
    accelerator = Accelerator()
    (config.output_dir / str(accelerator.process_index)).write_text(str(accelerator.num_processes))
    accelerator.end_training()
command_line("train.test", None, work)
"""
    (tmp_path / "program.py").write_text(program)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", str(tmp_path / "program.py")]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    environment.pop("ACCELERATE_USE_CPU", None)
    (tmp_path / "run").mkdir()
    settings = ["smoke", f"output_dir={tmp_path / 'run'}"]
    done = subprocess.run([*command, *settings], env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    assert {path.name: path.read_text() for path in (tmp_path / "run").iterdir()} == {"0": "2", "1": "2"}


@pytest.mark.parametrize(
    "command",
    [
        ["train.make_composites", "photos", "OUT", "data.root=IN"],
        ["train.evaluate", "IN", "-o", "OUT"],
    ],
    ids=["composites", "scoring"],
)
def test_several_processes_of_a_command_that_takes_one_are_refused(command, tmp_path, monkeypatch, capsys):
    """Each would do all of the work, and write over the others' files."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    (tmp_path / "in").mkdir()
    places = {"IN": str(tmp_path / "in"), "OUT": str(tmp_path / "out")}
    for name, path in places.items():
        command = [argument.replace(name, path) for argument in command]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(command[0]).main()
    assert ended.value.code not in (0, None)
    assert "runs in one process" in f"{ended.value.code}{capsys.readouterr().err}"
    side_by_side = load("shipped", [f"data.root={tmp_path}", f"output_dir={tmp_path / 'out'}"])
    with pytest.raises(SrinError, match="runs in one process"):
        run(side_by_side)
    assert not (tmp_path / "out").exists()


def test_maps_are_made_again_where_they_are_cut_or_anothers(tmp_path):
    write(tmp_path / "pictures" / "a.png")
    pictures, maps = find_pictures(tmp_path / "pictures"), tmp_path / "maps"
    assert not precompute(pictures, maps, "colour", False)
    [made] = maps.rglob("*.png")
    whole, labels = made.read_bytes(), load_labels(made)
    SemanticMap(np.zeros((40, 60), np.int32), "sam (vit_b)").save(tmp_path / "sam.png")
    for content in (b"", whole[:200], whole[:-20], (tmp_path / "sam.png").read_bytes()):
        made.write_bytes(content)
        assert not precompute(pictures, maps, "colour", False)
        np.testing.assert_array_equal(load_labels(made), labels)
    time = made.stat().st_mtime_ns
    assert not precompute(pictures, maps, "colour", False) and made.stat().st_mtime_ns == time
    write(made, mask=True)
    assert "was not made by srin" in precompute(pictures, maps, "colour", False)[0]


def test_scoring_reads_folders_and_tables_as_they_are(tmp_path):
    for folder in ("composite", "mask", "real"):
        write(tmp_path / folder / "a.png", mask=folder == "mask")
        write(tmp_path / folder / ("B.JPG" if folder != "mask" else "B.PNG"), mask=folder == "mask")
        (tmp_path / folder / "._a.png").write_bytes(b"\0\5\x16\7")
    (tmp_path / "index.csv").write_bytes(b"\xef\xbb\xbfid,family\na.png,lab\nB,camera\n")
    data = from_folder(tmp_path)
    assert [sample.name for sample in data.samples] == ["B", "a"]
    assert data.labels == {"a": {"family": "lab"}, "B": {"family": "camera"}}
    (tmp_path / "index.csv").write_text("id,family\nA.png,lab\nB,camera\n")
    with collected() as said:
        from_folder(tmp_path)
    assert len(said) == 1 and "ids without a picture: A. a.png is nearly alike" in said[0]
    (tmp_path / "index.csv").write_text("name,family\na,lab\n")
    with pytest.raises(SrinError, match="needs a column named id; it has name, family"):
        from_folder(tmp_path)
    (tmp_path / "index.csv").unlink()
    write(tmp_path / "real" / "a.bmp")
    with pytest.raises(SrinError, match="a.bmp and a.png"):
        from_folder(tmp_path)
    assert len(find_pictures(tmp_path / "composite")) == 2
