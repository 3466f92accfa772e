"""The tools of plans: parameters that attack get one answer each, and good ones become argument lists."""

from typing import Any

import pytest

from tools.catalogue import TOOLS, InvalidCall, describe, read_call

ROOT = "write the path from the repository's root"
DASH = "a path must not begin with a dash"
PRINT = "cannot be printed"
GIT = "git's own files"
ABSOLUTE = "the path is absolute"
SLASH = "looks like a slash"
PACKAGE = "write the name of a package"
URL = "write an https:// address"
BRANCH = "write the name of a branch"
REMOTE = "write the name of a remote"
COMMAND = "write the plain name of a command"
UNKNOWN = "there is no tool"
EXTRA = "Extra inputs are not permitted"
MISSING = "Field required"
LONG = "String should have at most"
HUGE = "a" * 10_000_000

ATTACKS: list[tuple[Any, Any, str]] = [
    # Options where a name is due
    ("ls", {"path": "-la"}, DASH),
    ("ls", {"path": "./-la"}, DASH),
    ("ls", {"path": "--color=always"}, DASH),
    ("cat", {"paths": ["-"]}, DASH),
    ("cat", {"paths": ["a.py", "--help"]}, DASH),
    ("cat", {"paths": ["/workspace/-n"]}, DASH),
    ("rm", {"paths": ["-rf"]}, DASH),
    ("rm_rf", {"paths": ["--no-preserve-root"]}, DASH),
    ("cp", {"source": "a", "target": "--target-directory=/etc"}, DASH),
    ("mv", {"source": "-t", "target": "b"}, DASH),
    ("python_run", {"file": "-c"}, DASH),
    ("python_run", {"file": "-m"}, DASH),
    ("pytest_run", {"paths": ["--rootdir=/"]}, DASH),
    ("pytest_run", {"paths": ["-p=evil"]}, DASH),
    ("git_diff", {"paths": ["--output=/tmp/x"]}, DASH),
    ("git_add", {"paths": ["-A"]}, DASH),
    ("which", {"command": "-a"}, COMMAND),
    ("pip_install", {"packages": ["-r"]}, PACKAGE),
    ("pip_install", {"packages": ["--index-url=http://evil"]}, PACKAGE),
    ("pip_install", {"packages": ["-e."]}, PACKAGE),
    ("pip_uninstall", {"packages": ["-y"]}, "write the name of an installed package"),
    ("git_pull", {"branch": "--upload-pack=touch /tmp/x"}, BRANCH),
    ("git_pull", {"remote": "--upload-pack=id", "branch": "main"}, REMOTE),
    ("git_push", {"branch": "--force"}, BRANCH),
    ("git_push", {"remote": "--receive-pack=id"}, REMOTE),
    ("git_clone", {"url": "-oProxyCommand=id", "folder": "x"}, URL),
    ("git_clone", {"url": "--upload-pack=id", "folder": "x"}, URL),
    ("git_clone", {"url": "https://host/x", "folder": "--bare"}, DASH),
    ("git_clone", {"url": "https://host/x", "folder": "x", "branch": "-b"}, BRANCH),
    # Paths that leave the workspace
    ("cat", {"paths": ["../secret"]}, ROOT),
    ("cat", {"paths": ["a/../../secret"]}, ROOT),
    ("cat", {"paths": [".."]}, ROOT),
    ("cat", {"paths": ["/etc/passwd"]}, ABSOLUTE),
    ("cat", {"paths": ["/workspace/../etc/passwd"]}, ROOT),
    ("cat", {"paths": ["/workspacex/a"]}, ABSOLUTE),
    ("cat", {"paths": ["//etc/passwd"]}, ABSOLUTE),
    ("cat", {"paths": ["~/.ssh/id_rsa"]}, DASH),
    ("cat", {"paths": ["C:/Windows"]}, ABSOLUTE),
    ("cat", {"paths": ["..\\secret"]}, "backslash"),
    ("cp", {"source": "a", "target": "../b"}, ROOT),
    ("mv", {"source": "a", "target": "/tmp/b"}, ABSOLUTE),
    ("rm_rf", {"paths": ["."]}, "not the root itself"),
    ("rm_rf", {"paths": ["/workspace"]}, "not the root itself"),
    ("rm_rf", {"paths": ["./"]}, "not the root itself"),
    ("rm_rf", {"paths": ["/"]}, ABSOLUTE),
    ("rm_rf", {"paths": [".git"]}, GIT),
    ("cat", {"paths": [".git/config"]}, GIT),
    ("cat", {"paths": ["a/.GIT/hooks/pre-push"]}, GIT),
    ("cp", {"source": "a", "target": "git~1/config"}, GIT),
    ("mkdir", {"path": ".git."}, GIT),
    ("pytest_run", {"paths": ["../x.py::test_a"]}, ROOT),
    ("git_clone", {"url": "https://host/x", "folder": "../x"}, ROOT),
    ("git_clone", {"url": "https://host/x", "folder": "."}, "not the root itself"),
    # Addresses
    ("git_clone", {"url": "file:///etc", "folder": "x"}, URL),
    ("git_clone", {"url": "ext::sh -c id", "folder": "x"}, URL),
    ("git_clone", {"url": "ssh://-oProxyCommand=id/x", "folder": "x"}, URL),
    ("git_clone", {"url": "http://host/x", "folder": "x"}, URL),
    ("git_clone", {"url": "https://user:password@host/x", "folder": "x"}, URL),
    ("git_clone", {"url": "https://host/x?token=y", "folder": "x"}, URL),
    ("git_clone", {"url": "https://host/x#y", "folder": "x"}, URL),
    ("git_clone", {"url": "https://host\\@evil/x", "folder": "x"}, URL),
    ("git_clone", {"url": "https://[::1]/x", "folder": "x"}, URL),
    ("git_clone", {"url": "git@host:x/y", "folder": "x"}, URL),
    ("git_push", {"remote": "https://evil/x"}, REMOTE),
    ("git_push", {"remote": "../elsewhere"}, REMOTE),
    ("pip_install", {"packages": ["x @ https://evil/x.whl"]}, PACKAGE),
    ("pip_install", {"packages": ["git+https://evil/x"]}, PACKAGE),
    ("pip_install", {"packages": ["./evil"]}, PACKAGE),
    ("pip_install", {"packages": ["requests; os_name == 'posix'"]}, PACKAGE),
    # Names of branches that are more than names
    ("git_push", {"branch": "+main"}, BRANCH),
    ("git_push", {"branch": "a:main"}, BRANCH),
    ("git_push", {"branch": "refs/../main"}, "cannot be the name of a branch"),
    ("git_push", {"branch": "HEAD"}, "cannot be the name of a branch"),
    ("git_push", {"branch": "main.lock"}, "cannot be the name of a branch"),
    ("git_pull", {"branch": "main@{1}"}, BRANCH),
    ("git_pull", {"branch": "main^"}, BRANCH),
    # Characters that programs and people read differently
    ("cat", {"paths": ["a\0b"]}, PRINT),
    ("cat", {"paths": ["a\nb"]}, PRINT),
    ("cat", {"paths": ["a\rb"]}, PRINT),
    ("cat", {"paths": ["a\u202egpj.exe"]}, PRINT),
    ("cat", {"paths": ["a\u200b"]}, PRINT),
    ("cat", {"paths": ["\uff0e\uff0e/x"]}, ROOT),
    ("cat", {"paths": ["\u2025/x"]}, ROOT),
    ("cat", {"paths": ["..\u2215x"]}, SLASH),
    ("cat", {"paths": ["a\uff0fb"]}, SLASH),
    ("cat", {"paths": ["\u2212la"]}, DASH),
    ("cat", {"paths": ["\u2013la"]}, DASH),
    ("cat", {"paths": ["\uff0egit/config"]}, GIT),
    ("cat", {"paths": ["a\ud800"]}, "valid string"),
    ("pip_install", {"packages": ["requ\u0435sts"]}, PACKAGE),
    ("pip_install", {"packages": ["requests\n--index-url=http://evil"]}, PACKAGE),
    ("which", {"command": "python\n"}, COMMAND),
    ("which", {"command": "sh -c id"}, COMMAND),
    ("which", {"command": "$(id)"}, COMMAND),
    ("git_push", {"branch": "m\u0430in"}, BRANCH),
    ("git_push", {"branch": "main\n"}, BRANCH),
    ("git_clone", {"url": "https://host/x\n", "folder": "x"}, URL),
    ("git_clone", {"url": "https://h\u00f6st/x", "folder": "x"}, URL),
    ("git_commit", {"message": "a\0b"}, "NUL"),
    ("git_commit", {"message": " \n"}, "should match pattern"),
    ("python_run", {"code": "1\0"}, "NUL"),
    ("python_run", {"file": "a.py", "args": ["\0"]}, "NUL"),
    ("pytest_run", {"keyword": "a\nb"}, "one line of plain text"),
    ("pytest_run", {"paths": ["a.py::b\nc"]}, PRINT),
    # Shapes and sizes
    ("cat", {"paths": [HUGE]}, LONG),
    ("git_commit", {"message": HUGE}, LONG),
    ("python_run", {"code": HUGE}, LONG),
    ("pip_install", {"packages": [HUGE]}, LONG),
    ("which", {"command": HUGE}, LONG),
    ("git_push", {"branch": HUGE}, LONG),
    ("git_clone", {"url": "https://" + HUGE, "folder": "x"}, LONG),
    ("cat", {"paths": ["a"] * 100_000}, "at most"),
    ("cat", {"paths": []}, "at least 1"),
    ("cat", {"paths": "a"}, "valid list"),
    ("cat", {"paths": [["a"]]}, "valid string"),
    ("cat", {"paths": None}, "valid list"),
    ("cat", {}, MISSING),
    ("cat", None, MISSING),
    ("cat", "a.py", "must be an object"),
    ("cat", ["a.py"], "must be an object"),
    ("cp", {"source": "a"}, MISSING),
    ("ls", {"path": ""}, "at least 1"),
    ("ls", {"path": ".", "shell": True}, EXTRA),
    ("ls", {HUGE: 1}, EXTRA),
    ("git_log", {"count": 10**9}, "less than or equal"),
    ("git_log", {"count": "all"}, "valid integer"),
    ("python_run", {}, "give `file` or `code`"),
    ("python_run", {"file": "a.py", "code": "1"}, "give `file` or `code`"),
    ("sh", {"command": "id"}, UNKNOWN),
    ("LS", {}, UNKNOWN),
    ("", {}, UNKNOWN),
    (HUGE, {}, UNKNOWN),
    (None, {}, UNKNOWN),
    (["ls"], {}, UNKNOWN),
    ({"ls": 1}, {}, UNKNOWN),
]


