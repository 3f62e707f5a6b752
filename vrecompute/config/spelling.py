"""How one value of a site is spelled in YAML, what it becomes, and how it is written back.

The dataclasses of `vrecompute.sites.model` annotate their keys with these, so type, reader, writer and JSON schema
of a key stand in one place. pydantic finds the two hooks by name; nothing here imports it before a file is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_args

from vrecompute import units
from vrecompute.addresses import address_fault

if TYPE_CHECKING:
    from pydantic_core.core_schema import CoreSchema

__all__ = [
    "VARIABLES",
    "Count",
    "Duration",
    "EnvName",
    "Flag",
    "Host",
    "Memory",
    "Name",
    "OnSite",
    "PortRange",
    "Ports",
    "Profile",
    "Ratio",
    "SecretFile",
    "ShellLine",
    "Spelling",
    "Text",
    "Url",
    "Variable",
    "VersionNumber",
    "read_count",
    "read_flag",
    "read_ports",
    "read_ratio",
    "read_text",
    "shown",
]


#: A variable as `OnSite` texts may hold it; its name is in one of the two groups.
VARIABLES = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})")

_NAME = "[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"
_HOST = r"[A-Za-z0-9]([A-Za-z0-9_.-]*@)?[A-Za-z0-9_.:-]{0,253}"
_PROFILE = "[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}"
_SECRET_FILE = "~?/[A-Za-z0-9_.@/-]{1,255}"
_VARIABLE = "[A-Za-z_][A-Za-z0-9_]{0,63}"
_ENV_NAME = "[A-Z_][A-Z0-9_]{0,63}"


@dataclass(frozen=True, eq=False)
class Spelling:
    """One kind of value: its word in documents, its reader, its JSON schema and its writer.

    `read` raises ValueError saying what to write instead.
    """

    word: str
    read: Callable[[object], Any]
    json_schema: dict[str, Any]
    write: Callable[[Any], Any] = lambda value: value

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: Any) -> dict[str, Any]:
        return dict(self.json_schema)


class VersionNumber:
    """Of a `Literal` of whole numbers: what Python takes to be equal, as true and 1.0 are to 1, is refused."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        from pydantic_core import core_schema

        (number,) = get_args(source)

        def read(value: object) -> object:
            if isinstance(value, bool | float):
                raise ValueError(f"expected {number}, found {shown(value)}; write {number}")
            return value

        return core_schema.no_info_before_validator_function(read, handler(source))


@dataclass(frozen=True, order=True)
class PortRange:
    """TCP ports `first` to `last`, both included."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}-{self.last}" if self.last > self.first else str(self.first)

    def __len__(self) -> int:
        return self.last - self.first + 1


def shown(value: object) -> str:
    """How a message quotes a value that was written."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "null"
    return f"'{value if len(value) <= 100 else value[:97] + '...'}'" if isinstance(value, str) else str(value)


def read_text(value: object) -> str:
    """One line of printable text."""
    if not isinstance(value, str):
        if isinstance(value, (dict, list)):
            raise ValueError(f"expected text, found {shown(value)}; write one value")
        raise ValueError(f'expected text, found {shown(value)}; write "{shown(value)}" in quotes')
    if not value.strip():
        raise ValueError("empty; write a value, or null for the default")
    if not value.isprintable():
        raise ValueError("holds a line break or another control character; write it on one line")
    return value


def _read_literal(value: object) -> str:
    text = read_text(value)
    if "$" in text or "`" in text:
        raise ValueError("variables are not resolved here; write the value itself")
    return text


def _read_on_site(value: object) -> str:
    text = read_text(value)
    rest = VARIABLES.sub("", text)
    if "$" in rest or "`" in rest:
        raise ValueError("only plain variables ($NAME or ${NAME}) are resolved on the site; write no commands")
    return text


def _read_url(value: object) -> str:
    text = _read_literal(value)
    if not re.fullmatch(r"https?://[^/\s]+\S*", text):
        raise ValueError(f"'{text}' is not a web address; did you mean 'https://{text.split('://')[-1]}'?")
    if fault := address_fault(text):
        raise ValueError(f"'{text}': {fault}")
    return text


def _read_name(value: object) -> str:
    text = _read_literal(value)
    if not re.fullmatch(_NAME, text):
        meant = re.sub(r"[^A-Za-z0-9_.-]+", "-", text).lstrip("-._").rstrip("-.")
        hint = f"; did you mean '{meant}'?" if meant else ""
        raise ValueError(
            f"'{text}' is not a name of letters, digits, '-', '_' and '.' that begins with a letter or digit{hint}"
        )
    return text


def _read_host(value: object) -> str:
    text = _read_literal(value)
    # it ends in the argument list of ssh, where a leading '-' would be an option
    if not re.fullmatch(_HOST, text):
        raise ValueError(f"'{text}' is not a host; write its name, such as login.example.org")
    return text


def _read_variable(value: object) -> str:
    text = _read_literal(value)
    if not re.fullmatch(_VARIABLE, text):
        raise ValueError(f"'{text}' is not the name of a variable; write letters, digits and '_' only")
    return text


