"""Argon2id: its parameters, its work for nobody, and its bound."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from argon2 import extract_parameters
from argon2.exceptions import HashingError, VerificationError
from argon2.low_level import Type

from idp.accounts.errors import PasswordsBusyError
from idp.accounts.passwords import Passwords
from idp.config import Settings


def cheap(**more: int) -> Passwords:
    return Passwords(**({"memory_kib": 8, "time_cost": 1, "parallelism": 1} | more))


def test_a_hash_is_argon2id_with_the_parameters_in_force() -> None:
    parameters = extract_parameters(cheap(memory_kib=64, time_cost=3).hash("correct horse"))
    assert (parameters.type, parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (
        Type.ID,
        64,
        3,
        1,
    )


def test_the_default_parameters_are_those_that_owasp_recommends() -> None:
    settings = Settings.model_validate({})
    given = (
        settings.accounts_argon2_memory_kib,
        settings.accounts_argon2_time_cost,
        settings.accounts_argon2_parallelism,
    )
    assert given == (19456, 2, 1)


def test_only_the_very_password_matches() -> None:
    passwords = cheap()
    stored = passwords.hash("x" * 1024)
    assert passwords.verify(stored, "x" * 1024)
    assert not passwords.verify(stored, "x" * 1023)
    assert not passwords.verify(stored, "x" * 1023 + "y")
    assert not passwords.verify(stored, "x" * 1024 + "\x00")


def test_a_password_is_the_same_however_it_was_composed() -> None:
    passwords = cheap()
    assert passwords.verify(passwords.hash("cafe\u0301"), "caf\u00e9")


def test_nobodys_hash_costs_what_a_hash_costs_and_matches_nothing() -> None:
    passwords = cheap(memory_kib=64, time_cost=2)
    assert not passwords.verify(None, "")
    assert extract_parameters(passwords._nobodys) == extract_parameters(passwords.hash("anything"))


def test_a_hash_made_with_other_parameters_is_due_for_another() -> None:
    stored = cheap().hash("correct horse")
    assert not cheap().needs_rehash(stored)
    assert cheap(time_cost=2).needs_rehash(stored)
    assert cheap(time_cost=2).verify(stored, "correct horse")


def test_a_damaged_hash_matches_nothing() -> None:
    assert not cheap().verify("$argon2id$nonsense", "")


class Held:
    """Argon2 that computes until it is let go."""

    def __init__(self, passwords: Passwords) -> None:
        self.go = threading.Event()
        self.running = threading.Semaphore(0)
        self.most = self.now = 0
        self._lock = threading.Lock()
        passwords._hasher = self  # type: ignore[assignment]

    def verify(self, _stored: str, _password: str) -> bool:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self.running.release()
        assert self.go.wait(20)
        with self._lock:
            self.now -= 1
        return True


@contextmanager
def started(count: int, target: object) -> Iterator[list[threading.Thread]]:
    threads = [threading.Thread(target=target, daemon=True) for _ in range(count)]  # type: ignore[arg-type]
    for thread in threads:
        thread.start()
    yield threads
    for thread in threads:
        thread.join(20)


def test_so_many_run_at_once_so_many_wait_and_one_more_is_sent_away() -> None:
    passwords = cheap(at_once=2, waiting=3)
    held = Held(passwords)
    done: list[bool] = []
    with started(5, lambda: done.append(passwords.verify(None, ""))):
        for _ in range(2):
            assert held.running.acquire(timeout=20)
        deadline = time.monotonic() + 20
        while passwords._waiting < 3 and time.monotonic() < deadline:
            threading.Event().wait(0.001)
        with pytest.raises(PasswordsBusyError) as busy:
            passwords.verify(None, "")
        assert busy.value.retry_after > 0
        held.go.set()
    assert done == [True] * 5
    assert held.most == 2
    assert passwords.verify(None, "")


def test_whoever_waits_too_long_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("idp.accounts.passwords.PATIENCE", 0.01)
    passwords = cheap(at_once=1)
    held = Held(passwords)
    with started(1, lambda: passwords.verify(None, "")):
        assert held.running.acquire(timeout=20)
        with pytest.raises(PasswordsBusyError):
            passwords.verify(None, "")
        held.go.set()
    assert passwords.verify(None, "")


@pytest.mark.parametrize("failure", [VerificationError("Memory allocation error"), HashingError("Memory allocation error")])
def test_without_memory_nothing_is_decided(failure: Exception) -> None:
    class Poor:
        def verify(self, *_: str) -> bool:
            raise failure

        def hash(self, _: str) -> str:
            raise failure

    passwords = cheap()
    passwords._hasher = Poor()  # type: ignore[assignment]
    with pytest.raises(PasswordsBusyError):
        passwords.verify(None, "") if isinstance(failure, VerificationError) else passwords.hash("anything")
