"""True changes to hand-written sources in several languages, with the errors that models make in diffs."""

import difflib
import itertools
import re
from collections.abc import Callable

import pytest

from tools.patch import apply_patch

TYPESCRIPT = """import { EventEmitter } from 'node:events';
import type { Options, Job } from './types';

/** Runs jobs one after another. */
export class Queue<T extends Job> extends EventEmitter {
  private readonly waiting: T[] = [];
  private busy = false;

  constructor(private readonly options: Options = {}) {
    super();
  }

  push(job: T): number {
    this.waiting.push(job);
    void this.next();
    return this.waiting.length;
  }

  async next(): Promise<void> {
    if (this.busy) return;
    this.busy = true;
    const job = this.waiting.shift();
    if (job) {
      await job.run(this.options.timeout ?? 1000);
      this.emit('done', job);
    }
    this.busy = false;
  }

  get length(): number {
    return this.waiting.length;
  }
}

export const createQueue = <T extends Job>(options?: Options) => new Queue<T>(options);
"""
JAVASCRIPT = """const path = require("path");
const fs = require("fs");

function load(file, fallback) {
  const full = path.resolve(file);
  if (!fs.existsSync(full)) {
    return fallback;
  }
  const text = fs.readFileSync(full, "utf8");
  return JSON.parse(text);
}

function merge(left, right) {
  const result = { ...left };
  for (const key of Object.keys(right)) {
    if (typeof right[key] === "object") {
      result[key] = merge(left[key] || {}, right[key]);
    } else {
      result[key] = right[key];
    }
  }
  return result;
}

module.exports = { load, merge };
"""
JAVA = """package org.example.bank;

import java.util.ArrayList;
import java.util.List;

public final class Account {
    private final String owner;
    private final List<Entry> entries = new ArrayList<>();
    private long balance;

    public Account(String owner) {
        this.owner = owner;
    }

    public void deposit(long amount) {
        if (amount <= 0) {
            throw new IllegalArgumentException("amount must be positive");
        }
        balance += amount;
        entries.add(new Entry("deposit", amount));
    }

    public void withdraw(long amount) {
        if (amount > balance) {
            throw new IllegalStateException("not enough money");
        }
        balance -= amount;
        entries.add(new Entry("withdraw", amount));
    }

    public String owner() {
        return owner;
    }
}
"""


def _changed(text: str, *changes: tuple[str, str]) -> tuple[str, str]:
    after = text
    for old, new in changes:
        assert after.count(old) == 1
        after = after.replace(old, new)
    return text, after


CHANGES = {
    "src/queue.ts": _changed(
        TYPESCRIPT,
        ("    void this.next();\n", "    this.emit('pushed', job);\n    void this.next();\n"),
        (
            "      await job.run(this.options.timeout ?? 1000);\n",
            "      try {\n        await job.run(this.wait);\n",
        ),
        (
            "      this.emit('done', job);\n",
            "        this.emit('done', job);\n      } catch {\n        this.emit('failed');\n      }\n",
        ),
    ),
    "lib/config.js": _changed(
        JAVASCRIPT,
        (
            "  return JSON.parse(text);\n",
            "  try {\n    return JSON.parse(text);\n  } catch (error) {\n    return fallback;\n  }\n",
        ),
        ("function merge(left, right) {\n", "function merge(left = {}, right = {}) {\n"),
    ),
    "src/main/java/org/example/bank/Account.java": _changed(
        JAVA,
        ("        balance += amount;\n", "        balance = Math.addExact(balance, amount);\n"),
        (
            "    public String owner() {\n",
            "    public long balance() {\n        return balance;\n    }\n\n    public String owner() {\n",
        ),
    ),
}

Lines = list[str]
Error = Callable[[Lines, str], tuple[Lines, str]]


def _diff(path: str, before: str, after: str, context: int = 3) -> Lines:
    old, new = before.splitlines(), after.splitlines()
    return list(difflib.unified_diff(old, new, f"a/{path}", f"b/{path}", lineterm="", n=context))


def _is_context(line: str) -> bool:
    return line.startswith(" ") and bool(line.strip())


def _numbers_gone(lines: Lines, text: str) -> tuple[Lines, str]:
    return [re.sub(r"^@@ .* @@", "@@ ... @@", line) for line in lines], text


def _numbers_wrong(lines: Lines, text: str) -> tuple[Lines, str]:
    return [re.sub(r"^@@ -(\d+)", lambda m: f"@@ -{int(m[1]) + 9}", line) for line in lines], text


def _counts_wrong(lines: Lines, text: str) -> tuple[Lines, str]:
    return [re.sub(r"^@@ -(\d+),\d+ \+(\d+),\d+", r"@@ -\1,4 +\2,17", line) for line in lines], text


def _first_lines(lines: Lines, text: str) -> tuple[Lines, str]:
    return [re.sub(r"^@@ -\d+,", "@@ -1,", line) for line in lines], text


def _prefixes_gone(lines: Lines, text: str) -> tuple[Lines, str]:
    return [re.sub(r"^(---|\+\+\+) [ab]/", r"\1 ", line) for line in lines], text


