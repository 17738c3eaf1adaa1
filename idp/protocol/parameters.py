"""Request parameters, parsed once and strictly: UTF-8, bounded, and each name once (RFC 6749 §3.1, §3.2)."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl

MAXIMUM_PARAMETERS = 64
_NAME = re.compile(r"[a-z_]{1,40}")


class MalformedParametersError(ValueError):
    """Parameters that cannot be read at all. Its text may be shown as `error_description`."""


class Parameters(Mapping[str, str]):
    """The parameters of one request. A parameter without a value counts as absent (RFC 6749 §3.1)."""

    def __init__(self, values: Mapping[str, str], repeated: frozenset[str] = frozenset()) -> None:
        self._values = dict(values)
        #: Names that came more than once; the first value of each is kept, for error messages only.
        self.repeated = repeated

    @classmethod
    def parse(cls, encoded: bytes) -> "Parameters":
        """Parse `application/x-www-form-urlencoded` bytes. Raises MalformedParametersError."""
        try:
            pairs = parse_qsl(
                encoded.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAXIMUM_PARAMETERS
            )
        except UnicodeDecodeError:
            message = "the parameters are not percent-encoded UTF-8"
            raise MalformedParametersError(message) from None
        except ValueError:
            message = f"there are more than {MAXIMUM_PARAMETERS} parameters"
            raise MalformedParametersError(message) from None
        for name, value in pairs:
            if "\x00" in name or "\x00" in value:
                message = f"the parameter {name if _NAME.fullmatch(name) else 'with a strange name'} holds a NUL character"
                raise MalformedParametersError(message)
        counted = Counter(name for name, _ in pairs)
        values: dict[str, str] = {}
        for name, value in pairs:
            if value:
                values.setdefault(name, value)
        return cls(values, frozenset(name for name, count in counted.items() if count > 1))

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)
