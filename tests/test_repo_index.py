"""The index of a repository: what it holds, finds, and outlives."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from memory.embeddings import EmbeddingSettings
from memory.repo_index import IndexSettings, RepoIndex, RepoIndexError

CART = '''"""The shopping cart."""


class Cart:
    """What a customer wants to buy."""

    def add_item(self, item):
        """Put an article into the cart."""
        self.items.append(item)

    def totalPrice(self):
        return sum(item.price for item in self.items)
'''
LOGIN = "def check_password(user, password):\n    return user.hash == digest(password)\n"


@pytest.fixture
def settings(tmp_path: Path) -> IndexSettings:
    return IndexSettings(tmp_path / "index", tmp_path / "chroma", EmbeddingSettings("hash"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    put(folder, "shop/cart.py", CART)
    put(folder, "shop/login.py", LOGIN)
    put(folder, "docs/guide.md", "# Guide\n\nHow to pay.\n")
    return folder


def put(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.fixture
def index(root: Path, settings: IndexSettings) -> Iterator[RepoIndex]:
    """An index that is up to date."""
    with RepoIndex.open(root, settings) as opened:
        opened.refresh()
        opened.embed()
        yield opened


def test_a_piece_is_found_with_its_symbol_lines_and_reason(index: RepoIndex) -> None:
    best = index.search("the total price is wrong", 3)[0]
    assert (best.path, best.symbol, best.first, best.last) == ("shop/cart.py", "Cart.totalPrice", 11, 12)
    assert best.text.startswith("    def totalPrice") and "total, price" in best.why and "similar" in best.why


def test_a_folder_that_is_none_is_refused(tmp_path: Path, settings: IndexSettings) -> None:
    with pytest.raises(RepoIndexError, match="no folder"):
        RepoIndex.open(tmp_path / "gone", settings)