def _header_gone(lines: Lines, text: str) -> tuple[Lines, str]:
    later = [line for line in lines[3:] if not line.startswith("@@")]
    return [*lines[:3], *later], text


def _blank_context_stripped(lines: Lines, text: str) -> tuple[Lines, str]:
    return ["" if line == " " else line for line in lines], text


def _trailing_blanks(lines: Lines, text: str) -> tuple[Lines, str]:
    return [line + "  " if _is_context(line) else line for line in lines], text


def _context_prefix_lost(lines: Lines, text: str) -> tuple[Lines, str]:
    return [line[1:] if _is_context(line) and line[1] != " " else line for line in lines], text


def _context_dropped(lines: Lines, text: str) -> tuple[Lines, str]:
    at = next(k for k in range(4, len(lines)) if all(map(_is_context, lines[k - 1 : k + 2])))
    return lines[:at] + lines[at + 1 :], text


def _context_misspelt(lines: Lines, text: str) -> tuple[Lines, str]:
    at = next(k for k in range(3, len(lines)) if re.search(r"^ .*[a-z]{5}", lines[k]))
    misspelt = re.sub(r"([a-z])([a-z])([a-z]{3})", r"\2\1\3", lines[at], count=1)
    return [*lines[:at], misspelt, *lines[at + 1 :]], text


def _quotes_swapped(lines: Lines, text: str) -> tuple[Lines, str]:
    swap = str.maketrans("'\"", "\"'")
    return [
        line.translate(swap) if line[:1] in (" ", "-") and line[:3] != "---" else line for line in lines
    ], text


def _reindented(lines: Lines, change: Callable[[str], str]) -> Lines:
    """Every line of the hunks with another indentation."""
    result = lines[:3]
    for line in lines[3:]:
        indent = len(line[1:]) - len(line[1:].lstrip(" "))
        inside = line[:1] in ("+", "-", " ") and line[1:].strip()
        result.append(line[0] + change(line[1 : 1 + indent]) + line[1 + indent :] if inside else line)
    return result


def _tabs(lines: Lines, text: str) -> tuple[Lines, str]:
    unit = 4 if "\n    private" in text else 2
    return _reindented(lines, lambda indent: "\t" * (len(indent) // unit)), text


def _deeper(lines: Lines, text: str) -> tuple[Lines, str]:
    return _reindented(lines, lambda indent: indent + "    "), text


def _crlf_file(lines: Lines, text: str) -> tuple[Lines, str]:
    return lines, text.replace("\n", "\r\n")


def _no_last_newline(lines: Lines, text: str) -> tuple[Lines, str]:
    return lines, text.rstrip("\n")


def _fenced(lines: Lines, text: str) -> tuple[Lines, str]:
    return ["I looked at it.", "- old", "+ new", "", "```diff", *lines, "```", "", "Done."], text


def _followed_by_prose(lines: Lines, text: str) -> tuple[Lines, str]:
    return [*lines, "", "**Summary**", "", "- fixed the bug", "+ added a check"], text


def _twice(lines: Lines, text: str) -> tuple[Lines, str]:
    last = max(k for k, line in enumerate(lines) if line.startswith("@@"))
    return [*lines, *lines[last:]], text


ERRORS: list[Error] = [
    _numbers_gone,
    _numbers_wrong,
    _counts_wrong,
    _first_lines,
    _prefixes_gone,
    _header_gone,
    _blank_context_stripped,
    _trailing_blanks,
    _context_prefix_lost,
    _context_dropped,
    _context_misspelt,
    _quotes_swapped,
    _tabs,
    _deeper,
    _crlf_file,
    _no_last_newline,
    _fenced,
    _followed_by_prose,
    _twice,
]
# Two errors that tell opposite things about indentation, prefix or end make no sense together.
APART = [
    {_tabs, _deeper, _context_prefix_lost},
    {_fenced, _followed_by_prose, _twice},
]
PAIRS = [
    pair
    for pair in itertools.combinations(ERRORS, 2)
    if not any(len(group & set(pair)) == 2 for group in APART)
]


def _name(errors: Error | tuple[Error, ...]) -> str:
    return "+".join(
        error.__name__.strip("_") for error in (errors if isinstance(errors, tuple) else (errors,))
    )


def _holds(path: str, errors: tuple[Error, ...]) -> None:
    before, after = CHANGES[path]
    lines = _diff(path, before, after)
    for error in errors:
        lines, before = error(lines, before)
        _, after = error([], after) if error in (_crlf_file, _no_last_newline) else ([], after)
    files = {path: before, "other/index.html": "<p>\n"}
    assert apply_patch(files, "\n".join(lines) + "\n") == files | {path: after}


@pytest.mark.parametrize("path", CHANGES)
@pytest.mark.parametrize("error", ERRORS, ids=_name)
def test_a_diff_with_one_error_is_applied_as_it_was_meant(path: str, error: Error) -> None:
    _holds(path, (error,))


@pytest.mark.parametrize("pair", PAIRS, ids=_name)
def test_a_diff_with_two_errors_is_applied_as_it_was_meant(pair: tuple[Error, ...]) -> None:
    for path in CHANGES:
        _holds(path, pair)
