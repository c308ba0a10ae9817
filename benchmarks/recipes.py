"""Shared by the scripts about test sets: loads the code of frozen recipes, and reads a photo's series from its name."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from srin.errors import SrinError

MODULES = ("test_recipe", "strict_recipe")  # the second imports the first by this name


def load_recipes(folder: Path) -> tuple[ModuleType, ModuleType]:
    """Runs the code of test_recipe.py and strict_recipe.py in a folder.

    Returns:
        Both as modules. The first has photos() (rows of the manifest, in the order of the composites' ids) and read(row)
        (photo and drawn mask). The second has shrunk(photo, mask) (the mask without its rim, and the photo whose rim is
        filled from the background).

    Raises:
        SrinError: one of them is not there.
    """
    found = []
    before = {name: sys.modules.get(name) for name in MODULES}
    try:
        for name in MODULES:
            file = folder / f"{name}.py"
            spec = spec_from_file_location(name, file)
            if spec is None or spec.loader is None or not file.is_file():
                raise SrinError(f"There is no {file}.")
            sys.modules[name] = module = module_from_spec(spec)
            spec.loader.exec_module(module)
            found.append(module)
    finally:
        for name, module_before in before.items():
            if module_before is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module_before
    return found[0], found[1]


def series_of(image: str) -> str:
    """A photo's series: the part of its name before "__", where LabelMe has a folder of one place and day; or all."""
    return image.split("__")[0]
