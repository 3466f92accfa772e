"""The order of what a search finds: named places first, then what fits, and nothing rather than noise."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from memory.embeddings import EmbeddingSettings
from memory.repo_index import IndexSettings, RepoIndex, Snippet

FILES = {
    "worklog/export.py": '''"""Export of entries."""


class Exporter:
    """Writes entries."""

    def write_json(self, stream):
        """Write the entries as JSON."""
        stream.write(str(self.entries))

    def write_csv(self, stream):
        for entry in self.entries:
            stream.write(entry)
''',
    "worklog/cli.py": """from worklog.export import Exporter

FORMATS = ("json", "csv")


def export_command(path, format):
    exporter = Exporter(load(path))
    exporter.write_json(open(path, "w"))
""",
    "worklog/timer.py": '''def start_timer(clock):
    """Start the clock of an entry."""
    return clock.now()
''',
    "worklog/archive.py": '''class Archive:
    def write_json(self, folder):
        return folder / "entries.json"

    def add_missing(self, folder, lock):
        """Fix what is missing, and use the lock of the folder for more support."""
        lock.update(folder)

    def open(self, folder):
        return folder_lock(folder).wait(self.seconds)
''',
    "tests/test_export.py": """from worklog.export import Exporter


def test_json_is_written(stream):
    Exporter([1]).write_json(stream)
    assert stream.getvalue() == "[1]"
""",
    "tests/test_timer.py": """from worklog.timer import start_timer


def test_the_timer_starts(clock):
    assert start_timer(clock) == clock.now()
""",
    "docs/guide.md": "# Guide\n\n## Export\n\nCall `Exporter.write_json` with an open file.\n",
    "CHANGELOG.md": "# Changelog\n\n- `Exporter.write_json` writes JSON entries.\n",
}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RepoIndex]:
    """An index of FILES, with hashed words for vectors."""
    folder = tmp_path_factory.mktemp("search")
    for path, text in FILES.items():
        file = folder / "repo" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    settings = IndexSettings(folder / "index", folder / "chroma", EmbeddingSettings("hash"))
    with RepoIndex(folder / "repo", settings) as opened:
        opened.refresh()
        opened.embed()
        yield opened


def paths(snippets: list[Snippet]) -> list[str]:
    return [snippet.path for snippet in snippets]


STEP = "Teach `Exporter.write_json` in worklog/export.py to indent what it writes"


@pytest.mark.parametrize("query", ["Exporter.write_json", "`Exporter.write_json()`", STEP])
def test_a_symbol_finds_its_definition_then_uses_tests_documents_and_changelog(
    index: RepoIndex, query: str
) -> None:
    found = index.search(query, 8)
    assert (found[0].symbol, found[0].first) == ("Exporter.write_json", 7)
    assert found[0].why == "defines Exporter.write_json" and found[1].why == "calls write_json"
    assert paths(found)[:5] == [
        "worklog/export.py",
        "worklog/cli.py",
        "tests/test_export.py",
        "docs/guide.md",
        "CHANGELOG.md",
    ]


def test_few_places_still_hold_a_use_and_a_test(index: RepoIndex) -> None:
    assert paths(index.search(STEP, 3)) == ["worklog/export.py", "worklog/cli.py", "tests/test_export.py"]


def test_definitions_come_before_uses_and_those_of_a_named_file_first(
    index: RepoIndex,
) -> None:
    assert {hit.symbol for hit in index.search("write_json", 6)[:2]} == {
        "Exporter.write_json",
        "Archive.write_json",
    }
    assert paths(index.search("let `write_json` in worklog/archive.py return the path", 6))[:2] == [
        "worklog/archive.py",
        "worklog/export.py",
    ]


def test_tests_come_before_other_uses_when_they_are_asked_for(index: RepoIndex) -> None:
    assert paths(index.search("the tests of Exporter.write_json", 8))[:3] == [
        "worklog/export.py",
        "tests/test_export.py",
        "worklog/cli.py",
    ]
    assert paths(index.search("test that the timer starts", 3))[0] == "tests/test_timer.py"
    assert paths(index.search("start the clock", 3))[0] == "worklog/timer.py"


def test_words_of_tasks_count_less_than_words_of_code_and_those_that_stand_together_more(
    index: RepoIndex,
) -> None:
    found = index.search("add support for a missing clock, fix its use", 3)
    assert found[0].symbol == "start_timer" and found[0].why.startswith("words: clock")
    assert index.search("support another folder lock", 3)[0].symbol == "Archive.open"


def test_files_that_earlier_commits_of_such_subjects_changed_come_first(index: RepoIndex) -> None:
    past = [("Flush the stream of the clock", ("worklog/timer.py",)), ("Start", ("worklog/cli.py",))]
    without, search = index.code_search(), replace(index.code_search(), past=lambda: past)
    assert paths(without.snippets("stream clock entry", 2)) == ["worklog/export.py", "worklog/timer.py"]
    assert paths(search.snippets("stream clock entry", 2)) == ["worklog/timer.py", "worklog/export.py"]
    past.append(("Mine a quantum blockchain", ("worklog/timer.py",)))
    assert search.snippets("quantum blockchain", 2) == []


def test_a_path_finds_the_outline_of_its_file_and_nothing_else(index: RepoIndex) -> None:
    for query in ("worklog/export.py", "`export.py`", "worklog.export"):
        (found,) = index.search(query, 6)
        assert (found.path, found.symbol, found.why) == ("worklog/export.py", "", "outline")
        assert "class Exporter" in found.text and "write_csv" in found.text


def test_a_constant_and_a_class_are_found_where_they_are_defined(index: RepoIndex) -> None:
    (constant,) = index.search("FORMATS", 6)
    assert (constant.path, constant.why) == ("worklog/cli.py", "defines FORMATS")
    assert paths(index.search("make the Exporter faster", 6))[:2] == ["worklog/export.py", "worklog/cli.py"]


@pytest.mark.parametrize("query", ["quantum blockchain", "`mine_coins` of the quantum blockchain", "", "…"])
def test_nothing_is_found_rather_than_noise(index: RepoIndex, query: str) -> None:
    assert index.search(query, 6) == []


def test_a_hostile_query_is_read_in_time(index: RepoIndex) -> None:
    for query in ("a." * 100_000, "`" * 100_000, "a/" * 100_000, "X(" * 100_000, '" OR "*^:{}'):
        index.search(query, 6)


def test_words_of_a_sentence_and_names_that_many_classes_have_are_no_symbols(
    index: RepoIndex,
) -> None:
    for query in ("start the `clock` of `entry`", "let `__init__` start the clock", "start the clock `str`"):
        found = index.search(query, 6)
        assert found[0].symbol == "start_timer" and not any("mentions" in hit.why for hit in found)
