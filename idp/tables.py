"""Every room's tables, for migrations only."""

from idp.accounts import models as accounts
from idp.authorization import models as authorization
from idp.clients import models as clients
from idp.consent import models as consent
from idp.delivery import models as delivery
from idp.discovery import models as discovery
from idp.grants import models as grants
from idp.keys import models as keys
from idp.registration import models as registration
from idp.runtime.database import Base
from idp.sessions import models as sessions
from idp.signals import models as signals
from idp.tokens import models as tokens

ROOMS = (accounts, authorization, clients, consent, delivery, discovery, grants, keys, registration, sessions, signals, tokens)
metadata = Base.metadata
