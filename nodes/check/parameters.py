"""Parametrised cases whose ids differ from run to run, because they hold the time or an address."""

from collections import defaultdict
from collections.abc import Iterable


def paired_ids(gone: Iterable[str], new: Iterable[str]) -> dict[str, str]:
    """Return the new id of each case that is gone, for functions that have lost and won equally many."""
    lost, won = _by_function(gone), _by_function(new)
    pairs: dict[str, str] = {}
    for function, ids in lost.items():
        if len(ids) == len(won[function]):
            pairs |= zip(ids, won[function], strict=True)
    return pairs


def _by_function(cases: Iterable[str]) -> defaultdict[str, list[str]]:
    functions: defaultdict[str, list[str]] = defaultdict(list)
    for case in sorted(cases):
        function, bracket, _ = case.partition("[")
        if bracket:
            functions[function].append(case)
    return functions
