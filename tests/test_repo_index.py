"""The index of a repository: what it holds, finds, and outlives."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE, Popen
from threading import Event, Thread

import pytest

from memory.embeddings import EmbeddingSettings
from memory.repo_index import (
    Changes,
    IndexSettings,
    RepoIndex,
    RepoIndexError,
    SnapshotView,
    Snippet,
    retrieve,
)
from memory.repo_index.files import blob_id

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
    with RepoIndex(root, settings) as opened:
        opened.refresh()
        opened.embed()
        yield opened


def test_a_piece_is_found_with_its_symbol_lines_and_reason(index: RepoIndex) -> None:
    best = index.search("the total price is wrong", 3)[0]
    assert (best.path, best.symbol, best.first, best.last) == ("shop/cart.py", "Cart.totalPrice", 11, 12)
    assert best.text.startswith("    def totalPrice") and "total, price" in best.why and "similar" in best.why


def test_a_file_without_vectors_yet_is_not_set_back_by_those_that_have_them(
    root: Path, index: RepoIndex
) -> None:
    for number in range(9):
        put(root, f"shop/other{number}.py", f"def saved_{number}(ledger):\n    return ledger\n")
    index.refresh()
    index.embed()
    put(root, "shop/new.py", "def saved_zebra(ledger):\n    return ledger\n")
    index.refresh()
    late = names(index.search("saved zebra in the ledger", 3))
    index.embed()
    assert late[0] == names(index.search("saved zebra in the ledger", 3))[0] == "shop/new.py"


def test_a_clone_embeds_only_what_no_other_index_has(
    root: Path, settings: IndexSettings, index: RepoIndex
) -> None:
    clone = root.with_name("clone")
    shutil.copytree(root, clone)
    put(clone, "shop/refund.py", "def refund(order):\n    return order.total\n")
    (settings.folder / "damaged.db").write_bytes(b"SQLite format 3\0" + b"?" * 4096)
    embedded: list[tuple[int, int]] = []
    with RepoIndex(clone, settings) as opened:
        opened.refresh()
        opened.embed(lambda done, total: embedded.append((done, total)))
        assert embedded == [(2, 2)] and opened.status().embedded == 1.0  # the new file and its outline
        assert names(opened.search("the total price is wrong", 1)) == ["shop/cart.py"]


def test_a_folder_that_is_none_is_refused(tmp_path: Path, settings: IndexSettings) -> None:
    with pytest.raises(RepoIndexError, match="no folder"):
        RepoIndex(tmp_path / "gone", settings)


def names(snippets: list[Snippet]) -> list[str]:
    return [snippet.path for snippet in snippets]


def view_of(files: dict[str, str]) -> SnapshotView:
    """A snapshot that holds these texts."""
    blobs = {path: blob_id(text.encode()) for path, text in files.items()}
    return SnapshotView(blobs, lambda path: files[path].encode())


def test_a_snapshot_is_searched_as_it_is_and_not_as_the_disk_is(index: RepoIndex, root: Path) -> None:
    wallet = "class Wallet:\n    def pay_invoice(self, cart):\n        return cart\n"
    snapshot = view_of(
        {"shop/cart.py": CART, "shop/login.py": LOGIN.replace("digest", "scrypt"), "w.py": wallet}
    )
    put(root, "shop/cart.py", CART + "\n\ndef secret_draft():\n    return 'leak'\n")
    index.refresh()
    assert names(index.search("pay an invoice", 3, snapshot))[0] == "w.py"
    assert "scrypt" in index.search("check the password", 3, snapshot)[0].text
    assert "draft" not in "".join(hit.text for hit in index.search("secret draft leak", 5, snapshot))
    assert names(index.search("secret draft", 3))[0] == "shop/cart.py"
    assert "docs/guide.md" not in names(index.search("how to pay: guide", 9, snapshot))


def test_what_was_edited_moved_and_deleted_is_found_so(index: RepoIndex, root: Path) -> None:
    put(root, "shop/login.py", LOGIN + "\n\ndef reset_token(user):\n    return user.token\n")
    (root / "shop/cart.py").rename(root / "shop/basket.py")
    (root / "docs/guide.md").unlink()
    changes = index.refresh(["shop", "docs/guide.md"])
    assert changes.changed == ("shop/basket.py", "shop/login.py")
    assert changes.gone == ("docs/guide.md", "shop/cart.py")
    assert index.search("reset the token", 1)[0].symbol == "reset_token"
    assert names(index.search("guide to the total price in the cart", 9)) == ["shop/basket.py"]
    assert index.refresh() == Changes()


def test_only_sources_of_the_repository_itself_are_read(root: Path, settings: IndexSettings) -> None:
    text = "def needle():\n    return 1\n"
    for path in (
        "node_modules/a/a.js",
        "vendor/b.go",
        "build/c.py",
        ".git/d.py",
        "e.py~",
        ".#f.py",
        "id_rsa.md",
        "ignored/g.py",
        "sub/h.py",
        "i.txt",
        "sub/kept.gen.py",
        "build2/build/__init__.py",
    ):
        put(root, path, text)
    put(root, ".gitignore", "ignored/\n*.gen.py\n")
    put(root, "sub/.gitignore", "h.py\n!kept.gen.py\n")
    put(root, "binary.py", "needle = '\0'\n")
    put(root, "large.py", "needle = 1\n" * 60_000)
    (root / "outside.py").symlink_to(root / "i.txt")
    (root / "linked").symlink_to(root / "ignored")
    os.mkfifo(root / "fifo.py")
    with RepoIndex(root, settings) as index:
        index.refresh()
        assert sorted(names(index.search("needle", 50))) == ["build2/build/__init__.py", "sub/kept.gen.py"]


def test_a_damaged_index_is_set_aside_and_made_anew(root: Path, settings: IndexSettings) -> None:
    with RepoIndex(root, settings) as index:
        index.refresh()
    (file,) = settings.folder.glob("*.db")
    file.write_bytes(b"SQLite format 3\0" + b"damage" * 4_000)
    with RepoIndex(root, settings) as index:
        assert "damaged" in index.status().note
        index.refresh()
        assert names(index.search("total price", 1)) == ["shop/cart.py"]
    assert len(list(settings.folder.glob("*.broken-*"))) == 1


def test_damage_that_shows_later_is_mended_by_whoever_meets_it(root: Path, settings: IndexSettings) -> None:
    for number in range(60):
        put(root, f"more/m{number}.py", CART.replace("Cart", f"Cart{number}"))
    with RepoIndex(root, settings) as index:
        index.refresh()
    (file,) = settings.folder.glob("*.db")
    whole = file.read_bytes()
    for first in (RepoIndex.refresh, RepoIndex.embed, lambda index: index.search("total price", 1)):
        data = bytearray(whole)
        data[8192:-4096] = b"\xee" * (len(data) - 12288)
        file.write_bytes(data)
        with RepoIndex(root, settings) as index:
            first(index)
            assert index.lacks_text == (first is not RepoIndex.refresh)
            index.refresh({"more/m1.py"})
            assert "Cart.totalPrice" in {hit.symbol for hit in index.search("cart total price", 70)}
            assert not index.lacks_text and index.status().files == 63 and "damaged" in index.status().note


def test_where_nothing_can_be_written_the_index_lives_in_memory(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = IndexSettings(tmp_path / "file" / "index", tmp_path, EmbeddingSettings("hash"))
    with RepoIndex(root, settings) as index:
        index.refresh()
        index.embed()
        assert names(index.search("total price", 1)) == ["shop/cart.py"]
        assert "cannot be written" in index.status().note


def test_another_process_that_indexes_is_not_disturbed(root: Path, settings: IndexSettings) -> None:
    with RepoIndex(root, settings) as index:
        index.refresh()
        (lock,) = settings.folder.glob("*.lock")
        hold = f"import fcntl; f = open({str(lock)!r}, 'w'); fcntl.flock(f, 2); print(1, flush=True); input()"
        with Popen([sys.executable, "-c", hold], stdin=PIPE, stdout=PIPE) as other:
            assert other.stdout and other.stdout.readline()
            put(root, "new.py", "def brand_new():\n    pass\n")
            assert "another process" in index.refresh().note
            assert names(index.search("total price", 1)) == ["shop/cart.py"]
            other.kill()
        assert index.refresh().changed == ("new.py",)


def test_what_moved_keeps_its_vectors(index: RepoIndex, root: Path) -> None:
    (root / "shop").rename(root / "store")
    assert len(index.refresh().changed) == 2
    embedded: list[tuple[int, int]] = []
    index.embed(lambda done, total: embedded.append((done, total)))
    assert embedded == [] and index.status().embedded == 1.0
    assert "similarity" in index.search("the total price", 1)[0].why


def test_status_tells_how_far_the_index_is(root: Path, settings: IndexSettings) -> None:
    with RepoIndex(root, settings) as index:
        index.refresh()
        index.embed(stop=lambda: True)
        before = index.status()
        index.embed()
        after = index.status()
    assert (before.files, before.engine, before.embedded) == (3, "text", 0.0)
    assert (after.engine, after.embedded) == ("text and vectors", 1.0)


def test_the_scorers_call_makes_and_refreshes_the_index(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBEDDINGS", "hash")
    monkeypatch.setenv("REPO_INDEX_PATH", str(tmp_path / "scored"))
    assert retrieve(str(root), "the total price", 1) == ["shop/cart.py"]
    put(root, "shop/tax.py", "def value_added_tax(net):\n    return net * 0.19\n")
    assert retrieve(str(root), "value added tax", 2)[0] == "shop/tax.py"


def test_vectors_wait_for_text(root: Path, settings: IndexSettings) -> None:
    asked, reading = Event(), Event()

    def stop() -> bool:
        asked.set()
        return False

    def read(done: int, total: int) -> None:
        vectors.start()
        assert not asked.wait(0.3)
        reading.set()

    with RepoIndex(root, settings) as index:
        index.refresh()
        put(root, "shop/later.py", CART.replace("Cart", "Later"))
        vectors = Thread(target=index.embed, kwargs={"stop": stop})
        index.refresh(progress=read)
        vectors.join()
        assert reading.is_set() and asked.is_set() and index.status().embedded == 1.0
