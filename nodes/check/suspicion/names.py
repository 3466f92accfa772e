"""The meaning of names and texts in a Python source, also where the source hides them."""

import ast
import base64
import binascii
import builtins
import codecs
from collections import Counter
from collections.abc import Iterator

_DEEPEST = 40
_LONGEST_TEXT = 2_000
_BUILTINS = frozenset(dir(builtins)) | {"__builtins__"}
_IMPORTERS = {"builtins.__import__", "importlib.import_module", "importlib.__import__"}
_SAME_MODULES = {"posix": "os", "nt": "os", "_io": "io", "_signal": "signal", "__builtins__": "builtins"}


class SourceNames:
    """Resolves expressions of one source to dotted names, and folds texts that are put together."""

    def __init__(self, tree: ast.AST) -> None:
        self._aliases: dict[str, str] = {}
        self._texts: dict[str, str] = {}
        self._imported: set[str] = set()
        self._bound: Counter[str] = Counter()
        # Without these, nested calls would be resolved again at every level.
        self._known_names: dict[int, str | None] = {}
        self._known_texts: dict[int, str | None] = {}
        assigned: list[tuple[str, ast.expr]] = []
        for node in ast.walk(tree):
            for name in _binds(node):
                self._bound[name] += 1
            for name, meaning in _imports(node):
                self._aliases[name] = meaning
                self._imported.add(name)
            if isinstance(node, ast.Assign) and len(node.targets) == 1:
                if isinstance(target := node.targets[0], ast.Name):
                    assigned.append((target.id, node.value))
            elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and isinstance(node.target, ast.Name):
                assigned += [(node.target.id, node.value)] if node.value is not None else []
        # A name that is bound twice can mean different things in different functions.
        for name, value in assigned:
            if self._bound[name] != 1:
                continue
            if dotted := self.dotted(value):
                self._aliases[name] = dotted
            elif (text := self.text(value)) is not None:
                self._texts[name] = text
        self._known_names.clear()
        self._known_texts.clear()

    def imports(self, name: str) -> bool:
        """Return whether the source imports something under this name."""
        return name in self._imported

    def dotted(self, node: ast.AST, depth: int = 0) -> str | None:
        """Return the dotted name of an expression, starting with the module, None if unknown."""
        if id(node) not in self._known_names:
            self._known_names[id(node)] = self._dotted(node, depth)
        return self._known_names[id(node)]

    def _dotted(self, node: ast.AST, depth: int) -> str | None:
        path: list[str] = []
        while isinstance(node, ast.Attribute):
            path.append(node.attr)
            node = node.value
        root = self._root(node, depth) if depth < _DEEPEST else None
        if root is None:
            return None
        first, _, rest = root.partition(".")
        root = f"{_SAME_MODULES.get(first, first)}.{rest}" if rest else _SAME_MODULES.get(first, first)
        return ".".join([root, *reversed(path)])

    def _root(self, node: ast.AST, depth: int) -> str | None:
        match node:
            case ast.Name(id=name):
                if name in self._aliases:
                    return self._aliases[name]
                if name == "__builtins__":
                    return "builtins"
                return f"builtins.{name}" if name in _BUILTINS and not self._bound[name] else None
            case ast.NamedExpr(value=value):
                return self.dotted(value, depth + 1)
            case ast.Call():
                return self._called(node, depth + 1)
            case ast.Subscript(value=value, slice=key):
                return self._entry(value, key, depth + 1)
        return None

    def _called(self, node: ast.Call, depth: int) -> str | None:
        called = self.dotted(node.func, depth)
        if not called or not node.args:
            return None
        if called == "builtins.vars":
            owner = self.dotted(node.args[0], depth)
            return f"{owner}.__dict__" if owner else None
        if called in _IMPORTERS:
            return self.text(node.args[0], depth)
        if called == "builtins.getattr" and len(node.args) > 1:
            owner, name = self.dotted(node.args[0], depth), self.text(node.args[1], depth)
            return f"{owner}.{name}" if owner and name else None
        if called.endswith((".__dict__.get", "sys.modules.get")):
            return self._item(called.removesuffix(".get"), node.args[0], depth)
        return None

    def _entry(self, value: ast.expr, key: ast.expr, depth: int) -> str | None:
        owner = self.dotted(value, depth)
        return self._item(owner, key, depth) if owner else None

    def _item(self, owner: str, key: ast.expr, depth: int) -> str | None:
        name = self.text(key, depth)
        if name is None:
            return None
        if owner == "sys.modules":
            return name
        if owner == "builtins":  # `__builtins__` is a dictionary in every module but the main one
            return f"builtins.{name}"
        return f"{owner.removesuffix('.__dict__')}.{name}" if owner.endswith(".__dict__") else None

    def text(self, node: ast.AST, depth: int = 0) -> str | None:
        """Return the text that an expression of constants makes, None if it is not known."""
        if id(node) not in self._known_texts:
            self._known_texts[id(node)] = self._text(node, depth)
        return self._known_texts[id(node)]

    def _text(self, node: ast.AST, depth: int) -> str | None:
        if depth > _DEEPEST:
            return None
        match node:
            case ast.Constant(value=str() as text):
                return text if len(text) <= _LONGEST_TEXT else None
            case ast.Constant(value=bytes() as data):
                return data.decode("latin-1") if len(data) <= _LONGEST_TEXT else None
            case ast.Name(id=name):
                return self._texts.get(name)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return _joined([self.text(left, depth + 1), self.text(right, depth + 1)])
            case ast.JoinedStr(values=values):
                parts = [each.value if isinstance(each, ast.FormattedValue) else each for each in values]
                return _joined([self.text(part, depth + 1) for part in parts])
            case ast.Subscript(value=value, slice=ast.Slice(lower=None, upper=None, step=step)):
                sliced = self.text(value, depth + 1)
                return sliced[::-1] if sliced is not None and step and ast.unparse(step) == "-1" else None
            case ast.Call():
                return self._made(node, depth + 1)
        return None

    def _made(self, node: ast.Call, depth: int) -> str | None:
        """Return the text that a call of a well-known function makes of constants."""
        called = self.dotted(node.func, depth) or ""
        if called == "builtins.chr" and node.args and isinstance(node.args[0], ast.Constant):
            code = node.args[0].value
            return chr(code) if isinstance(code, int) and 0 <= code < 0x110000 else None
        if called == "builtins.str" and node.args:
            return self.text(node.args[0], depth)
        if called in ("base64.b64decode", "codecs.decode", "builtins.bytes.fromhex", "bytes.fromhex"):
            return _decoded(called, [self.text(each, depth) for each in node.args])
        if not isinstance(node.func, ast.Attribute):
            return None
        owner = self.text(node.func.value, depth)
        if owner is None:
            return None
        words = node.args
        match node.func.attr:
            case "join" if words and isinstance(words[0], ast.List | ast.Tuple):
                parts = [self.text(each, depth) for each in words[0].elts]
                return _joined([part for each in parts for part in (owner, each)][1:])
            case "replace" if len(words) == 2:
                old, new = self.text(words[0], depth), self.text(words[1], depth)
                if old and new is not None and len(new) < 100:
                    return owner.replace(old, new)[:_LONGEST_TEXT]
            case "decode" | "encode":
                return owner
            case "lower" | "upper" | "strip" | "title" | "swapcase" as method:
                return str(getattr(owner, method)())
        return None

    def builds(self, node: ast.AST) -> bool:
        """Return whether an expression puts a text together, or decodes it, from constants."""
        return not isinstance(node, ast.Constant | ast.Name) and self.text(node) is not None


def _joined(parts: list[str | None]) -> str | None:
    known = [part for part in parts if part is not None]
    if len(known) < len(parts) or sum(map(len, known)) > _LONGEST_TEXT:
        return None
    return "".join(known)


def _decoded(called: str, texts: list[str | None]) -> str | None:
    if not texts or texts[0] is None:
        return None
    try:
        if called == "base64.b64decode":
            return base64.b64decode(texts[0]).decode("latin-1")
        if called.endswith("fromhex"):
            return bytes.fromhex(texts[0]).decode("latin-1")
        known = {"rot13", "rot_13", "rot-13"}
        return codecs.decode(texts[0], "rot13") if len(texts) > 1 and texts[1] in known else None
    except (ValueError, binascii.Error):
        return None


def _binds(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
            yield name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name


def _imports(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield each imported name with its dotted meaning. Relative names start with a dot."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield (
                alias.asname or alias.name.partition(".")[0],
                (alias.name if alias.asname else alias.name.partition(".")[0]),
            )
    elif isinstance(node, ast.ImportFrom):
        module = f".{node.module or ''}" if node.level else node.module or ""
        for alias in node.names:
            yield alias.asname or alias.name, f"{module}.{alias.name}"
