"""Files as chunks: what each language's syntax tells apart, and what remains when it does not."""

from collections.abc import Iterator

import pytest

from memory.chunks import Chunk, Chunker
from memory.chunks.words import words


@pytest.fixture(scope="module")
def chunker() -> Iterator[Chunker]:
    made = Chunker()
    yield made
    made.close()


SOURCES = {
    "a.py": (
        """
import os

@decorated
class Store(Base):
    limit = 1

    # What it holds.
    async def load(self, key):
        def inner(): ...

    class Row:
        def read(self): ...

if os.name:
    def tell(): ...
""",
        ["Store", "Store.load", "Store.Row", "Store.Row.read", "tell"],
    ),
    "a.js": (
        """
export default class Cart { constructor(a) {} static async add(x) {} total = () => 1 }
export const pay = async (items) => { return 1 }
module.exports.clear = function (cart) {}
const api = { get() { return 1 }, put: (x) => 2, limit: 3 }
Cart.prototype.drop = function () {}
""",
        [
            "Cart", "Cart.constructor", "Cart.add", "Cart.total", "pay", "clear", "api", "api.get", "api.put",
            "Cart.prototype.drop",
        ],
    ),
    "a.tsx": (
        """
namespace Shop.Views { export class Page<T> { draw(a: string): void {} } function inner() {} }
export interface Props { name: string }
export const App = (props: Props): JSX.Element => <div />
""",
        ["Shop.Views", "Shop.Views.Page", "Shop.Views.Page.draw", "Shop.Views.inner", "Props", "App"],
    ),
    "a.go": (
        """
package x

// Server serves.
type Server[T any] struct { a int }

type ( A struct { b int }; B interface { M() } )

func (s *Server[T]) Start() error { return nil }
func New() *Server[int] { return nil }
""",
        ["Server", "A", "B", "Server.Start", "New"],
    ),
    "a.rs": (
        """
#[derive(Debug)]
pub struct Stack<T> { a: T }
impl<T> fmt::Display for my::Stack<T> { fn fmt(&self) {} }
mod inner { pub trait Shape { fn area(&self) -> f64 { 0.0 } } }
macro_rules! mm { () => {} }
""",
        ["Stack", "my::Stack", "my::Stack.fmt", "inner", "inner.Shape", "inner.Shape.area", "mm"],
    ),
    "A.java": (
        """
package a.b;
/** Holds. */
public class Box<T> { Box() {} @Override public int size() { return 1; } static class Lid { void shut() {} } }
enum Kind { X; void em() {} }
""",
        ["Box", "Box.Box", "Box.size", "Box.Lid", "Box.Lid.shut", "Kind", "Kind.em"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("path", SOURCES)
def test_definitions_are_chunks_with_the_names_of_what_they_are_in(path: str, chunker: Chunker) -> None:
    source, symbols = SOURCES[path]
    chunks = chunker.chunks(path, source)
    assert chunks[0].outline
    assert [chunk.symbol for chunk in chunks if chunk.symbol] == symbols
    for chunk in chunks:
        assert 1 <= chunk.first <= chunk.last <= source.count("\n") + 1
    assert all(has_line(line, chunks) for line in source.splitlines() if line.strip())


def has_line(line: str, chunks: list[Chunk]) -> bool:
    """Whether every word of a line is in some chunk."""
    return set(words(line)) <= {word for chunk in chunks for word in words(chunk.text)}


def test_a_definition_comes_with_what_stands_before_it_and_its_lines(chunker: Chunker) -> None:
    chunks = {chunk.symbol: chunk for chunk in chunker.chunks("a.py", SOURCES["a.py"][0])}
    assert chunks["Store.load"] == Chunk(
        "Store.load",
        8,
        10,
        "    # What it holds.\n    async def load(self, key):\n        def inner(): ...",
    )
    assert chunks["Store"].text == "@decorated\nclass Store(Base):\n    limit = 1"
    go = {chunk.symbol: chunk for chunk in chunker.chunks("a.go", SOURCES["a.go"][0])}
    assert go["Server"].text.startswith("// Server serves.")


def test_broken_code_still_gives_chunks(chunker: Chunker) -> None:
    source = "def good(a):\n    return 1\n\ndef bad(:::\n\nclass Fine:\n    def m(self): ...\n"
    chunks = chunker.chunks("a.py", source)
    assert {"good", "Fine", "Fine.m"} <= {chunk.symbol for chunk in chunks}
    assert has_line("bad", chunks)


def test_text_that_breaks_a_grammar_is_cut_by_lines_and_harms_no_other_file(chunker: Chunker) -> None:
    for path, text in {"a.py": "/*new " * 16_000, "b.java": "A<" * 50_000, "c.js": "=>1/*" * 20_000}.items():
        assert all(not chunk.symbol for chunk in chunker.chunks(path, text))
    assert [chunk.symbol for chunk in chunker.chunks("d.py", "def f(): ...\n")] == ["", "f"]


def test_long_definitions_and_texts_are_cut_at_lines(chunker: Chunker) -> None:
    body = "".join(f"    value_{number} = compute({number})\n" for number in range(200))
    chunks = [chunk for chunk in chunker.chunks("a.py", f"def f():\n{body}") if not chunk.outline]
    assert {chunk.symbol for chunk in chunks} == {"f"} and len(chunks) > 5
    assert all(len(chunk.text) <= 900 for chunk in chunks)
    assert [one.last + 1 for one in chunks[:-1]] == [one.first for one in chunks[1:]]
    assert "".join(chunk.text + "\n" for chunk in chunks) == f"def f():\n{body}"


def test_other_files_are_text_and_markdown_has_headings(chunker: Chunker) -> None:
    guide = chunker.chunks("guide.md", "intro\n\n# Install\n\nuse pip\n\n## Configure ##\nset it\n")
    assert [(chunk.symbol, chunk.first) for chunk in guide] == [("", 1), ("Install", 3), ("Configure", 7)]
    assert chunker.chunks("a.rb", "def f\nend\n") == [Chunk("", 1, 2, "def f\nend")]
    assert chunker.chunks("a.toml", "") == chunker.chunks("a.py", "\n\n") == []


def test_a_generated_file_of_one_line_gives_few_chunks(chunker: Chunker) -> None:
    assert len(chunker.chunks("a.min.js", "var a=1;" * 60_000)) <= 6


def test_deep_nesting_has_an_end(chunker: Chunker) -> None:
    source = "".join("    " * depth + f"class C{depth}:\n" for depth in range(60)) + "    " * 60 + "x = 1\n"
    chunks = chunker.chunks("a.py", source)
    assert has_line("class C59 x", chunks)


def test_identifiers_are_split_where_their_writer_joined_words() -> None:
    assert words("getHTTPResponse_2 snake_case, Größe λx utf8") == [
        "get", "http", "response", "2", "snake", "case", "größe", "λx", "utf", "8",
    ]  # fmt: skip
