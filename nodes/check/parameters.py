"""Cases by their functions, and parametrised ones whose ids differ from run to run.

Ids differ that hold the time or an address.
"""

from collections import defaultdict
from collections.abc import Iterable


def _function_of(case: str) -> str:
    """Return the id of a case without its parameters."""
    return case.partition("[")[0]


def by_function(cases: Iterable[str]) -> defaultdict[str, list[str]]:
    """Return the cases of each function, in their order."""
    functions: defaultdict[str, list[str]] = defaultdict(list)
    for case in cases:
        functions[_function_of(case)].append(case)
    return functions


def paired_ids(gone: Iterable[str], new: Iterable[str]) -> dict[str, str]:
    """Return the new id of each case that is gone, for functions that have lost and won equally many."""
    lost, won = (by_function(sorted(case for case in cases if "[" in case)) for cases in (gone, new))
    pairs: dict[str, str] = {}
    for function, ids in lost.items():
        if len(ids) == len(won[function]):
            pairs |= zip(ids, won[function], strict=True)
    return pairs
