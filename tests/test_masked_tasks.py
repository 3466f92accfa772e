"""Keys in tasks, and words in code that look like keys."""

from runs import PASS, Bench, block, plan_of, script

TOKEN = "ghp_9sKq27ZxWv31Lm0PtRb5YcHd"
SETTINGS = f"""SECRET_KEY = "dj4ngo-insecure-9f8e7d6c5b4a3928"
api_key = "0123456789abcdef0123456789abcdef"
SECRET_KEY='{TOKEN}'
DATABASE = "postgresql://app:hunter2secret@db/app"


def mul(a, b):
    return a * b"""


async def test_the_user_is_told_that_a_part_of_the_task_was_masked(bench: Bench) -> None:
    script(bench.desk)
    run = await bench.run(f"Add mul. The token is {TOKEN}.")
    warnings = [data.message for data in run.of("error") if "replaced by ***" in data.message]
    assert len(warnings) == 1 and TOKEN not in warnings[0]
    again = await bench.run("Add mul, without a token.")
    assert not [data for data in again.of("error") if "replaced by ***" in data.message]


async def test_delivered_files_are_the_models_bytes_whatever_they_look_like(bench: Bench) -> None:
    test = "from conf import mul\n\n\ndef test_mul():\n    assert mul(3, 4) == 12"
    plan = plan_of({"description": "Write conf.py", "file": "conf.py"})
    script(
        bench.desk,
        planner=plan,
        coder=block("conf.py", SETTINGS),
        tester=block("tests/test_mul.py", test),
        critic=PASS,
    )
    run = await bench.run()
    assert run.end.status == "verified"
    assert bench.repo.show(str(run.end.branch), "conf.py") == SETTINGS
    assert TOKEN not in "\n".join(event.wire for event in run.events)
