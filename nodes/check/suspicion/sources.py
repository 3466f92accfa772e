"""Rules for Python code that looks at, or escapes from, the run that tests it."""

import ast
import re
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass

from nodes.check.suspicion import dangers
from nodes.check.suspicion.names import SourceNames
from nodes.check.suspicion.sight import Sight
from nodes.check.suspicion.truths import TRUTHS, always_true
from nodes.check.suspicion.walk import Function, Surroundings, Walked, code_of

_METADATA = {"__doc__", "__module__", "__name__", "__qualname__", "__wrapped__", "__signature__"}
_WRITERS = {"write_text", "write_bytes", "unlink", "rmdir", "touch"}
_TEST_TOOLS = {"pytest", "_pytest", "pluggy", "unittest", "doctest", "xdist", "nose"}
_PYTEST = re.compile(r"(?:_?pytest|pluggy)\.")
_SETTERS = {f"builtins.{type}.__{verb}attr__" for type in ("type", "object") for verb in ("set", "del")}
_EXITS = {"sys.exit", "builtins.exit", "builtins.quit"}
_MOST_TEXT = 80


@dataclass(frozen=True)
class SourceRules:
    """The rules for one source. `test` is true for files beside the tests, which may know pytest.

    `own` holds the names of the repository's own modules. `known` tells whether the base's sources already
    use a name. `by_exit_code` is true if the exit code of the tests is all that tells of failures.
    """

    names: SourceNames
    test: bool
    own: Set[str]
    known: Callable[[str], bool]
    by_exit_code: bool = False

    def sights(self, nodes: Walked) -> Iterator[Sight]:
        """Yield what the rules name, in the order of the source."""
        calls: set[int] = set()
        quiet = docstrings(nodes)
        for node, around in nodes:
            if around.main:
                continue
            for key, text in self._node(node, around, calls, quiet):
                code = node.name if isinstance(node, Function) else code_of(node)
                yield Sight(f"{key}:{code}", getattr(node, "lineno", 1), text)

    def _node(
        self, node: ast.AST, around: Surroundings, calls: set[int], quiet: set[int]
    ) -> Iterator[tuple[str, str]]:
        if isinstance(node, ast.Call):
            yield from self._call(node, around)
        if isinstance(node, ast.Attribute | ast.Name | ast.Call | ast.Subscript):
            # `os` inside `os._exit` is no use of its own.
            if id(node) not in calls:
                yield from self._name(node, around)
            calls.update(id(child) for child in ast.iter_child_nodes(node) if _is_chain(node, child))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from self._import(node)
        elif isinstance(node, ast.Raise):
            yield from self._raise(node, around)
        elif isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Delete):
            yield from self._patch(node, around)
        elif isinstance(node, ast.Constant) and id(node) not in quiet:
            yield from self._constant(node)
        if isinstance(node, Function | ast.Dict | ast.Assign):
            yield from always_true(node, around)
        if isinstance(node, ast.BinOp | ast.JoinedStr | ast.Call | ast.Subscript) and not self.test:
            yield from self._built(node)

    def _name(self, node: ast.expr, around: Surroundings) -> Iterator[tuple[str, str]]:
        if isinstance(getattr(node, "ctx", None), ast.Store | ast.Del):
            return
        name = self.names.dotted(node)
        if name is None:
            return
        hidden = "" if _plain(node) else f" as {name}, by a name that is hidden"
        always = dangers.ALWAYS if self.test else dangers.ALWAYS | dangers.FRAMES
        if (text := _of(always, name)) or (
            (text := _of(dangers.UNLESS_KNOWN, name)) and not self.known(name)
        ):
            yield name, f"It uses {name}{hidden}, which {text}."
        elif hidden and (_of(dangers.AT_IMPORT, name) or name in dangers.CODE_RUNNERS):
            yield name, f"It reaches {name} by a name that is hidden, so that readers do not see it."
        elif name.startswith("ctypes.") and name.endswith(".from_address"):
            yield name, f"It uses {name}, which reaches the memory of the process."
        elif name == "sys.argv" and not isinstance(node, ast.Call):
            if around.at_import:
                yield "argv at import", "It reads sys.argv at import, by which it can recognise a test run."
            elif not self.test and not dangers.ENTRY.search(around.function):
                yield name, "It reads sys.argv outside a command line, so it can recognise a test run."
        elif not self.test and not _plain(node) and _PYTEST.match(name):
            yield name, f"It reaches {name}, so it can alter the run that tests it."

    def _import(self, node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, str]]:
        if self.test or (isinstance(node, ast.ImportFrom) and node.level):
            return
        modules = (
            [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        )
        for module in modules:
            if module.partition(".")[0] in ("pytest", "_pytest", "pluggy"):
                yield module, f"A source imports {module}, so it can alter the run that tests it."

    def _raise(self, node: ast.Raise, around: Surroundings) -> Iterator[tuple[str, str]]:
        raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        name = self.names.dotted(raised) if raised else None
        hides = (
            self.by_exit_code and not dangers.ENTRY.search(around.function) and name == "builtins.SystemExit"
        )
        if hides and not around.at_import:
            yield "raise SystemExit", "It ends the process, so that failures after it may not be reported."
        if around.at_import and name in ("builtins.SystemExit", "builtins.KeyboardInterrupt"):
            yield (
                "raise at import",
                f"It raises {name.removeprefix('builtins.')} at import, so tests may not run.",
            )

    def _call(self, node: ast.Call, around: Surroundings) -> Iterator[tuple[str, str]]:
        name = self.names.dotted(node.func) or ""
        if around.at_import and (text := dangers.AT_IMPORT.get(name)):
            yield f"{name} at import", f"It calls {name.removeprefix('builtins.')}, which {text}."
        elif name in _EXITS and self.by_exit_code and not dangers.ENTRY.search(around.function):
            yield name, "It ends the process, so that failures after it may not be reported."
        if name in dangers.CODE_RUNNERS and node.args:
            yield from self._runs_text(node, around, name)
        if name == "builtins.getattr" and len(node.args) > 1:
            owner = self.names.dotted(node.args[0])
            if owner in dangers.PROTECTED and self.names.text(node.args[1]) is None:
                yield name, f"It picks an attribute of {owner} by a computed name, which hides what it uses."
        if name in ("importlib.import_module", "builtins.__import__") and node.args:
            word = node.args[0]
            if self.names.builds(word):
                module = self.names.text(word)
                yield name, f"It imports {module} by a name that is put together, which hides the import."
            elif around.at_import and self.names.text(word) is None and not self.test:
                yield name, "It imports a module by a computed name at import, which hides the import."
        if name in ("builtins.setattr", "builtins.delattr") and node.args:
            owner = self.names.dotted(node.args[0])
            attribute = self.names.text(node.args[1]) if len(node.args) > 1 else None
            if owner:
                yield from self._patches(owner, attribute or "?", around)
            elif attribute in TRUTHS:
                yield _truth(attribute)
        yield from self._patches_by_method(node, name, around)
        if around.at_import:
            yield from self._writes(node, name)

    def _patches_by_method(
        self, node: ast.Call, name: str, around: Surroundings
    ) -> Iterator[tuple[str, str]]:
        """Yield calls that replace attributes of modules or types without an assignment."""
        owner, _, verb = name.rpartition(".")
        if name in _SETTERS and len(node.args) > 1:
            if target := self.names.dotted(node.args[0]):
                yield from self._patches(target, self.names.text(node.args[1]) or "?", around)
        elif verb in ("update", "setdefault", "__setitem__") and node.args + node.keywords:
            yield from self._replaces(owner, node)
        elif name == "operator.setitem" and len(node.args) > 1:
            yield from self._replaces(self.names.dotted(node.args[0]) or "", node.args[1])

    def _writes(self, node: ast.Call, name: str) -> Iterator[tuple[str, str]]:
        """Yield calls that change files at import."""
        mode = node.args[1] if len(node.args) > 1 else None
        mode = next((each.value for each in node.keywords if each.arg == "mode"), mode)
        writes = mode is not None and set(self.names.text(mode) or "") & set("wax+")
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if (name in ("builtins.open", "io.open") and writes) or method in _WRITERS:
            yield (
                "writes at import",
                "It writes or deletes files at import, which can alter tests or results.",
            )

    def _runs_text(self, node: ast.Call, around: Surroundings, name: str) -> Iterator[tuple[str, str]]:
        short = name.removeprefix("builtins.")
        inner = {
            self.names.dotted(each.func) for each in ast.walk(node.args[0]) if isinstance(each, ast.Call)
        }
        reads = {each.attr for each in ast.walk(node.args[0]) if isinstance(each, ast.Attribute)}
        if inner & dangers.DECODERS or self.names.builds(node.args[0]):
            yield name, f"It runs text that is decoded or put together ({short}), which hides what it does."
        elif reads & {"read", "read_text", "read_bytes"}:
            yield name, f"It runs the text of a file as code ({short}), which hides what it does."
        elif len(self.names.text(node.args[0]) or "") > _MOST_TEXT:
            yield name, f"It runs a long text as code ({short}), which is not examined."
        elif around.at_import and not isinstance(node.args[0], ast.Constant):
            yield name, f"It runs text as code at import ({short}), which hides what it does."

    def _patch(
        self, node: ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Delete, around: Surroundings
    ) -> Iterator[tuple[str, str]]:
        targets = node.targets if isinstance(node, ast.Assign | ast.Delete) else [node.target]
        ahead = list(targets)
        while ahead:
            target = ahead.pop(0)
            if isinstance(target, ast.Tuple | ast.List):
                ahead += target.elts
            elif isinstance(target, ast.Attribute) and (owner := self.names.dotted(target.value)):
                yield from self._patches(owner, target.attr, around)
            elif isinstance(target, ast.Attribute) and target.attr in TRUTHS:
                yield _truth(target.attr)
            elif isinstance(target, ast.Subscript) and (owner := self.names.dotted(target.value)):
                yield from self._replaces(owner, target.slice)

    def _replaces(self, owner: str, key: ast.AST) -> Iterator[tuple[str, str]]:
        named = any(isinstance(each, ast.Name) and each.id == "__name__" for each in ast.walk(key))
        if owner == "sys.modules" and not named:
            yield owner, "It replaces an entry of sys.modules, so that others import something else."
        elif owner.endswith(".__dict__") or owner == "builtins":
            yield owner, f"It writes into the attributes of {owner.removesuffix('.__dict__')} from outside."

    def _patches(self, owner: str, attribute: str, around: Surroundings) -> Iterator[tuple[str, str]]:
        whole = f"{owner}.{attribute}"
        if (
            attribute in _METADATA
            or whole in dangers.STREAMS
            or owner in dangers.STREAMS
            or owner == "os.environ"
        ):
            return
        own = owner.startswith(".") or owner.partition(".")[0] in self.own
        if own and not self.test and not around.at_import:
            return
        shared = around.at_import or not own
        if self.test and not shared:
            yield f"patch {whole}", f"It replaces {whole} inside a test, which lasts for the tests after it."
        elif self.test:
            yield f"patch {whole}", f"It replaces {whole}, which other tests use."
        else:
            yield f"patch {whole}", f"It replaces {whole} from outside, which alters what others use."

    def _constant(self, node: ast.Constant) -> Iterator[tuple[str, str]]:
        text = node.value
        if isinstance(text, bytes):
            text = text.decode("latin-1")
        if not isinstance(text, str) or len(text) > _MOST_TEXT:
            return
        thing = _looks(text)
        if thing and (thing == "the sandbox" or not self.test):
            yield f"text {text}", f"It names {text.strip()!r}, by which it can recognise {thing}."

    def _built(self, node: ast.expr) -> Iterator[tuple[str, str]]:
        text = self.names.text(node)
        if text is None or not self.names.builds(node) or (_looks(text) is None and text not in _TEST_TOOLS):
            return
        parts = (each.value for each in ast.walk(node) if isinstance(each, ast.Constant))
        if not any(_looks(part) for part in parts if isinstance(part, str)):
            yield (
                f"built {text}",
                f"It puts the text {text!r} together from pieces, which hides what it looks at.",
            )


def _truth(attribute: str) -> tuple[str, str]:
    return "truth", f"It sets {attribute} from outside, so that comparisons in tests may succeed."


def _looks(text: str) -> str | None:
    return next((thing for pattern, thing in dangers.LOOKS if pattern.search(text)), None)


def _of(table: dict[str, str], name: str) -> str | None:
    """Return the entry for a name, or for the name that it is an attribute of."""
    while name:
        if name in table:
            return table[name]
        name = name.rpartition(".")[0]
    return None


def _is_chain(node: ast.AST, child: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.value is child


def _plain(node: ast.AST) -> bool:
    """Return whether an expression is a name with attributes, readable as it stands."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name)


def docstrings(nodes: Walked) -> set[int]:
    """Return the ids of constants that stand alone as statements, which includes docstrings."""
    return {
        id(node.value)
        for node, _ in nodes
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
