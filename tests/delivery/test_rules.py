"""The decisions, as values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idp.delivery.attempt import error_code, retry_after
from idp.delivery.rules import FIRST_WAIT, LONGEST_WAIT, Verdict, backoff, judge

NOW = 1_800_000_000.0


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_a_successful_answer_is_an_arrival(status: int) -> None:
    assert judge(status) is Verdict.DELIVERED


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599, 429, 408])
def test_a_passing_failure_is_tried_again(status: int) -> None:
    assert judge(status) is Verdict.RETRY


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 400, 401, 403, 404, 410, 413, 600, 999])
def test_a_refusal_and_a_redirect_are_final(status: int) -> None:
    assert judge(status) is Verdict.DEAD


def test_the_wait_begins_at_half_a_second_and_doubles_up_to_five_minutes() -> None:
    assert [backoff(attempts, 0.5) for attempts in (1, 2, 3, 4)] == [0.5, 1, 2, 4]
    assert backoff(10_000, 0.5) == LONGEST_WAIT


@given(st.integers(1, 10**9), st.floats(0, 1, exclude_max=True))
def test_the_wait_is_always_bounded(attempts: int, jitter: float) -> None:
    assert FIRST_WAIT * 0.75 <= backoff(attempts, jitter) <= LONGEST_WAIT


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("Fri, 15 Jan 2027 08:01:00 GMT", 60.0),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0.0),
        ("", None),
        ("-1", None),
        ("1e9", None),
        ("٣", None),
        ("9" * 400, None),
        ("soon", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_nonsense_is_nothing(value: str, seconds: float | None) -> None:
    assert retry_after(value, NOW) == seconds


@given(st.text(max_size=60))
def test_no_retry_after_header_is_an_error(value: str) -> None:
    wait = retry_after(value, NOW)
    assert wait is None or wait >= 0


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"error": "invalid_request"}', "invalid_request"),
        (b'{"error": "eyJhbGciOiJSUzI1NiJ9.eyJzaWQiOiJ4In0.c2ln"}', None),
        (b'{"error": "\\u001b[2Jgone"}', None),
        (b'{"error": ["invalid_request"]}', None),
        (b'["error"]', None),
        (b"\xff\xfe", None),
        (b"[" * 60_000, None),
        (b"", None),
    ],
)
def test_only_an_error_code_is_kept_of_what_a_relying_party_says(body: bytes, code: str | None) -> None:
    assert error_code(body) == code
