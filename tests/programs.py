"""Programs that tests need, and whether a test may be skipped without them."""

import os
import shutil

import pytest

REQUIRED = bool(os.environ.get("AUTOCODE_REQUIRE_SANDBOXES") or os.environ.get("CI"))
"""In CI a test fails where it would be skipped elsewhere."""


def find_program(*names: str) -> str:
    """Return the path of the first program that is installed. Without one the test is skipped or fails."""
    for name in names:
        if found := shutil.which(name):
            return found
    missing = f"{names[0]} is not installed"
    if REQUIRED:
        pytest.fail(missing)
    pytest.skip(missing)
