"""Proxies in front: a provider below a path, and who comes through a proxy."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from idp.config import Settings
from idp.provider import Provider
from idp.provider import build as build_provider
from idp.runtime import migrations

Build = Callable[..., Provider]


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    """Providers in this process, with their schema and keys."""
    built: list[Provider] = []

    def one(**settings: object) -> Provider:
        provider = build_provider(Settings(data_dir=tmp_path / str(len(built)), **settings))  # type: ignore[arg-type]
        migrations.upgrade(provider.database)
        provider.keys.keep_up()
        built.append(provider)
        return provider

    yield one
    for each in built:
        each.keys.close()
        each.database.dispose()
