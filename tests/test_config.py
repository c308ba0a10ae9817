"""Settings of a run: what a YAML file or the command line may hold for each type, and how mistakes are named."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from srin.models.config import ModelConfig
from train.config import convert, load_config, read_settings
from train.side_by_side import SideBySideConfig


def test_null_is_none_where_that_is_allowed():
    base = ["data.root=a", "output_dir=b", "data.found=c", "data.more=null", "data.found=null", "init=null"]
    loaded = load_config("photos", base)
    assert (loaded.data.more, loaded.data.found, loaded.init) == (None, None, None)
    assert load_config("photos", ["output_dir=null"]).output_dir == Path("null"), "a folder's name"
    assert load_config("photos", ["data.leave_out=[null, ~]"]).data.leave_out == ("null", "~")
    for wrong in ("seed=null", "data=null", "drops=null", "precision=null"):
        with pytest.raises(ValueError, match=wrong.partition("=")[0]):
            load_config("photos", [wrong])


@dataclass(frozen=True)
class Settings:
    """One setting of each type."""

    whole: int = 0
    number: float = 0.0
    switch: bool = False
    text: str = ""
    path: Path = Path()
    maybe: Path | None = None
    precision: Literal["no", "bf16"] = "bf16"
    names: tuple[str, ...] = ()
    sizes: tuple[tuple[int, ...], ...] = ()
    weights: dict[str, float] = field(default_factory=dict)
    model: ModelConfig = ModelConfig("srin")
    models: tuple[ModelConfig, ...] = ()


def settings(tmp_path, text, *changes):
    """Settings read from a file with this text."""
    (tmp_path / "own.yaml").write_text(f"{text}\nswitch: true")
    return convert(Settings, read_settings(str(tmp_path / "own.yaml"), list(changes)))


def test_values_of_a_file_have_the_types_of_their_settings(tmp_path):
    read = settings(tmp_path, "whole: 3\nnumber: 1e-3\ntext: '5'\npath: a b\nmaybe: null\nprecision: no")
    assert read == Settings(3, 1e-3, True, "5", Path("a b"), None, "no")
    lists = "names: [a, '1']\nsizes: [[1, 2], []]\nweights: {a: 1, 7: 5e-1}\nmodels: [{slot: rain}]"
    read = settings(tmp_path, f"number: 2\n{lists}")
    assert type(read.number) is float and read.names == ("a", "1") and read.sizes == ((1, 2), ())
    assert read.weights == {"a": 1.0, "7": 0.5} and all(type(weight) is float for weight in read.weights.values())
    assert read.models == (ModelConfig("rain"),)


def test_what_is_typed_has_the_type_of_its_setting(tmp_path):
    typed = ["whole=0x10", "number=1e-3", "switch=false", "text=1e-3", "path=[2024]", "maybe=no", "precision=no"]
    typed += ["names=[1e-3, no, 'a, b']", "sizes=[[1, 2], [3]]", "weights={no: 1e-3, b: 2}", "models=[{slot: bain}]"]
    read = settings(tmp_path, "", *typed)
    assert (read.whole, read.number, read.switch, read.text) == (16, 1e-3, False, "1e-3")
    assert (read.path, read.maybe, read.precision) == (Path("[2024]"), Path("no"), "no")
    assert (read.names, read.sizes) == (("1e-3", "no", "a, b"), ((1, 2), (3,)))
    assert (read.weights, read.models) == ({"no": 1e-3, "b": 2.0}, (ModelConfig("bain"),))
    assert settings(tmp_path, "model: {slot: bain}", "model.preset=paper", "model.width=8").model.width == 8
    assert settings(tmp_path, "model: {slot: bain}", "model={preset: paper, width: 8}").model.slot == "bain"
    assert settings(tmp_path, "weights: {a: 1}", "weights={}").weights == {}


def refusal(tmp_path, text, *changes):
    """What is said of settings that are wrong."""
    with pytest.raises(ValueError) as raised:
        settings(tmp_path, text, *changes)
    return str(raised.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("whole: true", "whole must be of type int, not True"),
        ("whole: '5'", "whole must be of type int, not '5'"),
        ("whole: 2.0", "whole must be of type int, not 2.0"),
        ("number: true", "number must be of type float, not True"),
        ("number: fast", "number must be of type float, not 'fast'"),
        ("weights: {a: {b: false}}", "weights.a must be of type float, not {'b': False}"),
        ("weights: {a: false}", "weights.a must be of type float, not False"),
        ("weights: [1]", "weights must be of type mapping, not [1]"),
        ("text: no", "text must be of type text, not False"),
        ("text: 5", "text must be of type text, not 5"),
        ("path: 2024", "path must be of type path, not 2024"),
        ("path: null", "path must be of type path, not None"),
        ("maybe: no", "maybe must be of type path, not False"),
        ("names: a", "names must be of type list, not 'a'"),
        ("names: [a, 5]", "names must be of type text, not 5"),
        ("sizes: [3]", "sizes must be of type list, not 3"),
        ("precision: 16", "precision must be one of no, bf16, not 16"),
        ("model: srin", "model must be of type mapping, not 'srin'"),
        ("model: {slot: srin, width: 0}", "model.width must be an integer from 1 to 256, not 0"),
        ("model: {slot: rain, shift: signed, preset: paper}", "model.shift=signed belongs to slot srin"),
        ("models: [{slot: bain, width: 0}]", "models.width must be an integer from 1 to 256, not 0"),
        ("model: {width: 3, x: 1, y: 2}", "unknown setting: model.x, model.y"),
        ("model: {width: 3}", "missing setting: model.slot"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_wanted(tmp_path, text, sentence):
    assert refusal(tmp_path, text) == sentence


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("switch=1", "switch must be of type bool, not '1'"),
        ("whole=yes", "whole must be of type int, not 'yes'"),
        ("whole=[", "whole can't be '[', which is no YAML"),
        ("sizes=[[1, x]]", "sizes must be of type int, not 'x'"),
        ("weights.a=much", "weights.a must be of type float, not 'much'"),
        ("model.slot=7", "model.slot must be one of rain, bain, srin, not '7'"),
    ],
)
def test_a_wrong_change_is_named_with_what_is_wanted(tmp_path, change, sentence):
    assert refusal(tmp_path, "", change) == sentence


def test_a_check_of_all_settings_needs_no_key():
    with pytest.raises(ValueError, match="^kind_weights: there is no kind x; there are unchanged"):
        convert(SideBySideConfig, read_settings("shipped", ["kind_weights.x=1"]))
