"""Paths that are not UTF-8: tests, sources, folders and context files, from the run to the page."""

import os

from runs import CALC, Bench, script

ODD_TEST = os.fsdecode(b"tests/test_caf\xe9.py")
SOUND: dict[str, str | bytes] = {
    **CALC,
    ODD_TEST: "from calc import add\n\n\ndef test_sum():\n    assert add(2, 2) == 4\n",
    os.fsdecode(b"d\xfe/__init__.py"): "",
    os.fsdecode(b"d\xfe/mod\xff.py"): "x = 1\n",
    os.fsdecode(b"d\xfe/test_deep\xff.py"): "class TestIt:\n    def test_deep(self):\n        assert 1\n",
    os.fsdecode(b"link\xff"): "x",
}


async def test_tests_whose_names_are_not_utf8_count_as_all_others_do(bench: Bench) -> None:
    bench.repo.commit(SOUND)
    script(bench.desk)
    run = await bench.run()
    assert run.end.status == "verified"
    cases = {case.id: case.head for case in run.proof.cases}
    assert cases["tests.test_caf\ufffd::test_sum"] == "passed"
    assert cases["d\ufffd.test_deep\ufffd.TestIt::test_deep"] == "passed"
