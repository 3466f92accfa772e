"""Agents whose commands are hostile, in real runs: contained, and told to the model."""

import json
import re

import pytest
from runs import MUL, Bench, block, script

pytestmark = [pytest.mark.bubblewrap]

PLAN = json.dumps(
    {
        "explanation": "Two at once.",
        "steps": [
            {"agent": "coder", "description": "Add mul to calc.py", "file": "calc.py", "parallel_group": 1},
            {"agent": "coder", "description": "Note it", "file": "NOTES.md", "parallel_group": 1},
        ],
    }
)
ESCAPES = """\
cat /etc/shadow; ls /root /home; touch /usr/x; mount -t tmpfs x /mnt; unshare -r id; kill -9 1
(echo x > /dev/tcp/192.0.2.1/80); ls /proc/[0-9]*/cmdline | wc -l; id -u"""
TURNS = {
    ESCAPES: r"Permission denied|No such file|Read-only|not permitted|unreachable",
    "echo mine > NOTES.md; rm -rf .git; git log --oneline | head -1": "new file: NOTES.md",
    "head -c 2G /dev/zero > big.bin": "No space left on device.*nothing of this call is kept so far.*MiB",
    "rm big.bin; python -m http.server 8000 & sleep 0.3": "1 process that it left running, now ended",
    "printf '\\033]0;title\\007\\033[2J'; echo '#' >> $'a\\n\\033[31mb'": r"not kept: 'a\\n\\x1b\[31mb'",
}


async def test_a_hostile_agent_reaches_nothing_beyond_its_session_and_is_told_so(bench: Bench) -> None:
    for command in TURNS:
        bench.desk.on("Step: Add mul to calc.py", [("execute", {"command": command})], times=1)
    bench.desk.on("Step: Add mul to calc.py", MUL)
    script(bench.desk, planner=PLAN, coder=block("NOTES.md", "mul multiplies"))
    before = bench.repo.fingerprint()
    run = await bench.run()
    assert run.end.status == "verified" and bench.repo.fingerprint() == before
    told = bench.desk.prompts("Step: Add mul to calc.py.*tool: ")
    for prompt, (command, answer) in zip(told, TURNS.items(), strict=False):
        assert re.search(answer, prompt.rpartition("tool: ")[2], re.DOTALL), (command, prompt[-2000:])
    assert "/etc/shadow: No such file" in told[0].rpartition("tool: ")[2]
    # Both steps wrote the notes. The one that conflicted was done again on the other's.
    assert bench.repo.git("show", f"{run.end.branch}:NOTES.md").strip() == "mul multiplies"
    assert {file.path for edit in run.of("edit") for file in edit.files} <= {
        "calc.py",
        "NOTES.md",
        "tests/test_mul.py",
    }
    calls = run.of("tool.call")
    assert len(calls) == len(TURNS) and all("\x1b" not in call.summary for call in calls[:4])
