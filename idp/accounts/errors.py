"""What this room refuses, and in which words."""

from math import ceil

SIGN_IN_SENTENCE = "The username or the password is not right."


class AccountRefusedError(ValueError):
    """An account that may not be as asked. Its text is one sentence for people."""


class UsernameRefusedError(AccountRefusedError):
    """A username that may not exist, or is taken."""


class PasswordRefusedError(AccountRefusedError):
    """A password that nobody should have."""


class SignInRefusedError(Exception):
    """Nobody signed in. It says the same of an unknown name, a disabled account and a wrong password (docs/threats.md 28)."""

    def __init__(self) -> None:
        super().__init__(SIGN_IN_SENTENCE)


class SignInThrottledError(Exception):
    """Too many sign-ins failed; nothing was checked. `retry_after` is in seconds."""

    def __init__(self, retry_after: int) -> None:
        minutes = ceil(retry_after / 60)
        wait = "a minute" if minutes == 1 else f"{minutes} minutes"
        super().__init__(f"Too many sign-ins failed. Try again in {wait}.")
        self.retry_after = retry_after


class PasswordsBusyError(Exception):
    """Too many passwords are being checked at this moment; nothing was decided. `retry_after` is in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"Too many people are signing in. Try again in {retry_after} seconds.")
        self.retry_after = retry_after
