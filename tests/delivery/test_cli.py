"""`idp delivery`, and how commands speak: tables, JSON, refusals, exit status."""

import json
from collections.abc import Callable
from dataclasses import dataclass

import click
import pytest
from click.testing import CliRunner, Result

from idp.delivery.cli import group
from idp.delivery.service import DeliveryService
from idp.runtime.console import emit, json_option, read_secret_from_stdin
from idp.runtime.database import Database
from tests.delivery.conftest import Office
from tests.delivery.receivers import Receiver

NOWHERE = "http://127.0.0.1:9/logout?x=1"


@dataclass
class Application:
    database: Database
    deliveries: DeliveryService


def run(office: Office, *arguments: str) -> Result:
    return CliRunner().invoke(group, arguments, obj=Application(office.database, office.service))


def test_the_list_is_a_table_for_people_and_json_for_programs(office: Office) -> None:
    office.send(NOWHERE)
    (one,) = office.all()
    table = run(office, "list")
    assert table.exit_code == 0
    assert "delivery_id" in table.stdout
    assert one.delivery_id in table.stdout
    assert "waiting" in table.stdout
    assert "2027-01-15 08:00:00 UTC" in table.stdout
    (record,) = json.loads(run(office, "list", "--json").stdout)
    assert record["state"] == "waiting"
    assert record["created_at"] == office.clock.now
    assert record["payload"] == {"jti": "app-s1"}
    assert json.loads(run(office, "list", "--state", "dead", "--json").stdout) == []
    assert run(office, "list", "--state", "dead").stdout == "None.\n"


def test_one_is_shown(office: Office) -> None:
    office.send(NOWHERE)
    (one,) = office.all()
    assert NOWHERE in run(office, "show", one.delivery_id).stdout
    assert json.loads(run(office, "show", one.delivery_id, "--json").stdout)["uri"] == NOWHERE


def test_a_dead_one_is_sent_again(office: Office, receiver: Callable[[], Receiver]) -> None:
    party = receiver()
    party.answers(400, 200)
    office.open()
    office.send(party.url())
    dead = office.until(lambda one: one.dead_at is not None)
    answer = run(office, "retry", dead.delivery_id, "--json")
    assert (answer.exit_code, json.loads(answer.stdout)["state"]) == (0, "waiting")
    office.until(lambda one: one.delivered_at is not None)
    again = run(office, "retry", dead.delivery_id)
    assert (again.exit_code, again.stdout, again.stderr) == (1, "", "Refused: It was delivered already.\n")


@pytest.mark.parametrize("command", ["show", "retry"])
def test_a_refusal_is_one_sentence_on_standard_error(office: Office, command: str) -> None:
    plain = run(office, command, "unknown")
    assert (plain.exit_code, plain.stdout, plain.stderr) == (1, "", "Refused: There is no such delivery.\n")
    for_programs = run(office, command, "unknown", "--json")
    assert (for_programs.exit_code, for_programs.stdout) == (1, "")
    assert json.loads(for_programs.stderr) == {"error": "There is no such delivery."}


@pytest.mark.parametrize("arguments", [("list", "--state", "lost"), ("show",), ("retry", "a", "b"), ("list", "--limit", "0")])
def test_wrong_usage_is_another_status(office: Office, arguments: tuple[str, ...]) -> None:
    assert run(office, *arguments).exit_code == 2


def test_no_text_from_outside_moves_the_cursor_or_styles_the_table() -> None:
    @click.command()
    @json_option
    def command(*, as_json: bool) -> None:
        emit(
            [{"name": "[bold]\x1b[2Jevil\u202egnp.exe\nnext", "n": None, "at_all": True, "all": ["a", 0.5]}],
            as_json=as_json,
        )

    shown = CliRunner().invoke(command).stdout
    assert "[bold]\ufffd[2Jevil\ufffdgnp.exe\ufffdnext" in shown
    assert "\x1b" not in shown
    assert "a, 0.5" in shown
    assert "\u202e" not in shown
    assert json.loads(CliRunner().invoke(command, ["--json"]).stdout)[0]["at_all"] is True


@pytest.mark.parametrize("given", ["correct horse\n", "correct horse\r\nsecond line", "correct horse"])
def test_a_secret_is_the_first_line_of_standard_input(given: str) -> None:
    @click.command()
    def command() -> None:
        assert read_secret_from_stdin("Password") == "correct horse"

    assert CliRunner().invoke(command, input=given).exit_code == 0


@pytest.mark.parametrize("given", ["", "\n", "x" * 5000, b"\xff\xfe\n"])
def test_no_secret_is_a_refusal(given: str | bytes) -> None:
    @click.command()
    def command() -> None:
        read_secret_from_stdin("Password")

    answer = CliRunner().invoke(command, input=given)
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert answer.stderr.startswith("Refused: Password: ")
