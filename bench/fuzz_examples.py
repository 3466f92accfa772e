"""Examples for fuzz.py: texts, JSON values and requests that are close to what the code expects."""

import json
from typing import Any

from hypothesis import strategies as st

ODD = ["\0", "\ud800", "\udfff", "\u2028", "\x1b[2J", "\ufeff", "é", "\u0301", "😀", "\r", "\r\n", "\x85"]
REPLY = [
    "```", "````", "~~~", "```python\n", "```diff\n", "```json\n", "### a.py\n", "#### b/c.py", "\n",
    " ", "\t", "a", "{", "}",
    '"verdict": "PASS"', '"reasons": []', '{"steps": [', "<think>", "</think>", "<tool_call>",
    "</tool_call>", "[TOOL_CALLS]",
    "<function=read_file>", "<parameter=path>", "BLOCKED", "NO CHANGE", "NO TESTS: ", "FAIL", "PASS",
    '"', "'", "`", "**",
    "... rest of the code", "<<<<<<< SEARCH\n", "=======\n", ">>>>>>> REPLACE\n",
    "### Delete `a.py`\n", "yes", "disagree",
    "9" * 30, "1e999", "NaN", "\\u", "\\ud800", ",", ":", "[", "]", "(", ")", "<", ">", "|", "#", "-",
    "0.1s ",
]  # fmt: skip
DIFF = [
    "--- a/a.py\n", "+++ b/a.py\n", "@@ -1,2 +1,2 @@\n", "@@ -0,0 +1 @@\n", "@@ ... @@\n", "@@\n",
    " a\n", "-b\n", "+c\n", "\n",
    "diff --git a/a.py b/a.py\n", 'diff --git "a/\\303.py" "b/x"\n', "new file mode 100644\n",
    "deleted file mode 100644\n",
    "rename from a.py\n", "rename to b.py\n", "--- /dev/null\n", "*** Begin Patch\n",
    "*** Update File: a.py\n", "```\n",
    "\\ No newline at end of file\n", "...", " ", "+", "-", f"@@ -{'9' * 30},1 +1 @@\n",
    "index 0000000..1111111\n", "\t", "b\n",
]  # fmt: skip
TOML = [
    "[test]\n", "[environment]\n", "[policy]\n", "timeout = ", "inf", "nan", "1e400", "9" * 25, "-1",
    '"a"', "[]", "{}", "[[a]]\n",
    "command = ", '["a\\u0000b"]', '"pytest -k x"', "report = ", "scope = ", "setup = ", "env = ",
    "a.b.c = 1\n", "\n", "=", '"""',
    '"git_push:*" = "allow"\n', "git_push = ", "0x" + "f" * 40, "1979-05-27T07:32:00Z", "python = ",
    "cpus = ", "memory_mb = ", "#",
]  # fmt: skip
ROUTES = [
    "/threads", "/threads/search", "/threads/T/runs", "/threads/T/runs/stream", "/threads/T/state",
    "/threads/T/history", "/runs",
    "/runs/wait", "/assistants/search", "/api/threads", "/api/threads/T", "/api/threads/T/messages",
    "/api/run", "/api/agent/run",
    "/threads/T", "/threads/T/commands", "/runs/stream", "/store/items", "/api/approvals/A",
]  # fmt: skip
NAMES = [
    "HEAD",
    "config",
    "packed-refs",
    "index",
    "info/exclude",
    "objects/info/alternates",
    "commondir",
    "refs/heads/main",
]


def soup(pieces: list[str]) -> st.SearchStrategy[str]:
    """Return texts of pieces, each once or thousands of times, with characters that few programs expect."""
    piece = st.sampled_from([*pieces, *ODD]) | st.text(max_size=8)
    runs = st.tuples(st.sampled_from(pieces), st.integers(1, 3000)).map(lambda run: run[0] * run[1])
    return st.lists(piece | piece | piece | runs, max_size=40).map("".join)


def values() -> st.SearchStrategy[Any]:
    """Return JSON values, also those that Python alone writes and reads."""
    numbers = st.integers(-(10**25), 10**25) | st.floats() | st.sampled_from([2**63, 10**400, True, None])
    texts = st.text(max_size=10) | st.sampled_from([*ODD, "coder", "tool", "PASS", "approve", "a.py", "T"])
    names = st.sampled_from(
        ["task", "repo", "options", "input", "config", "metadata", "steps", "agent", "file", "tool",
        "params",
         "assistant_id", "messages", "limit", "decision", "plan", "values", "command", "resume",
         "type", "data",
         "seq", "ts", "thread_id", "run_id", "verdict", "reasons", "max_cost_usd", "context_files",
         "stream_mode",
         "depends_on", "parallel_group", "description", "content", "role", "offset", "status",
         "checkpoint"]
    )  # fmt: skip

    def nest(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.lists(inner, max_size=4) | st.dictionaries(names | texts, inner, max_size=5)

    return st.recursive(numbers | texts, nest, max_leaves=20)


def bodies() -> st.SearchStrategy[bytes]:
    """Return bodies of requests."""
    written = values().map(lambda value: json.dumps(value).encode())
    deep = st.sampled_from(
        [b'{"a":' * 50_000, b"[" * 100_000, b'{"input": ' + b"[" * 500 + b"]" * 500 + b"}"]
    )
    return written | written | written | deep | st.binary(max_size=40)
