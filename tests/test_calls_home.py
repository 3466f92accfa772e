"""No library calls home: a process that asks models and searches memory reaches its model server alone."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from desk import Desk
from forking import Forked
from gitrepo import GitRepo
from runs import CALC, script

ROOT = Path(__file__).parent.parent

HOOK = """
import os, sys
def audit(event, args):
    if event == "socket.getaddrinfo":
        line = f"{args[0]}:{args[1]}"
    elif event == "socket.connect" and isinstance(args[1], tuple):
        line = f"{args[1][0]}:{args[1][1]}"
    else:
        return
    with open(os.environ["CONTACTS"], "a") as file:
        file.write(line + "\\n")
sys.addaudithook(audit)
"""

ASK = """
import asyncio, os, sys
from langchain_core.messages import HumanMessage
from memory.records.journal import Journal
from nodes.events import EVENT
from nodes.llm.call import Call
from nodes.llm.models import open_models
from nodes.llm.model_settings import ModelError, ModelSettings
from nodes.state import Options
AGENTS = {"coder": "gpt-4o"}
KEYS = {"OPENAI_API_KEY": "sk-a", "DEEPSEEK_API_KEY": "sk-b", "GROQ_API_KEY": "sk-c"}
def settings(mode, **more):
    return ModelSettings(mode=mode, agents=AGENTS, keys=KEYS, retry_seconds=0.01, max_retries=0, **more)
ALL = [
    settings("openai"),
    settings("local", local_url=os.environ["OPENAI_BASE_URL"], local_model="llama-3-70b"),
    settings("litellm"),
    settings("litellm", model="groq/llama-3.3-70b-versatile", default_model="groq/llama-3.3-70b-versatile"),
    settings("deepseek"),
]
async def main():
    journal = await Journal.open(sys.argv[1], EVENT.validate_python)
    for number, each in enumerate(ALL):
        async with open_models(each, journal.completions) as models:
            await models.probe()
            call = Call("r", "coder", f"s{number}", 0)
            try:
                reply = await models.complete(call, [HumanMessage("Hello")], Options(), lambda payload: None)
                print(reply.text, file=sys.stderr)
            except ModelError as error:
                print(error, file=sys.stderr)
    await journal.aclose()
asyncio.run(main())
"""


class Recorder(BaseHTTPRequestHandler):
    """A proxy that notes what it is asked to reach, and reaches nothing."""

    asked: list[str]

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def do_CONNECT(self) -> None:
        self.asked.append(self.path)
        self.send_error(502)


@pytest.fixture
def proxy() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Noted", (Recorder,), {"asked": asked}))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    server.server_close()


def environment(tmp_path: Path, proxy: str, desk: Desk, **more: str) -> dict[str, str]:
    """Return the environment of a command whose hook writes to `contacts`."""
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "CONTACTS": str(tmp_path / "contacts")}
    env |= {"PYTHONPATH": f"{tmp_path / 'hook'}:{ROOT}", "HTTPS_PROXY": proxy, "NO_PROXY": "127.0.0.1"}
    return env | {name: desk.url for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE", "GROQ_API_BASE")} | more


def contacts(tmp_path: Path, proxy: str, desk: Desk, *command: str, **more: str) -> tuple[set[str], str]:
    """Run a command under the hook. Return the addresses that it reached for, and its stderr."""
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(HOOK)
    env = environment(tmp_path, proxy, desk, **more)
    (noted := Path(env["CONTACTS"])).touch()
    done = subprocess.run([sys.executable, *command], env=env, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return set(noted.read_text().split()), done.stderr


def test_only_the_model_server_is_contacted_in_every_mode(
    desk: Desk, proxy: tuple[str, list[str]], tmp_path: Path
) -> None:
    desk.on("", "Hi", usage={})
    seen, said = contacts(
        tmp_path,
        proxy[0],
        desk,
        "-c",
        ASK,
        f"sqlite:///{tmp_path}/a.db",
        OPENAI_API_KEY="k",
        GROQ_API_KEY="k",
    )
    ports = {desk.url.split(":")[2].removesuffix("/v1"), proxy[0].split(":")[2]}
    assert seen == {f"127.0.0.1:{port}" for port in ports}, said
    assert set(proxy[1]) == {"api.deepseek.com:443"}, (
        "the user's proxy is used for the provider, and by nobody else"
    )
    assert said.splitlines()[:4] == ["Hi"] * 4 and len(desk.requests) == 4


def test_a_whole_run_with_memory_contacts_its_model_server_alone(
    desk: Desk, proxy: tuple[str, list[str]], home: Path, tmp_path: Path
) -> None:
    repo = GitRepo(tmp_path / "repo")
    repo.commit(dict(CALC))
    script(desk)
    settings = {"AUTOCODE_HOME": str(home), "LLM_MODE": "local", "LOCAL_LLM_URL": desk.url}
    command = (str(ROOT / "server/main.py"), "run", "Add mul", "--repo", str(repo.path), "--json")
    seen, said = contacts(tmp_path, proxy[0], desk, *command, SANDBOX_BACKEND="bubblewrap", **settings)
    assert seen == {f"127.0.0.1:{desk.url.split(':')[2].removesuffix('/v1')}"}, said
    assert not proxy[1] and len(desk.requests) == 4


def test_the_user_s_http_proxy_carries_the_calls(desk: Desk, tmp_path: Path) -> None:
    desk.on("", "Hi")
    program = ASK.replace("for number, each in enumerate(ALL)", "for number, each in enumerate(ALL[1:2])")
    through = desk.url.removesuffix("/v1")  # the scripted server answers as a forward proxy, too
    env = {"HTTP_PROXY": through, "OPENAI_BASE_URL": "http://models.example/v1"}
    env = environment(tmp_path, through, desk, **env)
    # The test of every mode shows that no import reaches for anything.
    command = ["-c", HOOK + program, f"sqlite:///{tmp_path}/a.db"]
    with Forked(command, env=env, stderr=subprocess.PIPE) as process:
        _, said = process.communicate(60)
    seen = set(Path(env["CONTACTS"]).read_text().split())
    assert seen == {through.removeprefix("http://")} and said.splitlines() == ["Hi"]
    assert desk.requests[0].messages[-1]["content"] == "Hello"