@pytest.mark.parametrize(("tool", "params", "answer"), ATTACKS, ids=range(len(ATTACKS)))
def test_parameters_that_attack_get_a_short_answer(tool: Any, params: Any, answer: str) -> None:
    with pytest.raises(InvalidCall) as error:
        read_call(tool, params)
    assert answer in str(error.value)
    assert len(str(error.value)) < 2_000
    str(error.value).encode()


@pytest.mark.parametrize(
    ("tool", "params", "arguments"),
    [
        ("ls", {}, "ls -la -- ."),
        ("ls", {"path": "/workspace/src/"}, "ls -la -- src"),
        ("cat", {"paths": ["./a.py", "über/straße.txt"]}, "cat -- a.py über/straße.txt"),
        ("rm_rf", {"paths": ["build", ".github"]}, "rm -rf -- build .github"),
        ("mv", {"source": "a", "target": "."}, "mv -- a ."),
        ("python_run", {"file": "a.py", "args": ["--quick"]}, "python a.py --quick"),
        ("python_run", {"code": "print(1)"}, "python -c print(1)"),
        (
            "pytest_run",
            {"paths": ["t.py::test_a[x-1]"], "keyword": "-k"},
            "python -m pytest -q -p no:cacheprovider -k=-k -- t.py::test_a[x-1]",
        ),
        ("pip_install", {"packages": ["Re_quests[socks]>=2,<3"]}, "pip install Re_quests[socks]>=2,<3"),
        ("git_push", {}, "git push -- origin"),
        ("git_push", {"branch": "autocode/a-1"}, "git push -- origin autocode/a-1"),
        (
            "git_clone",
            {"url": "https://h.org/a/b.git", "folder": "v/b"},
            "git clone -- https://h.org/a/b.git v/b",
        ),
    ],
)
def test_good_parameters_become_an_argument_list(tool: str, params: dict[str, Any], arguments: str) -> None:
    assert list(read_call(tool, params).arguments()) == arguments.split(" ")


def test_the_planner_reads_of_every_tool() -> None:
    plain, *others = describe().splitlines()
    told = [*(each.split()[0] for each in plain.split("; ")), *(line.split()[1] for line in others)]
    assert told == list(TOOLS)
    assert "; cp {source, target}; " in plain
    assert "- git_commit {message}: Set the message of the commit that the run delivers." in others
    assert len(describe()) < 1_500  # it is in every prompt of the planner
