"""The specifications' own examples, and how a document of ours differs from one in structure.

Each was compared with a text of its specification, on 2026-11-25:

- RFC 8417, 8935, 8936, 9493: the English column of `html/rfc….html` in github.com/tex2e/rfc-translater.
- CAEP 1.0: `1.0/openid-caep-1_0.md` in github.com/openid/sharedsignals (dbae8ed), which bears the date of publication, 2025-08-29.
- SSF 1.0: the text that was published on that day could not be had. These are the examples and the section numbers of the working
  group's text of 2025-06-03; the first text of 1.1 (`openid-sharedsignals-framework-1_1.md`, 447a6d8) has the same examples.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CAEP = "https://schemas.openid.net/secevent/caep/event-type/"
SSF = "https://schemas.openid.net/secevent/ssf/event-type/"
STREAM = "f67e39a0a4d34d56b3aa1bc4cff0069f"
STATE = "VGhpcyBpcyBhbiBleGFtcGxlIHN0YXRlIHZhbHVlLgo="

#: RFC 8417 §2.1 and §2.4: what stands around an event, whatever it is.
ENVELOPES: dict[str, dict[str, Any]] = {
    "RFC 8417 §2.1.1": {
        "iss": "https://scim.example.com",
        "iat": 1458496025,
        "jti": "3d0c3cf797584bd193bd0fb1bd4e7d30",
        "aud": [
            "https://jhub.example.com/Feeds/98d52461fa5bbc879593b7754",
            "https://jhub.example.com/Feeds/5d7604516b1d08641d7676ee7",
        ],
        "sub": "https://scim.example.com/Users/44f6142df96bd6ab61e7521d9",
        "events": {
            "urn:ietf:params:scim:event:passwordReset": {"id": "44f6142df96bd6ab61e7521d9"},
            "https://example.com/scim/event/passwordResetExt": {"resetAttempts": 5},
        },
    },
    "RFC 8417 §2.1.2": {
        "iss": "https://server.example.com",
        "sub": "248289761001",
        "aud": "s6BhdRkqt3",
        "iat": 1471566154,
        "jti": "bWJq",
        "sid": "08a5019c-17e1-4977-8f42-65a12843ea02",
        "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
    },
    "RFC 8417 §2.1.3": {
        "iss": "https://my.med.example.org",
        "iat": 1458496025,
        "jti": "fb4e75b5411e4e19b6c0fe87950f7749",
        "aud": ["https://rp.example.com"],
        "events": {
            "https://openid.net/heart/specs/consent.html": {
                "iss": "https://connect.example.com",
                "sub": "248289761001",
                "consentUri": ["https://terms.med.example.org/labdisclosure.html#Agree"],
            }
        },
    },
    "RFC 8417 §2.1.4": {
        "iss": "https://idp.example.com/",
        "jti": "756E69717565206964656E746966696572",
        "iat": 1508184845,
        "aud": "636C69656E745F6964",
        "events": {
            "https://schemas.openid.net/secevent/risc/event-type/account-disabled": {
                "subject": {"subject_type": "iss-sub", "iss": "https://idp.example.com/", "sub": "7375626A656374"},
                "reason": "hijacking",
            }
        },
    },
    "RFC 8417 §2.4": {
        "iss": "https://scim.example.com",
        "iat": 1458496404,
        "jti": "4d3559ec67504aaba65d40b0363faad8",
        "aud": [
            "https://scim.example.com/Feeds/98d52461fa5bbc879593b7754",
            "https://scim.example.com/Feeds/5d7604516b1d08641d7676ee7",
        ],
        "events": {
            "urn:ietf:params:scim:event:create": {
                "ref": "https://scim.example.com/Users/44f6142df96bd6ab61e7521d9",
                "attributes": ["id", "name", "userName", "password", "emails"],
            }
        },
    },
}

#: Subject identifiers by their format: RFC 9493 §3.2.3 and §3.2.4, SSF 1.0 §3.5.1.
SUBJECTS: dict[str, dict[str, Any]] = {
    "iss_sub": {"format": "iss_sub", "iss": "https://issuer.example.com/", "sub": "145234573"},
    "opaque": {"format": "opaque", "id": "11112222333344445555"},
    "jwt_id": {
        "format": "jwt_id",
        "iss": "https://idp.example.com/123456789/",
        "jti": "B70BA622-9515-4353-A866-823539EECBC8",
    },
}
#: SSF 1.0 §3.3: the members of a complex subject that have a name there.
MEMBERS = {"user", "device", "session", "application", "tenant", "org_unit", "group"}

#: CAEP 1.0 §3.1.2, the second one.
SESSION_REVOKED: dict[str, Any] = {
    "iss": "https://idp.example.com/123456789/",
    "jti": "24c63fb56e5a2d77a6b512616ca9fa24",
    "iat": 1615305159,
    "aud": "https://sp.example.com/caep",
    "txn": "8675309",
    "sub_id": {
        "format": "complex",
        "session": {"format": "opaque", "id": "dMTlD|1600802906337.16|16008.16"},
        "user": {
            "format": "iss_sub",
            "iss": "https://idp.example.com/123456789/",
            "sub": "99beb27c-c1c2-4955-882a-e0dc4996fcbc",
        },
        "tenant": {"format": "opaque", "id": "123456789"},
    },
    "events": {
        f"{CAEP}session-revoked": {
            "initiating_entity": "policy",
            "reason_admin": {"en": "Landspeed Policy Violation: C076E82F"},
            "reason_user": {
                "en": "Access attempt from multiple regions.",
                "es-410": "Intento de acceso desde varias regiones.",
            },
            "event_timestamp": 1615304991,
        }
    },
}
#: CAEP 1.0 §3.3.2.
CREDENTIAL_CHANGE: dict[str, Any] = {
    "iss": "https://idp.example.com/3456789/",
    "jti": "07efd930f0977e4fcc1149a733ce7f78",
    "iat": 1615305159,
    "aud": "https://sp.example2.net/caep",
    "txn": "8675309",
    "sub_id": {"format": "iss_sub", "iss": "https://idp.example.com/3456789/", "sub": "jane.smith@example.com"},
    "events": {
        f"{CAEP}credential-change": {
            "credential_type": "fido2-roaming",
            "change_type": "create",
            "fido2_aaguid": "accced6a-63f5-490a-9eea-e59bc1896cfc",
            "friendly_name": "Jane's USB authenticator",
            "initiating_entity": "user",
            "reason_admin": {"en": "User self-enrollment"},
            "event_timestamp": 1615304991,
        }
    },
}
#: CAEP 1.0 §2 and §3.3.1: the words that there are. Of credential types there may be others, too.
ENTITIES = {"admin", "user", "policy", "system"}
CREDENTIALS = {
    *{"password", "pin", "x509", "fido2-platform", "fido2-roaming", "fido-u2f"},
    *{"verifiable-credential", "phone-voice", "phone-sms", "app"},
}
CHANGES = {"create", "revoke", "update", "delete"}

#: SSF 1.0 §8.1.4.2, the answer to its request.
VERIFICATION: dict[str, Any] = {
    "jti": "123456",
    "iss": "https://transmitter.example.com",
    "aud": "receiver.example.com",
    "iat": 1493856000,
    "sub_id": {"format": "opaque", "id": STREAM},
    "events": {f"{SSF}verification": {"state": STATE}},
}
#: SSF 1.0 §7.2.3.
CONFIGURATION: dict[str, Any] = {
    "spec_version": "1_0",
    "issuer": "https://tr.example.com",
    "jwks_uri": "https://tr.example.com/jwks.json",
    "delivery_methods_supported": ["urn:ietf:rfc:8935", "urn:ietf:rfc:8936"],
    "configuration_endpoint": "https://tr.example.com/ssf/mgmt/stream",
    "status_endpoint": "https://tr.example.com/ssf/mgmt/status",
    "add_subject_endpoint": "https://tr.example.com/ssf/mgmt/subject:add",
    "remove_subject_endpoint": "https://tr.example.com/ssf/mgmt/subject:remove",
    "verification_endpoint": "https://tr.example.com/ssf/mgmt/verification",
    "critical_subject_members": ["tenant", "user"],
    "authorization_schemes": [{"spec_urn": "urn:ietf:rfc:6749"}, {"spec_urn": "urn:ietf:rfc:8705"}],
    "default_subjects": "NONE",
}
#: SSF 1.0 §8.1.1.1, without the example's address: it must be one that can be reached.
CREATE: dict[str, Any] = {
    "events_requested": [
        "urn:example:secevent:events:type_2",
        "urn:example:secevent:events:type_3",
        "urn:example:secevent:events:type_4",
    ],
    "description": "Stream for Receiver A using events type_2, type_3, type_4",
}
CREATED: dict[str, Any] = {
    "stream_id": STREAM,
    "iss": "https://tr.example.com",
    "aud": ["https://receiver.example.com/web", "https://receiver.example.com/mobile"],
    "delivery": {"method": "urn:ietf:rfc:8935", "endpoint_url": "https://receiver.example.com/events"},
    "events_supported": [
        "urn:example:secevent:events:type_1",
        "urn:example:secevent:events:type_2",
        "urn:example:secevent:events:type_3",
    ],
    "events_requested": [
        "urn:example:secevent:events:type_2",
        "urn:example:secevent:events:type_3",
        "urn:example:secevent:events:type_4",
    ],
    "events_delivered": ["urn:example:secevent:events:type_2", "urn:example:secevent:events:type_3"],
    "description": "Stream for Receiver A using events type_2, type_3, type_4",
}
#: SSF 1.0 §8.1.2.2: the request with a reason, and the answer.
STATUS: dict[str, Any] = {"stream_id": STREAM, "status": "paused", "reason": "Disabled by administrator action."}
#: SSF 1.0 §8.1.3.2, §8.1.3.3, §8.1.4.2: path, body, and the status of the answer.
REQUESTS: list[tuple[str, dict[str, Any], int]] = [
    (
        "subjects/add",
        {"stream_id": STREAM, "subject": {"format": "email", "email": "example.user@example.com"}, "verified": True},
        200,
    ),
    ("subjects/remove", {"stream_id": STREAM, "subject": {"format": "phone", "phone_number": "+12065550123"}}, 204),
    ("verify", {"stream_id": STREAM, "state": STATE}, 204),
]
#: RFC 8936 §2.4.1 to §2.4.4: the bodies of polls, figures 1 to 5.
POLLS: list[dict[str, Any]] = [
    {"returnImmediately": True},
    {},
    {
        "ack": ["4d3559ec67504aaba65d40b0363faad8", "3d0c3cf797584bd193bd0fb1bd4e7d30"],
        "maxEvents": 0,
        "returnImmediately": True,
    },
    {"ack": ["4d3559ec67504aaba65d40b0363faad8", "3d0c3cf797584bd193bd0fb1bd4e7d30"], "returnImmediately": False},
    {
        "ack": ["3d0c3cf797584bd193bd0fb1bd4e7d30"],
        "setErrs": {
            "4d3559ec67504aaba65d40b0363faad8": {
                "err": "authentication_failed",
                "description": "The SET could not be authenticated",
            }
        },
        "returnImmediately": True,
    },
]
#: RFC 8936 §2.5, figure 7: `moreAvailable` may be left out (§2.3). RFC 8935 §2.1: the headers that a push must have; the example
#: has `Accept-Language` besides.
POLLED: dict[str, Any] = {"sets": {}}
PUSHED = {"Content-Type": "application/secevent+jwt", "Accept": "application/json"}


@dataclass(frozen=True)
class Difference:
    """The members, by their path, that ours leaves out of an example, adds to it, or gives another JSON type."""

    left_out: frozenset[str] = frozenset()
    added: frozenset[str] = frozenset()
    retyped: frozenset[str] = frozenset()


def difference(ours: Mapping[str, Any], example: Mapping[str, Any]) -> Difference:
    """How the structure of `ours` differs. An event's own name counts for nothing here."""
    mine, theirs = dict(_members(ours)), dict(_members(example))
    return Difference(
        frozenset(_outermost(theirs.keys() - mine.keys())),
        frozenset(_outermost(mine.keys() - theirs.keys())),
        frozenset(path for path in mine.keys() & theirs.keys() if mine[path] is not theirs[path]),
    )


def _members(document: Mapping[str, Any], path: str = "") -> list[tuple[str, type]]:
    found: list[tuple[str, type]] = []
    for name, value in document.items():
        here = f"{path}event" if path == "events." else f"{path}{name}"
        found.append((here, type(value)))
        # Whose language a reason is in, and which SETs there are, is no structure.
        if isinstance(value, dict) and name not in {"reason_admin", "reason_user", "sets"}:
            found += _members(value, f"{here}.")
    return found


def _outermost(paths: set[str]) -> set[str]:
    return {path for path in paths if not any(path.startswith(f"{other}.") for other in paths)}
