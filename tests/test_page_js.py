"""The page's script as a browser runs it, on a document of its own making."""

import json
import subprocess
from pathlib import Path

from test_protocol_js import HERE, needed

STATIC = Path(__file__).parent.parent / "server" / "static"


def test_an_edited_plan_is_sent_and_bad_json_says_so_and_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"type": "module"}')
    for name in ("run.js", "dom.js"):
        (tmp_path / name).write_text((STATIC / name).read_text().replace('"/static/', '"./'))
    command = [needed("node"), str(HERE / "page.mjs"), str(tmp_path / "run.js")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["hidden"] and seen["open"]
    assert "This is not JSON" in seen["typed"][0] and seen["unsent"] == 0 and seen["kept"] == '{"steps": [}'
    assert seen["list"] == ["This is not a JSON object."] and seen["fine"] == []
    assert seen["refused"] == ["steps: too many"] and seen["again"]
    assert seen["edited"]["path"] == "/api/threads/t/approvals"
    answer = seen["edited"]["body"]["answers"]["i1"]
    assert answer["decision"] == "edit" and answer["plan"]["steps"][0]["description"] == "My way"
    assert seen["approved"] == seen["undone"] == {"decision": "approve"}
    assert seen["refusedResume"] and not seen["cancelledResume"]
