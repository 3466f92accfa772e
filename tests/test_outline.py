"""Definitions of source files, and the map of a repository."""

import time

import pytest

from tools.outline import definitions, outlines, repository_map


def outline(path: str, text: str) -> list[str]:
    return outlines({path: text})[path]


SOURCES = {
    "a.py": (
        '''
import os

@decorated(1)
class Store(Base, metaclass=M):
    """Doc."""
    limit: int = 1

    @property
    def size(self): ...

    async def load(self, key,
                   default=None) -> bytes: ...

async def fetch(url: str, *, tries: int = 3) -> dict[str, int]:  # comment
    def inner(): ...
''',
        [
            "class Store(Base, metaclass=M): size, load",
            "async def fetch(url: str, *, tries: int = 3) -> dict[str, int]",
        ],
    ),
    "a.js": (
        """
export default class Cart extends Base { constructor(a) {} static async add(x) {} }
export const total = async (items, tax) => { return 1 }
module.exports.clear = function (cart) {}
export default function (a) {}
function* each(a) {}
const plain = 3
""",
        [
            "class Cart extends Base: constructor, add",
            "const total = async (items, tax) =>",
            "module.exports.clear = function (cart)",
            "export default function (a)",
            "function* each(a)",
        ],
    ),
    "a.tsx": (
        """
@Component({ selector: 'x' })
export abstract class Page<T> extends View implements Shown { draw(a: string): void {} abstract q(): T }
export interface Props<T> extends Base { name: string; onChange(x: number): void }
export type Id = string | number
export enum Kind { A, B }
declare function declared(a: number): string
export const App = (props: Props<string>): JSX.Element => <div />
""",
        [
            "abstract class Page<T> extends View implements Shown: draw, q",
            "interface Props<T> extends Base: name, onChange",
            "type Id = string | number",
            "enum Kind",
            "function declared(a: number): string",
            "const App = (props: Props<string>): JSX.Element =>",
        ],
    ),
    "a.go": (
        """
package x
type S struct { a int }
type I interface { M(a int) error; N() }
type ( A = B; F func(int) string )
func (s *S) Do(a, b int) (string, error) { return "", nil }
""",
        [
            "type S struct",
            "type I interface: M, N",
            "type A = B",
            "type F func(int) string",
            "func (s *S) Do(a, b int) (string, error)",
        ],
    ),
    "a.rs": (
        """
#[derive(Debug)]
pub struct S<T> where T: X { a: u8 }
pub trait T { fn m(&self) -> u8; fn d(&self) {} }
impl<T> T for S<T> { pub fn go(&self) {} }
pub async fn top(a: &str) -> Result<(), E> { Ok(()) }
macro_rules! mm { () => {} }
""",
        [
            "pub struct S<T> where T: X",
            "pub trait T: m, d",
            "impl<T> T for S<T>: go",
            "pub async fn top(a: &str) -> Result<(), E>",
            "macro_rules! mm",
        ],
    ),
    "A.java": (
        """
package a.b;
@Ann(x = 1) public final class A<T> extends B { @Override public int m(int a) { return 1; } A() {} }
public enum E { X, Y; void em() {} }
public record R(int a, String b) { int rm() { return 1; } }
interface I { void im(); }
""",
        [
            "public final class A<T> extends B: m, A",
            "public enum E: em",
            "public record R(int a, String b): rm",
            "interface I: im",
        ],
    ),
}


def test_definitions_of_every_language_are_listed_with_signatures() -> None:
    found = outlines({path: source for path, (source, _) in SOURCES.items()})
    assert found == {path: expected for path, (_, expected) in SOURCES.items()}


def test_other_files_and_empty_ones_have_no_outline() -> None:
    assert outline("README.md", "# def f(): pass") == outline("a.py", "") == outline("Makefile", "x:") == []


def test_broken_code_gives_what_can_be_recognised() -> None:
    assert outline(
        "a.py", "def good(a):\n    return 1\n\ndef bad(:::\n\nclass Fine:\n    def m(self): ...\n"
    ) == [
        "def good(a)",
        "class Fine: m",
    ]
    assert "function ok(a)" in outline("a.js", "function ok(a) {}\nfunction ( { const = ;\n")


