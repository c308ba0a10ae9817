"""What tests need from outside, and what happens where it is absent."""

import os
from pathlib import Path

import pytest

# The tests' data beside the checkout; users don't have it.
SHARED = Path(__file__).resolve().parents[2] / "shared"


def require(there: bool, what: str) -> None:
    """Skips a test that lacks something; fails it where everything must be there, as in CI."""
    if there:
        return
    if os.environ.get("SRIN_REQUIRE_ALL"):
        pytest.fail(f"{what} is missing")
    pytest.skip(f"{what} is missing")


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of photos with masks."""
    require((SHARED / "corpus" / "manifest.csv").is_file(), "the corpus")
    return SHARED / "corpus"
