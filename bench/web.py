"""Build the page of web/ into server/static/.

    python bench/web.py [--check]

`--check` changes nothing. It runs the page's own checks (types, Svelte, ESLint) and builds it beside the
committed files. It exits 1 if they differ, if the first load is larger than 150 KB, or if a file has over
300 lines. Without Node.js it is skipped, unless CI or AUTOCODE_REQUIRE_SANDBOXES is set.
"""

import argparse
import filecmp
import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WEB, STATIC = ROOT / "web", ROOT / "server" / "static"
FIRST_LOAD, FILE_LINES = 150_000, 300


def npm(*arguments: str) -> None:
    """Run npm in web/. Exits with its output if it fails."""
    done = subprocess.run(["npm", *arguments], cwd=WEB, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"npm {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")


def install() -> None:
    """Install the packages that package-lock.json pins, once for each version of it."""
    mark, lock = WEB / "node_modules" / ".installed", (WEB / "package-lock.json").read_text()
    if not mark.is_file() or mark.read_text() != lock:
        npm("ci", "--ignore-scripts", "--loglevel=error")
        mark.write_text(lock)


def files_of(folder: Path) -> set[str]:
    """Return the paths of all files below a folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def first_load(folder: Path) -> int:
    """Return the bytes, compressed, of index.html and of what it links."""
    page = (folder / "index.html").read_text()
    linked = re.findall(r'(?:href|src)="/static/([^"]+)"', page)
    return sum(len(gzip.compress((folder / name).read_bytes())) for name in ("index.html", *linked))


def faults(built: Path) -> Iterator[str]:
    """Compare a fresh build with the committed files, and yield each fault."""
    for name in sorted(files_of(built) ^ files_of(STATIC)):
        yield f"server/static/{name} is in one of the two builds alone. Run make page."
    for name in sorted(files_of(built) & files_of(STATIC)):
        if not filecmp.cmp(built / name, STATIC / name, shallow=False):
            yield f"server/static/{name} differs from a fresh build. Run make page."
    if (size := first_load(built)) > FIRST_LOAD:
        yield f"the page loads {size} bytes at first, at most {FIRST_LOAD}"
    for path in sorted((WEB / "src").rglob("*.*")):
        if (lines := path.read_text().count("\n")) > FILE_LINES:
            yield f"{path.relative_to(ROOT)}: {lines} lines, at most {FILE_LINES}"


def check() -> None:
    """Run all checks. Exits 1 with the faults."""
    npm("run", "check")
    with tempfile.TemporaryDirectory() as folder:
        npm("exec", "--", "vite", "build", "--outDir", folder, "--logLevel", "warn")
        found = list(faults(Path(folder)))
        print(f"page: {first_load(Path(folder)) / 1000:.0f} KB at first load")
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare, and change nothing")
    wanted = parser.parse_args()
    if shutil.which("npm") is None:
        if os.environ.get("CI") or os.environ.get("AUTOCODE_REQUIRE_SANDBOXES") or not wanted.check:
            sys.exit("npm is missing. Install Node.js 20.19 or newer, which builds the page.")
        print("page: not checked, because npm is missing")
        sys.exit(0)
    install()
    if wanted.check:
        check()
    else:
        npm("run", "build")
