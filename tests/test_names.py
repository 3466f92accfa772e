"""Paths that are not UTF-8: tests, sources, folders and context files, from the run to the page."""

import os

import pytest
from runs import CALC, Bench, script

ODD_TEST, OTHER_ODD_TEST = (os.fsdecode(b"tests/test_caf" + end + b".py") for end in (b"\xe9", b"\xe8"))
SOUND: dict[str, str | bytes] = {
    **CALC,
    ODD_TEST: "from calc import add\n\n\ndef test_sum():\n    assert add(2, 2) == 4\n",
    # Another outcome than its twin's, so that a mix-up of their ids would be seen.
    OTHER_ODD_TEST: "import pytest\n\n\n@pytest.mark.skip\ndef test_sum(): ...\n",
    os.fsdecode(b"d\xfe/__init__.py"): "",
    os.fsdecode(b"d\xfe/mod\xff.py"): "x = 1\n",
    os.fsdecode(b"d\xfe/test_deep\xff.py"): "class TestIt:\n    def test_deep(self):\n        assert 1\n",
    os.fsdecode(b"link\xff"): "x",
}


@pytest.mark.parametrize(
    "backend",
    [
        pytest.param("bubblewrap", marks=pytest.mark.bubblewrap),
        pytest.param("docker", marks=pytest.mark.docker),
    ],
)
async def test_tests_whose_names_are_not_utf8_count_as_all_others_do(bench: Bench, backend: str) -> None:
    bench.repo.commit(SOUND)
    script(bench.desk)
    run = await bench.run(settings={"sandbox_backend": backend})
    assert run.end.status == "verified"
    cases = {case.id: case.head for case in run.proof.cases}
    assert cases[r"tests.test_caf\udce9::test_sum"] == "passed"
    assert cases[r"tests.test_caf\udce8::test_sum"] == "skipped"
    assert cases[r"d\udcfe.test_deep\udcff.TestIt::test_deep"] == "passed"
