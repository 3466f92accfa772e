"""Real repositories for tests, made and verified with the git program."""

import os
import stat
import subprocess
from pathlib import Path

OURS = (
    "objects",
    "refs/autocode",
    "refs/heads/autocode",
    "refs/notes",
    "logs/refs/heads/autocode",
    "logs/refs/notes",
)
QUIET = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "GIT_ALLOW_PROTOCOL": "file"}


class GitRepo:
    """A repository in `path`, with a user and a branch `main`."""

    def __init__(self, path: Path, *init: str) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "-b", "main", *init)
        place = self.git("rev-parse", "--git-path", "config") if init else ".git/config"
        with (path / place).open("a") as config:
            config.write("[user]\n\tname = Ursula\n\temail = ursula@example.org\n")

    def git(self, *arguments: str) -> str:
        """Run git here and give its output."""
        done = subprocess.run(
            ["git", *arguments], cwd=self.path, env={**os.environ, **QUIET}, capture_output=True, check=True
        )
        return done.stdout.decode("utf-8", "surrogateescape").removesuffix("\n")

    def put(self, path: str, content: str | bytes = "", executable: bool = False) -> Path:
        """Write a file of the checkout."""
        file = self.path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        file.chmod(0o755 if executable else 0o644)
        return file

    def commit(self, files: dict[str, str | bytes] | None = None, message: str = "a commit") -> str:
        """Write files, commit everything, and give the commit's id."""
        for path, content in (files or {}).items():
            self.put(path, content)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def grow(self, count: int) -> None:
        """Commit and check out many small modules at once."""
        stream = ["commit refs/heads/main\ncommitter Ursula <ursula@example.org> 0 +0000\ndata 1\nm"]
        for number in range(count):
            text = f"x = {number}\n"
            stream.append(f"M 644 inline p{number // 1000}/m{number}.py\ndata {len(text)}\n{text}")
        text = "\n".join(stream) + "\n"
        subprocess.run(["git", "fast-import", "--quiet"], cwd=self.path, input=text, text=True, check=True)
        self.git("reset", "-q", "--hard", "main")

    def show(self, commit: str, path: str) -> str:
        """Read a file of a commit."""
        return self.git("show", f"{commit}:{path}")

    def names(self, commit: str) -> list[str]:
        """List the paths of a commit."""
        return self.git("ls-tree", "-r", "--name-only", "-z", commit).split("\0")[:-1]

    def fingerprint(self) -> dict[str, tuple[int, bytes]]:
        """Give mode and bytes of everything here that is not AutoCodeAI's own."""
        seen = {}
        for folder, folders, files in os.walk(os.fsencode(self.path)):
            for name in (*folders, *files):
                place = Path(os.fsdecode(os.path.join(folder, name)))
                relative = place.relative_to(self.path)
                if any(relative.is_relative_to(f".git/{ours}") for ours in OURS):
                    continue
                seen[str(relative)] = (place.lstat().st_mode, _content(place))
        return seen


def _content(place: Path) -> bytes:
    mode = place.lstat().st_mode
    if stat.S_ISLNK(mode):
        return os.fsencode(os.readlink(place))
    return place.read_bytes() if stat.S_ISREG(mode) else b""
