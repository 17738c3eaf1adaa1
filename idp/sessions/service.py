"""Starting, finding and using browser sessions."""

from collections.abc import Collection
from dataclasses import dataclass

from idp.clients.rules import Client
from idp.runtime import audit, secrets
from idp.runtime.clock import Instant
from idp.runtime.database import Database, Glance, Transaction
from idp.runtime.paging import Page
from idp.runtime.secrets import Secrets
from idp.sessions import rules, store
from idp.sessions.rules import Participation, Session, SessionPolicy, SignIn

_PURPOSE = "sector sid"
#: As many sessions as are looked at together, where nobody says how many.
_FIRST = Page(1000)


@dataclass(frozen=True, slots=True)
class Started:
    """A session and the secret that its cookie carries: the only time that this secret is seen."""

    session: Session
    cookie: str


class SessionService:
    """The provider's browser sessions. It never ends one: see `idp.logout`."""

    def __init__(self, database: Database, policy: SessionPolicy, keys: Secrets) -> None:
        self._database = database
        self._keys = keys
        self.policy = policy

    def start(self, tx: Transaction, sign_in: SignIn) -> Started:
        """A new session with a new `sid` and a new cookie, at every sign-in (no fixation: OWASP ASVS 5 V7.2)."""
        cookie = secrets.token(rules.COOKIE_BYTES)
        begins = rules.begins(tx.now, store.closed_until(tx, sign_in.subject))
        session = Session(
            sid=secrets.token(rules.SID_BYTES),
            cookie_hash=secrets.digest(cookie),
            subject=sign_in.subject,
            started_at=begins,
            auth_time=tx.now,
            last_used_at=tx.now,
            expires_at=tx.now + self.policy.absolute_timeout,
            amr=sign_in.amr,
            address=sign_in.address[:64],
            user_agent=sign_in.user_agent[:256],
            ended_at=None,
            end_reason=None,
        )
        store.add(tx, session)
        tx.after_commit(lambda: audit.record("session.started", sid=session.sid, subject=session.subject))
        return Started(session, cookie)

    def renew(self, tx: Transaction, sid: str, sign_in: SignIn) -> Started | None:
        """The same person signed in again: the `sid` that relying parties know stays, cookie and `auth_time` are new.

        None when the session ended meanwhile.
        """
        cookie = secrets.token(rules.COOKIE_BYTES)
        how = (sign_in.amr, sign_in.address[:64], sign_in.user_agent[:256])
        session = store.renew(tx, sid, secrets.digest(cookie), how, self.policy)
        if session is None:
            return None
        tx.after_commit(lambda: audit.record("session.renewed", sid=session.sid, subject=session.subject))
        return Started(session, cookie)

    def change_cookie(self, tx: Transaction, sid: str) -> Started | None:
        """The session goes on with another cookie: a copy of the one it had opens nothing from now on.

        None when the session ended meanwhile.
        """
        cookie = secrets.token(rules.COOKIE_BYTES)
        session = store.change_cookie(tx, sid, secrets.digest(cookie), self.policy)
        if session is None:
            return None
        tx.after_commit(lambda: audit.record("session.cookie_changed", sid=session.sid, subject=session.subject))
        return Started(session, cookie)

    def of_cookie(self, tx: Transaction, cookie: str) -> Session | None:
        """The live session of a cookie. A use is noted afterwards, if the last one that was noted is old enough."""
        session = store.alive_by_cookie(tx, secrets.digest(cookie), self.policy)
        if session is not None:
            self.note_use(tx, session)
        return session

    def note_use(self, tx: Transaction, session: Session) -> None:
        """Note that the session was used, in a transaction of its own, so that its row is not locked here."""
        if session.last_used_at <= rules.noted_before(self.policy, tx.now):
            tx.after_commit(lambda: self._touch(session.sid))

    def note_use_by_app(self, tx: Transaction, session: Session) -> None:
        """Note that an app used the session, on the person's behalf, where that counts."""
        if self.policy.refresh_counts:
            self.note_use(tx, session)

    def _touch(self, sid: str) -> None:
        with self._database.writing() as tx:
            store.touch(tx, sid, self.policy)

    def get(self, tx: Transaction, sid: str) -> Session | None:
        """The session, alive or not."""
        return store.by_sid(tx, sid)

    def runs_out(self, session: Session) -> Instant:
        """When its time is over if nobody uses it until then."""
        return rules.runs_out(session, self.policy)

    def alive(self, tx: Transaction, sid: str) -> Session | None:
        """The session, if it is alive."""
        return store.alive_by_sid(tx, sid, self.policy)

    def hold(self, tx: Transaction, sid: str) -> Session | None:
        """The live session, its row locked until the commit, so that an end waits for what is done under it.

        Whoever lets a client take part must hold the session: an end that runs at the same moment then sees it.
        """
        return store.hold(tx, sid, self.policy)

    def take_part(self, tx: Transaction, session: Session, client: Client) -> None:
        """Write down that the client takes part in a session that the caller holds, and under which name it knows it."""
        sector = client.pairwise_sector
        sector_sid = None if sector is None else rules.sector_sid(self._keys.key(_PURPOSE), sector, session.sid)
        store.take_part(tx, session.sid, client.client_id, sector, sector_sid)

    def sid_for(self, tx: Transaction, client: Client, sid: str) -> str:
        """The `sid` by which the client knows the session: its sector's own, where its subjects are pairwise.

        What the client was told once counts. A client that knows the session's own `sid` costs no query.
        """
        sector = client.pairwise_sector
        if sector is None:
            return sid
        written = store.participation(tx, sid, client.client_id)
        return rules.sector_sid(self._keys.key(_PURPOSE), sector, sid) if written is None else written.told_sid

    def is_known_as(self, tx: Transaction, sid: str, client_id: str, told: str) -> bool:
        """Whether `told` is a name under which the client knows the session: what an ID token said that we signed for it."""
        if told == sid:
            return True
        written = store.participation(tx, sid, client_id)
        return written is not None and written.told_sid == told

    def clients_of(self, tx: Transaction, sid: str) -> list[str]:
        """Who took part, in the order in which they came."""
        return [each.client_id for each in store.taken_part(tx, sid)]

    def taken_part(self, tx: Transaction, sid: str) -> list[Participation]:
        """Who took part, and since when."""
        return store.taken_part(tx, sid)

    def taken_part_in(self, tx: Transaction, sids: Collection[str]) -> dict[str, list[Participation]]:
        """Who took part in each of these sessions, in the order in which they came: one question for all."""
        found: dict[str, list[Participation]] = {sid: [] for sid in sids}
        for part in store.taken_part_in(tx, sids):
            found[part.sid].append(part)
        return found

    def is_closing(self, tx: Transaction, subject: str | None = None) -> bool:
        """Whether an end of very many sessions is carried out just now, of this person or of anybody."""
        return store.any_closing(tx) if subject is None else store.is_closing(tx, subject)

    def any_closing(self) -> Glance:
        """Answers the same, of anybody, for next to nothing."""
        return self._database.glance(store.ANY_CLOSING)

    def stale(self, tx: Transaction, limit: int) -> list[str]:
        """The `sid`s of sessions whose time is over though nobody marked them; each is another process's or this one's."""
        return store.stale(tx, self.policy, limit)

    def overdue(self, tx: Transaction, since: Instant) -> list[str]:
        """The `sid`s of sessions that are over though nobody marked them, for whoever only looks.

        They are closed, or their time was over after `since`.
        """
        return [*store.closed_sids(tx), *store.ran_out(tx, self.policy, since)]

    def listed(
        self, tx: Transaction, page: Page = _FIRST, *, subject: str | None = None, client_id: str | None = None
    ) -> list[Session]:
        """The live sessions, of one person or one client if named, newest use first: one page of them."""
        return store.listed(tx, self.policy, page, subject=subject, client_id=client_id)

    def count(self, tx: Transaction, subject: str) -> int:
        """How many live sessions a person has."""
        return store.count(tx, self.policy, subject)

    def senders(self, tx: Transaction) -> tuple[int, list[str]]:
        """How many people have a live session, and from which addresses; of those two at the most."""
        return store.senders(tx, self.policy)

    def forget(self, tx: Transaction, before: Instant, most: int) -> int:
        """Delete sessions that ended before `before`, at most `most`; returns the number."""
        return store.forget(tx, before, most)
