"""The services of one deployment, and what each is built from: the commands and the web application share them.

A room is imported when a service of its is first asked for. `idp user add` waits for no worker, `idp --help` for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar, cast

from idp.config import OperatorError, Settings, SettingsError
from idp.runtime import migrations
from idp.runtime.clock import Clock, system_clock
from idp.runtime.database import Database
from idp.runtime.limits import Limits
from idp.runtime.secrets import Secrets

if TYPE_CHECKING:
    from idp.accounts.service import AccountService
    from idp.authorization.service import AuthorizationService
    from idp.clients.service import ClientService
    from idp.consent.service import ConsentService
    from idp.delivery.service import DeliveryService
    from idp.delivery.worker import Worker
    from idp.discovery.health import Health
    from idp.grants.service import CodeService
    from idp.housekeeping import Housekeeper
    from idp.issuing.service import IssuingService
    from idp.keys.backends import Holder
    from idp.keys.rules import KeyPolicy
    from idp.keys.service import KeyService
    from idp.logout.check import Checker
    from idp.logout.reaper import Reaper
    from idp.logout.service import LogoutService
    from idp.registration.rules import RegistrationPolicy
    from idp.registration.service import RegistrationService
    from idp.runtime.outbound.client import Outbound
    from idp.runtime.pulse import Pulse
    from idp.runtime.supervision import Watch
    from idp.sessions.service import SessionService
    from idp.signals.push import Pushing
    from idp.signals.sequencer import Sequencer
    from idp.signals.service import SignalService
    from idp.signals.streams import StreamService
    from idp.status_list.service import StatusListService
    from idp.tokens.service import TokenService

#: For the hub, and then for the attempts in flight: both together are less than the 4 seconds that a process has to stop in.
_STOP_SECONDS = 1.75
_Service = TypeVar("_Service")


class SchemaBehindError(OperatorError):
    """The database's schema is not this installation's; only an operator may change it there."""

    def __str__(self) -> str:
        return "The database schema is not the one this version of idp needs: run `idp migrate` once, then start again."


class _Late:
    """Stands for a service that is built when something is first asked of it."""

    def __init__(self, build: Callable[[], object]) -> None:
        self._build = build

    def __getattr__(self, name: str) -> object:
        return getattr(self._build(), name)


def _late(build: Callable[[], _Service]) -> _Service:
    """What many commands are handed and few use: `idp user add` is handed what ends sessions."""
    return cast("_Service", _Late(build))


class Provider:
    """Every service of one deployment, built from its settings."""

    def __init__(self, settings: Settings, clock: Clock = system_clock) -> None:
        """Nothing is started, and the database is not touched yet. Raises SettingsError."""
        problem = key_policy(settings).problem()
        if problem is not None:
            raise SettingsError(problem)
        self.settings = settings
        self.clock = clock
        self.database = Database(settings.database, clock, Limits.of(settings))

    def complete(self) -> Provider:
        """Build what has not been asked for yet: where several threads use them, none may be built twice."""
        for name, member in vars(Provider).items():
            if isinstance(member, cached_property):
                getattr(self, name)
        return self

    def prepare(self) -> None:
        """See that the schema is the one needed; on the embedded database it is brought up to date.

        Raises SchemaBehindError, and UnsealError where the deployment's secret is not the one that the database knows.
        """
        from idp.keys import sealing

        if self.settings.embedded:
            if self.settings.database_url == "":
                self.settings.make_data_dir()
            migrations.upgrade(self.database)
        elif migrations.current(self.database) != migrations.head():
            raise SchemaBehindError
        with self.database.reading() as tx:
            sealing.check(tx, self.secrets)

    def start(self) -> None:
        """Start what runs beside the requests: the pulse, the key schedule, the delivery worker, the hub, the housekeeping."""
        self.pulse.start()
        self.keys.start()
        self.worker.start()
        self.hub.start()
        self.reaper.start()
        self.housekeeper.start()

    def stop(self) -> None:
        """Stop it again, and close the database."""
        self.housekeeper.stop()
        self.reaper.stop()
        self.worker.stop(0)  # from here on it takes nothing more: it has the hub's time, too
        self.hub.stop(_STOP_SECONDS)
        self.keys.stop()
        self.worker.stop(_STOP_SECONDS)
        self.pulse.stop()
        self.database.dispose()

    # -- the services, from the ground up ---------------------------------------------------------------------------

    @cached_property
    def secrets(self) -> Secrets:
        """The deployment's secrets. Raises SettingsError."""
        return Secrets(self.settings.secret_keys)

    @cached_property
    def keys(self) -> KeyService:
        """Signing keys. Raises SettingsError where an HSM is named and what it needs is not installed."""
        from idp.keys.service import KeyService

        return KeyService(
            self.database,
            self.secrets,
            key_policy(self.settings),
            self.settings.keys_rsa_bits,
            algorithms=self.settings.keys_algorithms,
            hsm=_hsm(self.settings, self.clock),
        )

    @cached_property
    def pulse(self) -> Pulse:
        """Whether the database does its work."""
        from idp.discovery.health import pulse_of

        return pulse_of(self.database)

    @cached_property
    def health(self) -> Health:
        """Whether this instance can do its work."""
        from idp.discovery.health import Health

        return Health([self.pulse.problem, self.keys.problem, self.watch.problem])

    @cached_property
    def outbound(self) -> Outbound:
        """The one guarded way out."""
        from idp.runtime.outbound.client import Outbound

        settings = self.settings
        return Outbound(
            allow=settings.outbound_allow,
            allow_loopback=not settings.secure,
            ca_file=settings.outbound_ca_file,
            timeout=settings.delivery_timeout,
        )

    @cached_property
    def clients(self) -> ClientService:
        """The relying parties."""
        from idp.clients.keys import ClientKeys
        from idp.clients.service import ClientService
        from idp.clients.uri_checks import Outside

        settings = self.settings
        return ClientService(
            self.database,
            cache_seconds=settings.clients_cache_seconds,
            loopback_http=not settings.secure,
            id_token_algs=settings.keys_algorithms,
            response_types=settings.authorization_response_types,
            issuer=settings.issuer,
            secrets=self.secrets,
            keys=ClientKeys(self.outbound, self.clock, cache_seconds=settings.clients_jwks_cache_seconds),
            outside=Outside(self.outbound),
            unused_seconds=settings.clients_registration_unused,
        )

    @cached_property
    def registrations(self) -> RegistrationService:
        """Clients that register themselves."""
        from idp.registration.service import RegistrationService

        return RegistrationService(self.database, self.clients, registration_policy(self.settings), self.secrets)

    @cached_property
    def sessions(self) -> SessionService:
        """Browser sessions."""
        from idp.sessions.rules import SessionPolicy
        from idp.sessions.service import SessionService

        settings = self.settings
        policy = SessionPolicy(
            settings.sessions_idle_timeout, settings.sessions_absolute_timeout, settings.sessions_refresh_counts
        )
        return SessionService(self.database, policy, self.secrets)

    @cached_property
    def deliveries(self) -> DeliveryService:
        """What is sent to relying parties."""
        from idp.delivery.service import DeliveryService

        return DeliveryService(self.database, lanes=self.settings.delivery_lanes)

    @cached_property
    def tokens(self) -> TokenService:
        """Tokens."""
        from idp.tokens.rules import TokenPolicy
        from idp.tokens.service import TokenService

        settings = self.settings
        policy = TokenPolicy(
            settings.issuer,
            settings.tokens_access_token_lifetime,
            settings.tokens_id_token_lifetime,
            settings.tokens_refresh_token_lifetime,
            settings.tokens_refresh_retry_window,
            settings.signals_status_list,
            settings.tokens_refresh_parent_lifetime,
        )
        return TokenService(policy, self.keys, self.clients, self.sessions, self.secrets)

    @cached_property
    def _delivery_lifetime(self) -> int:
        return max(self.settings.delivery_lifetime, _longest_token(self.settings))

    @cached_property
    def _pushing(self) -> Pushing:
        from idp.signals.push import Pushing

        return Pushing(self.settings.issuer, self.deliveries, self.keys, self.secrets, self._delivery_lifetime)

    @cached_property
    def status_lists(self) -> StatusListService:
        """Status lists."""
        from idp.status_list.service import StatusListService

        return StatusListService(self.database, self.tokens, self.keys, ttl=self.settings.signals_status_ttl)

    @cached_property
    def signals(self) -> SignalService:
        """Security events."""
        from idp.signals.service import SignalService

        signals = SignalService(
            self.database,
            self.settings.issuer,
            self._pushing,
            longest_token=_longest_token(self.settings),
            clock_skew=self.settings.keys_clock_skew,
            retention=self.settings.signals_retention,
        )
        signals.when_owing(lambda tx: self.sessions.is_closing(tx) or self.tokens.is_closing(tx))
        return signals

    @cached_property
    def streams(self) -> StreamService:
        """Who follows security events."""
        from idp.signals.streams import StreamService, Timing

        timing = Timing(self.settings.signals_inactivity_timeout, self.settings.signals_min_verification_interval)
        return StreamService(self.signals, self._pushing, timing, self.clients)

    @cached_property
    def codes(self) -> CodeService:
        """Authorization codes in flight."""
        from idp.grants.service import CodeService

        return CodeService(self.settings.authorization_code_lifetime)

    @cached_property
    def logout(self) -> LogoutService:
        """The one door through which anything ends."""
        from idp.consent import service as consent
        from idp.logout.service import LogoutService
        from idp.tokens.subjects import Subjects

        logout = LogoutService(
            self.settings.issuer,
            self.sessions,
            self.clients,
            self.deliveries,
            self.keys,
            self._delivery_lifetime,
            self.codes,
            self.signals,
            Subjects(self.secrets),
            frontchannel=self.settings.logout_frontchannel,
        )
        logout.also_forgets(consent.forget_of)
        return logout

    @cached_property
    def checker(self) -> Checker:
        """`idp client check`."""
        from idp.logout.check import Checker

        return Checker(self.settings.issuer, self.keys, self.outbound)

    @cached_property
    def accounts(self) -> AccountService:
        """People."""
        from idp.accounts.service import AccountService

        return AccountService(self.database, self.settings, self.secrets, _late(lambda: self.logout))

    @cached_property
    def consents(self) -> ConsentService:
        """What people allowed."""
        from idp.consent.service import ConsentService

        return ConsentService(self.logout)

    @cached_property
    def authorization(self) -> AuthorizationService:
        """Authorization requests."""
        from idp.accounts import pages as accounts_pages
        from idp.authorization.request_object import RequestObjects
        from idp.authorization.request_uri import Documents
        from idp.authorization.service import AuthorizationService, AuthorizationServices

        settings, clients = self.settings, self.clients
        request_objects = RequestObjects(
            settings.issuer, clients, Documents(self.outbound.get), self.clock, settings.authorization_request_objects
        )
        return AuthorizationService(
            self.database,
            AuthorizationServices(clients, self.tokens, self.codes, self.consents, self.issuing, request_objects),
            settings.authorization_request_lifetime,
            accounts_pages.browser_of_request,
            issuer=settings.issuer,
            response_types=settings.authorization_response_types,
            most_of_network=settings.authorization_requests_per_network,
        )

    @cached_property
    def issuing(self) -> IssuingService:
        """The one door through which tokens are issued."""
        from idp.issuing.service import IssuingService

        return IssuingService(self.clients, self.accounts, self.sessions, self.tokens)

    @cached_property
    def worker(self) -> Worker:
        """What delivers."""
        from idp.delivery.worker import Worker
        from idp.logout.rules import BACKCHANNEL
        from idp.signals.push import KIND as PUSHED

        settings = self.settings
        return Worker(
            self.database,
            self.deliveries,
            self.outbound,
            {BACKCHANNEL: self.logout.compose, PUSHED: self._pushing.compose},
            concurrency=settings.delivery_concurrency,
            queue_limit=settings.delivery_queue_limit,
            poll_seconds=settings.delivery_poll_seconds,
        )

    @cached_property
    def hub(self) -> Sequencer:
        """Who waits for security events in this process."""
        from idp.signals.sequencer import Sequencer

        owing = [self.sessions.any_closing(), self.tokens.any_closing(self.database)]
        return Sequencer(self.database, self.signals, self.keys.load, owing)

    @cached_property
    def reaper(self) -> Reaper:
        """What ends what has run out."""
        from idp.logout.reaper import Reaper

        return Reaper(self.database, self.logout)

    @cached_property
    def housekeeper(self) -> Housekeeper:
        """What forgets what nobody needs any more."""
        from idp import retention
        from idp.housekeeping import Housekeeper

        kept = retention.kept_for(self.settings, _longest_token(self.settings))
        forget = (self.deliveries.forget, self.tokens.forget, self.sessions.forget, self.consents.forget)
        return Housekeeper(
            self.database,
            [
                self.accounts.tidy,
                self.authorization.tidy,
                self.clients.tidy,
                self.codes.tidy,
                self.deliveries.tidy,
                self.registrations.tidy,
                self.tokens.tidy,
                self.signals.tidy,
                self.streams.tidy,
                *retention.tidies(kept, *forget, self.clients.delete_removed),
            ],
        )

    @cached_property
    def watch(self) -> Watch:
        """Sees whether each thread beside the requests goes on."""
        from idp.runtime.supervision import Watch

        return Watch(
            self.pulse.thread,
            self.keys.rounds,
            self.worker.thread,
            self.hub.thread,
            self.reaper.rounds,
            self.housekeeper.rounds,
        )


