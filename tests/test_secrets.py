"""What is remembered holds no secret, and is still of use."""

import random
import string
from collections.abc import Callable

import pytest

from memory.secrets import mask

LETTERS = string.ascii_letters + string.digits


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ('API_KEY = "correct horse"', "correct horse"),
        ("password: hunter2hunter2", "hunter2hunter2"),
        ("+export TOKEN=correcthorsebattery", "correcthorsebattery"),
        ('{"client_secret": "abc-def"}', "abc-def"),
        ("Authorization: Bearer abcdefghijklmnop", "abcdefghijklmnop"),
        ("the key is AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
        ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "K7MDENG"),
        ("use sk-proj-abcdefghijklmnopqrst", "abcdefghijklmnopqrst"),
        ("ghp_abcdefghijklmnopqrstuvwxyzabcdef", "abcdefghij"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmN", "dozjgNryP4J3jVmN"),
        ("postgres://user:s3cret@db/x", "s3cret"),
        ("https://user:s3cret@example.com.evil.net and https://user:s3cret@myexample.com", "s3cret"),
        ("-----BEGIN RSA PRIVATE KEY-----\n+MIIEow\n-----END RSA PRIVATE KEY-----", "MIIEow"),
        ("-----BEGIN PRIVATE KEY-----\nMIIEow cut off", "MIIEow"),
        ('x = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b"', "9f86d081884c7d65"),
    ],
)
def test_what_looks_like_a_secret_becomes_unreadable(text: str, secret: str) -> None:
    assert secret not in mask(text) and "***" in mask(text)


@pytest.mark.parametrize(
    "text",
    [
        "commit da39a3ee5e6b4b0d3255bfef95601890afd80709",
        'sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"',
        'TOKEN = os.environ["TOKEN"]',
        "connect(password=password, token=token)",
        "def test_that_utf8_and_latin1_are_told_apart(self): ...",
        "src/components/Button2/index.tsx and tests/test_http2_parser_v3_something.py",
        "MAX_TOKENS=200000",
        "self.token = self.next_token()",
        "AddressBookController2Test",
        "It rejects http://:pass@example.com and ftp://a:b@www.example.org:21/x.",
    ],
)
def test_code_that_only_speaks_of_secrets_stays(text: str) -> None:
    assert mask(text) == text


@pytest.mark.parametrize(
    "make",
    [
        lambda chance: "".join(chance.choices(LETTERS + "+/", k=40)),
        lambda chance: "".join(chance.choices(LETTERS + "-_", k=32)),
        lambda chance: "".join(chance.choices(string.hexdigits.lower()[:16], k=32)),
        lambda chance: "".join(chance.choices(string.ascii_lowercase + string.digits, k=32)),
    ],
)
def test_random_tokens_are_found_by_their_disorder(make: Callable[[random.Random], str]) -> None:
    chance = random.Random(4)
    tokens = [make(chance) for _ in range(500)]
    missed = [token for token in tokens if token in mask(f"it is {token}.")]
    assert len(missed) < 25
