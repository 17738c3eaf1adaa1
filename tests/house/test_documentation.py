"""Documentation cannot drift: every setting, command and endpoint that there is stands in it, and no other."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from idp.cli import cli
from idp.config import Settings
from idp.discovery.service import metadata
from idp.signals.discovery import metadata as transmitter_metadata
from tests.house.code import ROOT

ISSUER = "https://idp.example"


def text(*names: str) -> str:
    return "\n".join((ROOT / name).read_text(encoding="utf-8") for name in names)


def everything() -> str:
    pages = [path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts]
    return "\n".join(path.read_text(encoding="utf-8") for path in [*pages, ROOT / "README.md"])


def settings() -> list[str]:
    return ["IDP_" + name.upper() for name in Settings.model_fields]


def commands(group: click.Command = cli, path: str = "idp") -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by the words that one types."""
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            yield from commands(command, f"{path} {name}")
    else:
        yield path, group


def endpoints() -> list[str]:
    """Every path that discovery announces, and those that people and machines are told of elsewhere."""
    announced = [
        str(value).removeprefix(ISSUER) for value in metadata(ISSUER, ["RS256"]).values() if str(value).startswith(ISSUER + "/")
    ]
    transmitter = [
        str(value).removeprefix(ISSUER)
        for value in transmitter_metadata(ISSUER).values()
        if str(value).startswith(ISSUER + "/")
    ]
    more = [
        "/.well-known/ssf-configuration",
        "/ssf/poll/{stream_id}",
        "/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server",
        "/login",
        "/account",
        "/health/live",
        "/health/ready",
        "/metrics",
        "/register",
    ]
    return announced + more + transmitter


@pytest.mark.parametrize("name", settings())
def test_every_setting_stands_in_the_settings_page(name: str) -> None:
    assert re.search(rf"\b{name}\b", text("docs/settings.md"))


def test_no_page_names_a_setting_that_there_is_not() -> None:
    named = set(re.findall(r"\bIDP_[A-Z0-9_]*[A-Z0-9]\b", everything()))
    in_files = {f"{name}_FILE" for name in settings()}
    assert named - set(settings()) - in_files - {"IDP_CONFIG"} == set()


def test_the_defaults_in_the_settings_page_are_the_ones_in_the_code() -> None:
    lines = text("docs/settings.md").splitlines()
    for name, field in Settings.model_fields.items():
        if isinstance(field.default, int | str) and field.default not in ("", None):
            line = next((line for line in lines if f"IDP_{name.upper()}`" in line or f"IDP_{name.upper()} " in line), "")
            assert str(field.default) in line, f"IDP_{name.upper()} is {field.default!r} by default; the page says: {line!r}"


@pytest.mark.parametrize("path", [path for path, _ in commands()])
def test_every_command_stands_in_the_command_page(path: str) -> None:
    assert path in re.sub(r"\s+", " ", text("docs/cli.md"))


@pytest.mark.parametrize(
    ("path", "option"),
    [
        (path, option)
        for path, command in commands()
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
    ],
)
def test_every_option_stands_in_the_command_page(path: str, option: str) -> None:
    assert option in text("docs/cli.md"), f"{path} {option}"


def test_no_page_names_a_command_that_there_is_not() -> None:
    known = {path for path, _ in commands()}
    groups = {path.rpartition(" ")[0] for path in known}
    for command in re.findall(r"`(idp [a-z][a-z-]*(?: [a-z][a-z-]*)?)", everything()):
        assert any(
            command == each or each.startswith(command + " ") or command.startswith(each + " ")
            for each in known | groups - {"idp"}
        ), command


def test_every_command_says_what_it_does_and_speaks_json() -> None:
    for path, command in commands():
        assert command.help, f"{path} has no help"
        if path not in {"idp serve", "idp worker", "idp demo"}:
            assert any("--json" in parameter.opts for parameter in command.params), f"{path} has no --json"


def test_no_command_takes_a_secret_as_an_argument() -> None:
    for path, command in commands():
        for parameter in command.params:
            if re.search(r"password|secret|token", parameter.name or ""):
                assert getattr(parameter, "is_flag", False), f"{path}: {parameter.name} would stand in the shell's history"


@pytest.mark.parametrize("path", endpoints())
def test_every_endpoint_stands_in_the_endpoint_page(path: str) -> None:
    assert path in text("docs/endpoints.md")


def test_the_readme_has_the_two_commands_and_every_page_that_it_links_to_is_there() -> None:
    readme = text("README.md")
    assert "make demo" in readme
    assert "make test" in readme
    for target in re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", readme):
        assert (ROOT / target).exists(), target


def test_every_link_between_pages_leads_somewhere() -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        if "_build" not in page.parts:
            for target in re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", page.read_text(encoding="utf-8")):
                assert (page.parent / Path(target)).exists(), f"{page.relative_to(ROOT)} links to {target}"


def test_every_threat_that_is_named_stands_in_its_page_and_every_test_there_exists() -> None:
    page = (ROOT / "docs" / "threats.md").read_text(encoding="utf-8")
    numbered = {int(number) for number in re.findall(r"^(\d+)\. \*\*", page, re.MULTILINE)}
    assert numbered == set(range(1, len(numbered) + 1))
    named = {
        int(number)
        for folder in ("idp", "tests", "examples", "benchmarks", "docs")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".md"} and "_build" not in path.parts
        for numbers in re.findall(r"docs/threats\.md (\d+(?:, \d+)*)", path.read_text(encoding="utf-8"))
        for number in numbers.split(", ")
    }
    assert len(named) > 20
    assert named <= numbered
    tried = re.findall(r"`([a-z]+/[\w./]*)`", page)
    assert len(tried) >= len(numbered)
    assert [path for path in tried if not (ROOT / "tests" / path).exists()] == []


def test_the_glossary_stays_short() -> None:
    words = re.findall(r"^\| ([a-z ]+) \|", (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"), re.MULTILINE)[1:]
    assert 20 < len(words) <= 40
    assert words == sorted(words)


def test_what_architecture_says_is_decided_somewhere_is_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| `(idp/[\w/]+\.py)` \| `(\w+)` \|$", page, re.MULTILINE)
    assert len(rows) >= 10
    lost = [row for row in rows if f"def {row[1]}(" not in (ROOT / row[0]).read_text(encoding="utf-8")]
    assert lost == []