def _reference(what: str, pattern: str) -> Callable[[object], str]:
    """A reader of where a secret is. It never shows what it refuses: that may be the secret itself."""

    def read(value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value) or re.search(r"[A-Za-z0-9]{30}", value):
            raise ValueError(f"expected {what}; a secret itself does not belong in a site file")
        return value

    return read


def read_flag(value: object) -> bool:
    """True or false, and none of the other words that YAML once took for them."""
    if isinstance(value, bool):
        return value
    words = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}
    words |= {"true": "true", "false": "false", "1": "true", "0": "false"}
    meant = words.get(str(value).lower())
    raise ValueError(
        f"expected true or false, found {shown(value)}; " + (f"did you mean {meant}?" if meant else "write one of them")
    )


def read_count(value: object) -> int:
    """A whole number from 1 up."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 1:
            raise ValueError(f"expected a whole number from 1 up, found {value}; write at least 1")
        return value
    digits = re.sub(r"[_, ]", "", value) if isinstance(value, str) else ""
    hint = f"; did you mean {int(digits)}?" if re.fullmatch(r"[0-9]{1,18}", digits) else "; write digits, such as 4"
    raise ValueError(f"expected a whole number, found {shown(value)}{hint}")


def read_ratio(value: object) -> float:
    """A number that is not negative."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if value < 0:
            raise ValueError(f"expected a number that is not negative, found {value}; write 0 or more")
        return float(value)
    match = (
        re.match(r"[0-9]+(\.[0-9]+)?(?![eE.0-9])", value.replace("_", "").replace(",", "."))
        if isinstance(value, str)
        else None
    )
    hint = f"; did you mean {match[0]}?" if match else "; write digits, such as 1.5"
    raise ValueError(f"expected a number, found {shown(value)}{hint}")


def read_ports(value: object) -> PortRange:
    """One port, or a range of them."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    match = re.fullmatch(r"([0-9]{1,5})(?: ?- ?([0-9]{1,5}))?", text) if isinstance(text, str) else None
    if match is None:
        numbers = re.findall(r"[0-9]+", text)[:2] if isinstance(text, str) else []
        hint = f"did you mean '{'-'.join(numbers)}'?" if len(numbers) == 2 else "write 10000-10100, or one port"
        raise ValueError(f"{shown(value)} is not a range of ports; {hint}")
    first, last = int(match[1]), int(match[2] or match[1])
    if first > last:
        raise ValueError(f"the range {first}-{last} runs backwards; did you mean '{last}-{first}'?")
    if not 1 <= first <= last <= 65535:
        raise ValueError(f"ports go from 1 to 65535, found {shown(value)}; write 10000-10100")
    return PortRange(first, last)


def _write_ratio(value: float) -> float | int:
    return int(value) if value.is_integer() else value


def _text(pattern: str) -> dict[str, Any]:
    return {"type": "string", "pattern": f"^{pattern}$"}


Text = Annotated[str, Spelling("text", _read_literal, {"type": "string", "minLength": 1})]
#: Text in which `$NAME` and `${NAME}` stay as written until the shell on the site resolves them.
OnSite = Annotated[str, Spelling("text, resolved on the site", _read_on_site, {"type": "string", "minLength": 1})]
#: A command in the words of bash, which runs on the site as it is written.
ShellLine = Annotated[str, Spelling("shell command", read_text, {"type": "string", "minLength": 1})]
Url = Annotated[str, Spelling("http(s) address", _read_url, {"type": "string", "pattern": "^https?://"})]
Name = Annotated[str, Spelling("name", _read_name, _text(_NAME))]
Host = Annotated[str, Spelling("host", _read_host, _text(_HOST))]
#: Names of where a secret is, never the secret.
Profile = Annotated[str, Spelling("name", _reference("the name of a profile", _PROFILE), _text(_PROFILE))]
SecretFile = Annotated[str, Spelling("path", _reference("a path from / or ~/", _SECRET_FILE), _text(_SECRET_FILE))]
EnvName = Annotated[
    str,
    Spelling(
        "name of a variable",
        _reference("the name of a variable, in capitals and without '$'", _ENV_NAME),
        _text(_ENV_NAME),
    ),
]
Variable = Annotated[str, Spelling("name of a variable", _read_variable, _text(_VARIABLE))]
Flag = Annotated[bool, Spelling("true or false", read_flag, {"type": "boolean"})]
Count = Annotated[int, Spelling("whole number", read_count, {"type": "integer", "minimum": 1})]
Ratio = Annotated[float, Spelling("number", read_ratio, {"type": "number", "minimum": 0}, _write_ratio)]
#: Bytes inside, `80GiB` in YAML.
Memory = Annotated[
    int,
    Spelling("memory", units.parse_memory, {"type": "string", "pattern": units.MEMORY_PATTERN}, units.format_memory),
]
#: Seconds inside, `12h` in YAML.
Duration = Annotated[
    int,
    Spelling(
        "duration",
        units.parse_duration,
        {"type": "string", "pattern": units.DURATION_PATTERN},
        units.format_duration,
    ),
]
Ports = Annotated[
    PortRange,
    Spelling("ports", read_ports, {"type": ["string", "integer"], "pattern": "^[0-9]{1,5}(-[0-9]{1,5})?$"}, str),
]
