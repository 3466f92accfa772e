import pytest

from worklog.durations import DurationError, parse


@pytest.mark.parametrize(("text", "seconds"), [("2h", 7200), ("45m", 2700), ("1h30m", 5400), ("90s", 90)])
def test_durations_are_read(text, seconds):
    assert parse(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "1h 30m", "-5m"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(DurationError):
        parse(text)
