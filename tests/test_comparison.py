import json

from nodes.check import compare, remarks
from nodes.proof import Proof, Strength, Suspicion, Uncollected, Unguarded

PROOF = Proof(
    base="b" * 40,
    head="h" * 40,
    tree="1" * 40,
    backend="docker",
    image="sha256:1",
    command=["pytest"],
    exit_code=0,
    green=True,
    contradicted=["tests.test_a::test_a"],
    suspicious=[Suspicion(file="a.py", line=3, text="It exits.", answer="It is a command.")],
    uncollected=[Uncollected(file="tests/test_b.py", reason="No module named 'b'")],
    gaps=["not verified: one"],
    strength=Strength(killed=3, tried=4),
    unguarded=[Unguarded(file="a.py", first=1, last=2, mutant="returns nothing")],
)
AGAIN = PROOF.model_copy(
    update={
        "suspicious": [Suspicion(file="a.py", line=3, text="It exits.")],
        "contradicted": [],
        "uncollected": [],
        "gaps": ["not verified: two"],
        "base_shows_it": True,
        "image": "sha256:2",
        "strength": None,
        "unguarded": [],
    }
)


def test_every_finding_of_a_proof_is_compared() -> None:
    stored = Proof.model_validate_json(PROOF.model_dump_json())
    assert compare(stored, PROOF) == [] and remarks(stored, PROOF) == []
    assert compare(stored, AGAIN) == [
        "base shows it: False was recorded, True now",
        "contradicted: tests.test_a::test_a was recorded, and is not there now",
        "uncollected: tests/test_b.py (No module named 'b') was recorded, and is not there now",
        "gaps: not verified: one was recorded, and is not there now",
        "gaps: not verified: two was not recorded, and is there now",
    ]
    assert remarks(stored, AGAIN) == [
        "image: sha256:1 was recorded, sha256:2 now",
        "mutants that tests noticed: 3 of 4 recorded, none now",
        "unguarded: a.py:1-2 (returns nothing) was recorded, and is not there now",
    ]


def test_a_proof_of_an_older_version_is_no_mismatch_and_says_so() -> None:
    newer = ("base_shows_it", "contradicted", "uncollected", "gaps", "suspicious", "strength", "unguarded")
    stored = {name: value for name, value in json.loads(PROOF.model_dump_json()).items() if name not in newer}
    older = Proof.model_validate(stored)
    assert compare(older, PROOF) == []
    (remark,) = remarks(older, PROOF)
    assert remark.startswith("an older version recorded this proof, without: base shows it, contradicted, ")