def build(settings: Settings, clock: Clock = system_clock) -> Provider:
    """Build every service. Nothing is started, and the database is not touched yet. Raises SettingsError."""
    return Provider(settings, clock).complete()


def key_policy(settings: Settings) -> KeyPolicy:
    """The schedule of keys; what the rooms above sign decides how long a retired key must verify."""
    from idp.keys.rules import KeyPolicy
    from idp.logout.rules import LOGOUT_TOKEN_LIFETIME
    from idp.status_list import rules

    longest = max(
        _longest_token(settings),
        LOGOUT_TOKEN_LIFETIME,
        rules.lifetime(settings.signals_status_ttl) if settings.signals_status_list else 0,
    )
    return KeyPolicy(
        settings.keys_rotation_period,
        settings.keys_jwks_max_age,
        settings.keys_clock_skew,
        longest,
        settings.keys_verifier_cooldown,
    )


def _longest_token(settings: Settings) -> int:
    """For how many seconds a token of a person may be valid."""
    return max(settings.tokens_access_token_lifetime, settings.tokens_id_token_lifetime)


def registration_policy(settings: Settings) -> RegistrationPolicy:
    """Who may register clients, and how many."""
    from idp.registration.rules import RegistrationPolicy

    return RegistrationPolicy(
        settings.clients_registration,
        settings.clients_registration_limit,
        settings.clients_registration_hourly,
        settings.clients_registration_unused,
    )


def _hsm(settings: Settings, clock: Clock) -> Holder | None:
    """The HSM in which new keys are made, where there is one. Raises SettingsError."""
    if settings.keys_pkcs11_module is None:
        return None
    try:
        from idp.keys.pkcs11.hsm import Hsm
    except ModuleNotFoundError:
        message = 'IDP_KEYS_PKCS11_MODULE needs the package python-pkcs11: install it with `pip install "idp[pkcs11]"`.'
        raise SettingsError(message) from None
    pin = settings.keys_pkcs11_pin.get_secret_value()
    return Hsm(str(settings.keys_pkcs11_module), settings.keys_pkcs11_token, pin, settings.keys_rsa_bits, clock)
