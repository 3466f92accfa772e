from nodes.check.output_text import cut_output, last_lines, normalise

OUTPUT = """
\x1b[31mE   assert <m.Thing object at {address}> == None\x1b[0m
/tmp/pytest-of-{user}/pytest-{number}/test_x0/file.txt and /tmp/tmp{random}/x
{seconds}s call     test_m.py::test_x
- generated xml file: /report/{random}.xml -
=== 1 failed in {seconds}s ===
"""


def test_two_runs_of_one_failure_read_alike() -> None:
    one = OUTPUT.format(address="0x7f3a00ff12", user="root", number=1, random="ab12_cd3", seconds="0.03")
    two = OUTPUT.format(address="0x55d2c0aa01", user="u4711", number=27, random="zz99zz99", seconds="12.50")
    assert normalise(one) == normalise(two)
    assert "assert <m.Thing object at 0x…> == None" in normalise(one)
    assert "/tmp/pytest/test_x0/file.txt and /tmp/tmp/x" in normalise(one)


def test_values_under_test_are_left_alone() -> None:
    text = "assert 0xff == 255\nassert '2026-01-01 10:00:00' == '3.14 s'\nfile_12345"
    assert normalise(text) == text


def test_a_long_output_keeps_its_start_and_more_of_its_end() -> None:
    text = "\n".join(f"line {at}" for at in range(2_000))
    short = cut_output(text, 1_000)
    assert short.startswith("line 0\nline 1\n") and short.endswith("line 1998\nline 1999")
    assert len(short) < 1_100 and "left out, " in short
    assert all(line.startswith(("line ", "[… lines ")) for line in short.splitlines())
    assert cut_output("short", 1_000) == "short"
    assert len(cut_output("x" * 5_000, 1_000)) < 1_100


def test_the_last_lines_are_bounded() -> None:
    assert last_lines("a\n" * 1_000, 3) == "…a\na"
    assert last_lines("a\n") == "a"
