"""The planted faults still fit the code. Running them takes minutes, so nobody would notice otherwise."""

import pytest

from tests.planted_faults import FAULTS, ROOT


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.what)
def test_what_a_fault_replaces_stands_there_once(fault):
    assert (ROOT / fault.file).read_text("utf-8").count(fault.old) == 1
    assert (ROOT / "tests" / f"{fault.tests}.py").is_file()
