"""Accounts: adding, finding, disabling them, and signing in."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from idp.accounts import confusables, devices, names, password_rules, profile, rules, store, throttle_store
from idp.accounts.errors import PasswordsBusyError, SignInRefusedError, SignInThrottledError, UsernameRefusedError
from idp.accounts.passwords import Passwords
from idp.accounts.rules import Account, NewAccount, PasswordHash
from idp.accounts.throttle import Throttle
from idp.accounts.throttle_store import Count
from idp.clients.rules import Client
from idp.config import Settings
from idp.logout.rules import Reason
from idp.protocol import claims as protocol_claims
from idp.runtime import audit, secrets
from idp.runtime.clock import Instant
from idp.runtime.database import Database, Transaction
from idp.runtime.paging import Page
from idp.runtime.secrets import Secrets
from idp.sessions.rules import Session

#: How an account stands, for the door to issue (`idp.issuing.store`).
ACCOUNT_IS_OPEN = store.IS_OPEN
#: As many accounts as are looked at together, where nobody says how many.
_FIRST = Page(1000)
_NOTHING_KNOWN: dict[str, Any] = {"name": None, "email": None, "email_verified": False}


class AccountEndings(Protocol):
    """The one door, as this room sees it; `logout` has it."""

    def end_session(self, tx: Transaction, sid: str, reason: str) -> Session | None:
        """End one session and all that hangs from it."""

    def end_account_sessions(self, tx: Transaction, subject: str, reason: str, *, keep: str | None = None) -> int:
        """End every session of a person, save `keep`; returns their number. What was allowed offline stays allowed."""

    def end_after_password_change(self, tx: Transaction, subject: str, *, keep: str | None = None) -> int:
        """End what a new password ends: every session of the person, save `keep`; returns their number."""

    def end_account(self, tx: Transaction, subject: str, reason: str) -> int:
        """End everything of a person; returns the number of sessions that ended."""


class AccountService:
    """The people of this provider. Argon2 never runs inside a transaction: SQLite has one writer."""

    def __init__(self, database: Database, settings: Settings, keys: Secrets, logout: AccountEndings) -> None:
        self._database = database
        self._min_length = settings.accounts_password_min_length
        self._keys = keys
        self._logout = logout
        self._throttle = Throttle(database, settings, keys)
        self._passwords = Passwords(
            memory_kib=settings.accounts_argon2_memory_kib,
            time_cost=settings.accounts_argon2_time_cost,
            parallelism=settings.accounts_argon2_parallelism,
        )

    # -- accounts -------------------------------------------------------------------------------------------------

    def prepare(
        self,
        username: str,
        password: str,
        *,
        name: str | None = None,
        email: str | None = None,
        email_verified: bool = False,
        claims: object = None,
    ) -> NewAccount:
        """An account that holds to the rules, for `add`. Call it outside of any transaction.

        `claims` is a JSON object as `profile.read` takes it. Raises AccountRefusedError with the sentence that says why
        not, and PasswordsBusyError.
        """
        username = names.displayed(username)
        known = profile.read({} if claims is None else claims)
        known |= profile.read({"name": name} if name is not None else {})
        known |= profile.read({"email": email, "email_verified": email_verified} if email is not None else {})
        return NewAccount(username, self.hash_password(username, password), known)

    def add(self, tx: Transaction, new: NewAccount) -> Account:
        """Add an account. Raises UsernameRefusedError when its name is taken, or prints like one that is."""
        account = Account(
            subject=secrets.token(rules.SUBJECT_BYTES),
            username=new.username,
            username_folded=names.folded(new.username),
            password_hash=new.password_hash,
            created_at=tx.now,
            updated_at=tx.now,
            disabled_at=None,
            **(_NOTHING_KNOWN | dict(new.claims)),
        )
        if not store.add(tx, account, confusables.skeletons(account.username, account.username_folded)):
            raise _taken(account.username, the_very_name=store.is_taken(tx, account.username_folded))
        tx.after_commit(lambda: audit.record("account.added", subject=account.subject))
        return account

    def rename(self, tx: Transaction, account: Account, username: str) -> Account:
        """Give the account another name to sign in by. What is open stays open: apps know people by `sub`.

        Raises UsernameRefusedError for what can be no name, is taken, or prints like another; then roll back.
        """
        shown = names.displayed(username)
        renamed = replace(account, username=shown, username_folded=names.folded(shown))
        holder = store.by_name(tx, renamed.username_folded)
        if holder is not None and holder.subject != account.subject:
            raise _taken(shown, the_very_name=True)
        if not store.rename(tx, renamed, confusables.skeletons(renamed.username, renamed.username_folded)):
            raise _taken(shown, the_very_name=False)
        tx.after_commit(lambda: audit.record("account.renamed", subject=account.subject))
        return renamed

    def factors(self, account: Account) -> tuple[str, ...]:
        """What the person signs in with."""
        return ("password",) if account.password_hash else ()

    def locked_until(self, tx: Transaction, account: Account) -> Instant | None:
        """Until when too many sign-ins failed for anybody to try another from a new browser; None when that is not so."""
        return self._throttle.locked_until(tx, account.username_folded)

    def unlock(self, tx: Transaction, account: Account, sids: Iterable[str]) -> bool:
        """Forget the passwords that were wrong, at the sign-in and in these sessions; False when none was."""
        done = self._throttle.unlock(tx, account.username_folded, account.subject, sids)
        if done:
            tx.after_commit(lambda: audit.record("account.unlocked", subject=account.subject))
        return done

    def find(self, tx: Transaction, username: str) -> Account | None:
        """The account of a username in any spelling, disabled or not."""
        folded = _folded(username)
        return None if folded is None else store.by_name(tx, folded)

    def get(self, tx: Transaction, subject: str) -> Account | None:
        """The account, disabled or not."""
        return store.by_subject(tx, subject)

    def hold(self, tx: Transaction, subject: str) -> Account | None:
        """The account unless disabled, kept as it is until the commit.

        Whoever starts something for a person must hold the account: disabling it then waits, and ends what was started.
        """
        return store.hold(tx, subject)

    def set_claims(self, tx: Transaction, subject: str, claims: Mapping[str, object]) -> bool:
        """Change what is told of the person, to what `profile.read` gave; False when nobody is there."""
        done = store.set_claims(tx, subject, claims)
        if done:
            which = " ".join(sorted(claims))  # never their values
            tx.after_commit(lambda: audit.record("account.claims_set", subject=subject, names=which))
        return done

    def claims_for_id_token(
        self, tx: Transaction, client: Client, subject: str, scope: str, stored: str | None, *, alone: bool = False
    ) -> dict[str, object]:
        """What stands of the person in an ID token: what was asked for there by name (OIDC Core §5.5).

        `alone` is for `response_type=id_token`, after which there is no access token that would open `/userinfo`: the
        claims of the scopes stand there then, too (§5.4). So they do for a client that reads nothing else
        (`id_token_scope_claims`). Nobody is looked up where nothing is asked for.
        """
        with_scopes = alone or client.id_token_scope_claims
        if stored is None and not with_scopes:
            return {}
        asked = rules.may_be_told(scope if with_scopes else "", client.scope, stored, protocol_claims.ID_TOKEN)
        account = store.by_subject(tx, subject) if asked - {"sub"} else None
        return {} if account is None else rules.claims(account, asked)

    def listed(self, tx: Transaction, page: Page = _FIRST) -> list[Account]:
        """One page of the accounts, by name."""
        return store.listed(tx, page)

    def hash_password(self, username: str, password: str) -> PasswordHash:
        """The hash of a chosen password. Call it outside of any transaction.

        Raises PasswordRefusedError with the sentence that says why not, and PasswordsBusyError.
        """
        return self._passwords.hash(password_rules.check(password, username, self._min_length))

    def set_password(
        self, tx: Transaction, subject: str, password_hash: PasswordHash, *, keep: str | None = None
    ) -> int | None:
        """Give the account another password, made by `hash_password`, and end its sessions, save the one named by `keep`.

        Whoever had the old password is signed out by that, and no browser is known any more as one that has signed in. What
        was allowed offline stays allowed. Returns the number of sessions that ended; None when nobody is there.
        """
        before = store.by_subject(tx, subject)
        if before is not None:
            # Before the account's row: a sign-in that succeeds takes both in this order.
            self._throttle.forget(tx, before.username_folded)
        if store.set_password(tx, subject, password_hash) is None:
            return None
        return self._password_set(tx, subject, keep)

    def change_password(self, tx: Transaction, shown: Account, password_hash: PasswordHash, *, keep: str) -> Account:
        """The same for the person themselves, in the session `keep`: `shown` is what `confirm_password` gave.

        Raises SignInRefusedError when that password counts no more. One statement decides, so of two at once the first does.
        """
        self._throttle.forget(tx, shown.username_folded)
        changed = store.change_password(tx, shown.subject, shown.password_hash, password_hash)
        if changed is None:
            raise SignInRefusedError
        self._password_set(tx, shown.subject, keep)
        return changed

    def _password_set(self, tx: Transaction, subject: str, keep: str | None) -> int:
        ended = self._logout.end_after_password_change(tx, subject, keep=keep)
        tx.after_commit(lambda: audit.record("account.password_set", subject=subject, sessions=ended))
        return ended

    def confirm_password(self, subject: str, sid: str, password: str) -> Account:
        """The account, whose password was shown by who is signed in with the session `sid`. Call it outside of any transaction.

        Failures count for this session and account alone: strangers who guess at the sign-in keep nobody from it, and who
        guesses here keeps nobody from signing in. Raises SignInRefusedError, SignInThrottledError and PasswordsBusyError.
        """
        with self._database.reading() as tx:
            account = store.by_subject(tx, subject)
        try:
            reserved = self._throttle.reserve_in_session(sid, subject)
        except SignInThrottledError:
            audit.warn("password.throttled", subject=subject, sid=sid)
            raise
        problem = self._problem(account, password, reserved)
        if account is None or problem is not None:
            audit.record("password.refused", subject=subject, sid=sid, reason=problem)
            raise SignInRefusedError
        self._give_back(reserved)
        return account

    def remove(self, tx: Transaction, subject: str) -> int | None:
        """Remove the account and end everything of it: the number of sessions, or None when nobody is there.

        Its `subject` was random and is never given again; its name may be.
        """
        if not store.remove(tx, subject):
            return None
        ended = self._logout.end_account(tx, subject, Reason.ACCOUNT_REMOVED)
        tx.after_commit(lambda: audit.record("account.removed", subject=subject, sessions=ended))
        return ended

    def disable(self, tx: Transaction, subject: str) -> int | None:
        """Disable the account and end everything of it: the number of sessions, or None when it was disabled."""
        if not store.disable(tx, subject):
            return None
        ended = self._logout.end_account(tx, subject, Reason.ACCOUNT_DISABLED)
        tx.after_commit(lambda: audit.record("account.disabled", subject=subject, sessions=ended))
        return ended

    def enable(self, tx: Transaction, subject: str) -> bool:
        """Let the person sign in again; False when they could. What was ended stays ended."""
        done = store.enable(tx, subject)
        if done:
            tx.after_commit(lambda: audit.record("account.enabled", subject=subject))
        return done

    # -- signing in -----------------------------------------------------------------------------------------------

    def sign_in(self, username: str, password: str, address: str, device: str | None) -> Account:
        """Who this is. `device` is the cookie that `remember_device` once made. Call it outside of any transaction.

        Raises SignInRefusedError, the same and after the same work for an unknown name, a disabled account and a wrong
        password; SignInThrottledError when too many attempts failed; PasswordsBusyError.
        """
        known = _folded(username)
        key = known if known is not None else f"\x00{username}"
        tag = self._throttle.tag(key)
        account = None
        if known is not None:
            with self._database.reading() as tx:
                account = store.by_name(tx, known)
        try:
            reserved = self._throttle.reserve(key, address, device, None if account is None else account.device_owner)
        except SignInThrottledError:
            audit.warn("sign_in.throttled", account=tag, address=address)
            raise
        problem = self._problem(account, password, reserved)
        if account is None or problem is not None:
            audit.record("sign_in.refused", account=tag, address=address, reason=problem)
            raise SignInRefusedError
        return self._welcome(account, password, reserved)

    def remember_device(self, cookie: str | None, account: Account) -> str:
        """The device cookie of a browser in which the account just signed in; `cookie` is the one that it had."""
        keys = self._keys.keys(devices.PURPOSE)
        return devices.remember(keys, cookie, account.device_owner, self._database.clock())

    def tidy(self, tx: Transaction) -> int:
        """Delete what the throttle need not know any more. For the reaper; returns the number of rows."""
        return throttle_store.forget_expired(tx)

    def _problem(self, account: Account | None, password: str, reserved: tuple[Count, ...]) -> str | None:
        """What is wrong, for the log; None when the password is right. An attempt of which nothing came is not counted."""
        try:
            return self._wrong(account, password)
        except BaseException:
            self._give_back(reserved)
            raise

    def _wrong(self, account: Account | None, password: str) -> str | None:
        """The same, by one argon2 computation in every case: the time it takes says nothing (docs/threats.md 28)."""
        possible = password_rules.can_be_one(password)
        stored = account.password_hash if account is not None and possible else None
        matches = self._passwords.verify(stored, password if possible else "")
        if account is None:
            return "unknown_username"
        if not matches:
            return "wrong_password"
        return Reason.ACCOUNT_DISABLED if account.is_disabled else None

    def _welcome(self, account: Account, password: str, reserved: tuple[Count, ...]) -> Account:
        """Uncount the attempt, and keep the password under the parameters in force."""
        old_hash, new_hash = account.password_hash, None
        if self._passwords.needs_rehash(old_hash):
            try:
                new_hash = self._passwords.hash(password)
            except PasswordsBusyError:
                new_hash = None  # next time
        with self._database.writing() as tx:
            self._throttle.give_back(tx, reserved)
            if new_hash is not None and store.rehash(tx, account.subject, old_hash, new_hash):
                tx.after_commit(lambda: audit.record("account.password_rehashed", subject=account.subject))
                return replace(account, password_hash=new_hash)
        return account

    def _give_back(self, reserved: tuple[Count, ...]) -> None:
        with self._database.writing() as tx:
            self._throttle.give_back(tx, reserved)


def _taken(username: str, *, the_very_name: bool) -> UsernameRefusedError:
    problem = "is taken" if the_very_name else "looks like the name of another account"
    return UsernameRefusedError(f"The username {username} {problem}: choose another.")


def _folded(username: str) -> str | None:
    try:
        return names.fold(username)
    except UsernameRefusedError:
        return None
