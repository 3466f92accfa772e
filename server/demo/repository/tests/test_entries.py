from datetime import date

from worklog.entries import Entry, read


def test_an_entry_has_a_day_a_duration_a_project_and_a_note():
    assert read(["2026-03-02 1h30m garden  dug the beds\n"]) == [
        Entry(date(2026, 3, 2), 5400, "garden", "dug the beds")
    ]


def test_comments_and_empty_lines_are_passed_over():
    assert read(["# March", "", "2026-03-02 45m letters"]) == [Entry(date(2026, 3, 2), 2700, "letters", "")]
