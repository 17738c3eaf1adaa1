"""What idp keeps is for its owner alone, wherever it lies; the doctor looks at every file and says the mend."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import DONE, REFUSED, run
from tests.support.serving import RunningProvider


@pytest.fixture(params=["in the data directory", "where the operator says"])
def careless(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningProvider]:
    """A deployment whose folder others may look into, by somebody whose files are for all."""
    tmp_path.chmod(0o755)
    before = os.umask(0)
    elsewhere = request.param == "where the operator says"
    deployment = RunningProvider(tmp_path, f"sqlite:///{tmp_path / 'own.sqlite3'}" if elsewhere else "")
    try:
        yield deployment
    finally:
        os.umask(before)
        deployment.close()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def findings(deployment: RunningProvider, code: int) -> list[dict[str, str]]:
    said = run(deployment, "doctor", "--json")
    assert said.code == code, said
    found: list[dict[str, str]] = json.loads(said.out)
    return found


def test_everything_that_is_made_is_for_its_owner(careless: RunningProvider) -> None:
    assert run(careless, "key", "list").code == DONE
    with careless.services.database.writing():  # so that what stands beside the database is there
        made = [path for path in careless.data_dir.iterdir() if path.is_file()]
        assert {path.name.rpartition(".")[2].removeprefix("sqlite3") for path in made} >= {"", "-wal", "-shm"}
        assert {path.name: oct(mode(path)) for path in made} == {path.name: "0o600" for path in made}


@pytest.mark.parametrize("others", [0o644, 0o640, 0o604, 0o602, 0o660])
def test_the_doctor_finds_each_file_that_others_may_use(careless: RunningProvider, others: int) -> None:
    run(careless, "key", "list")
    with careless.services.database.writing():
        files = [path for path in careless.data_dir.iterdir() if path.is_file()]
        assert len(files) >= 3
        for path in files:
            path.chmod(others)
            wrong = [finding for finding in findings(careless, REFUSED) if finding["state"] == "wrong"]
            assert [finding["mend"] for finding in wrong] == [f"chmod 600 {path}"]
            path.chmod(0o600)
        findings(careless, DONE)


def test_the_doctor_looks_at_the_folder(careless: RunningProvider) -> None:
    run(careless, "key", "list")
    (note,) = [finding for finding in findings(careless, DONE) if finding["what"] == "data directory"]
    assert (note["state"], note["mend"]) == ("note", f"chmod 700 {careless.data_dir}")
    careless.data_dir.chmod(0o777)
    assert f"chmod 700 {careless.data_dir}" in [
        finding["mend"] for finding in findings(careless, REFUSED) if finding["state"] == "wrong"
    ]
    careless.data_dir.chmod(0o700)
    assert not [finding for finding in findings(careless, DONE) if finding["what"] == "data directory"]


def test_the_doctor_looks_at_a_file_of_settings_that_holds_a_secret(embedded: RunningProvider, tmp_path: Path) -> None:
    file = tmp_path / "idp.toml"
    file.write_text('provider_name = "Example"\n')
    file.chmod(0o644)
    assert run(embedded, "doctor", CONFIG=str(file)).code == DONE
    file.write_text('secret_key = "a secret of a deployment: long enough"\n')
    said = run(embedded, "doctor", CONFIG=str(file))
    assert said.code == REFUSED
    assert f"chmod 640 {file}" in said.out
    file.chmod(0o640)
    assert run(embedded, "doctor", CONFIG=str(file)).code == DONE


def test_the_doctor_makes_no_file_where_there_is_none(embedded: RunningProvider) -> None:
    assert run(embedded, "doctor").code == DONE
    assert list(embedded.data_dir.iterdir()) == []