def test_text_made_to_break_grammars_breaks_nothing_else() -> None:
    started = time.monotonic()
    hostile = {"crash.py": "/*new " * 16_000, "swell.java": "A<" * 50_000, "slow.js": "=>1/*" * 20_000}
    found = outlines({**hostile, "good.py": "def f(): ...\n"})
    assert found["good.py"] == ["def f()"]
    assert not any(found[path] for path in hostile)
    assert time.monotonic() - started < 60


def test_a_line_holds_no_control_characters_and_has_an_end() -> None:
    lines = outline("a.py", f"def f(a='\u202e\x1b[31m', {'b' * 1000}=1): ...\n")
    assert len(lines) == 1
    assert lines[0].isprintable()
    assert len(lines[0]) < 250


FILES = {
    "shop/cart.py": "class Cart:\n    def add(self): ...\n    def total_price(self): ...\n",
    "shop/users.py": "class User:\n    def login(self): ...\n",
    "shop/pricing.py": "def discount(cart, percent): ...\n",
    "docs/guide.md": "guide\n",
    "logo.png": "\0",
}


def show(query: str, limit: int, files: dict[str, str] = FILES) -> str:
    return repository_map({path: len(text) for path, text in files.items()}, files.get, query, limit)


def test_a_small_repository_is_shown_whole() -> None:
    assert show("anything", 1000) == (
        "- docs/guide.md\n- logo.png\n"
        "- shop/cart.py\n    class Cart: add, total_price\n"
        "- shop/pricing.py\n    def discount(cart, percent)\n"
        "- shop/users.py\n    class User: login"
    )


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("login fails", "shop/users.py"),
        ("the totalPrice is wrong", "shop/cart.py"),
        ("Discounts are not applied", "shop/pricing.py"),
        ("update the guide", "docs/guide.md"),
    ],
)
def test_what_the_query_asks_for_comes_first(query: str, path: str) -> None:
    assert show(query, 12) == f"- {path}\n(4 files are not shown)"


def test_no_line_is_cut_and_the_limit_holds_at_every_size() -> None:
    whole = set(show("cart", 1000).split("\n"))
    for limit in range(0, 120):
        shown = show("cart", limit)
        assert len(shown) <= limit * 4
        *lines, last = shown.split("\n")
        assert set(lines) <= whole
        hidden = len(FILES) - sum(line.startswith("- ") for line in [*lines, last])
        assert last == f"({hidden} files are not shown)" or hidden == 0 or not shown
        assert shown == show("cart", limit)


def test_a_file_name_cannot_start_a_line_of_its_own() -> None:
    shown = show("step", 1000, {"Step: evil": "", "x\nStep: evil": "", "a.py": "def Step(): ...\n"})
    assert not any(line.startswith("Step:") for line in shown.split("\n"))
    assert shown.endswith("(1 files are not shown)")


def test_five_thousand_files_are_mapped_in_seconds_and_few_are_read() -> None:
    text = "".join(f"def function_{number}(a, b):\n    return a\n\n" for number in range(40))
    sizes = {f"package_{number // 100}/module_{number}.py": len(text) for number in range(5000)}
    read: list[str] = []

    def reader(path: str) -> str:
        read.append(path)
        return text.replace("function_7", "needle") if "module_4321" in path else text

    started = time.monotonic()
    shown = repository_map(sizes, reader, "where is the needle of module 4321?", 2000)
    assert time.monotonic() - started < 15
    assert "    def needle(a, b)" in shown
    assert len(read) <= 400
    assert len(shown) <= 8000


def test_big_unreadable_and_unknown_files_are_not_outlined() -> None:
    read: list[str] = []

    def reader(path: str) -> str | None:
        read.append(path)
        return None

    shown = repository_map({"big.py": 300_000, "none.py": 10, "x.bin": 10}, reader, "x", 1000)
    assert read == ["none.py"]
    assert shown == "- big.py\n- none.py\n- x.bin"


def test_definitions_reach_to_the_end_of_what_they_hold() -> None:
    text = "class A:\n    x = 1\n\n    @property\n    def f(self):\n        def g(): ...\n        return g\n"
    found = definitions({"a.py": f"{text}\n\nclass A:\n    def f(self): ...\n"})["a.py"]
    assert [(each.symbol, each.first, each.last) for each in found] == [
        ("A", 1, 7),
        ("A.f", 4, 7),
        ("A", 10, 11),
        ("A.f", 11, 11),
    ]
