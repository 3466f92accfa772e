"""What many tests share: a scripted model."""

from collections.abc import Iterator

import pytest
from desk import Desk


@pytest.fixture
def desk() -> Iterator[Desk]:
    """A scripted model without rules, serving on a free port."""
    with Desk() as served:
        yield served
