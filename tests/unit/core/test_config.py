"""Settings: file, then environment; the nearest name for an unknown one; the template says every default."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitrina.core.config import Settings, load, parse, settings_table, template
from vitrina.core.errors import UserError


def test_nothing_said_is_every_default(tmp_path: Path) -> None:
    settings, origins = load(tmp_path / "none.toml", {})
    assert settings == Settings()
    assert set(origins.values()) == {"default"}


def test_file_then_environment() -> None:
    text = b"\xef\xbb\xbf[service]\nport = 8500\nhost = '0.0.0.0'\n"  # with a byte order mark, as some editors write
    settings, origins = parse(text, "vitrina.toml", {"VITRINA_SERVICE_PORT": "8600", "VITRINA_NO_SUCH": "x"})
    assert (settings.service.port, settings.service.host) == (8600, "0.0.0.0")
    assert (origins["service.port"], origins["service.host"]) == ("VITRINA_SERVICE_PORT", "file")
    assert origins["decide.draws"] == "default"


def test_a_list_in_the_environment_is_separated_by_commas() -> None:
    settings, origins = parse(b"", "vitrina.toml", {"VITRINA_SERVICE_TRUSTED_PROXIES": "10.0.0.0/8, 2001:db8::/32,"})
    assert settings.service.trusted_proxies == ("10.0.0.0/8", "2001:db8::/32")
    assert origins["service.trusted_proxies"] == "VITRINA_SERVICE_TRUSTED_PROXIES"
    assert parse(b"", "vitrina.toml", {"VITRINA_SERVICE_TRUSTED_PROXIES": ""})[0].service.trusted_proxies == ()


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        (b"[decide]\ndraw = 5\n", "config.unknown", "decide.draws"),
        (b"port = 8400\n", "config.unknown", "section"),
        (b"[decide]\ndraws = 1\n", "config.invalid", "decide.draws"),
        (b"[decide]\nscale = 'bold'\n", "config.invalid", "decide.scale"),
        (b"[workspace]\nlocale = 'de'\n", "config.invalid", "en or ru"),
        (b"[workspace]\ntimezone = '../etc'\n", "config.timezone", "Europe/Berlin"),
        (b"[service]\ntrusted_proxies = ['10.0.0.0/8', 'proxy.example']\n", "config.network", "proxy.example"),
        (b"[service]\ntrusted_proxies = '10.0.0.0/8'\n", "config.invalid", "service.trusted_proxies"),
        (b"[workspace\n", "config.unreadable", "TOML"),
        ("[workspace]\nname = 'чай'\n".encode("cp1251"), "config.unreadable", "TOML"),
    ],
)
def test_a_mistake_is_named_with_place_and_cure(text: bytes, code: str, words: str) -> None:
    with pytest.raises(UserError) as refused:
        parse(text, "shop/vitrina.toml", {})
    assert refused.value.code == code
    assert refused.value.where == "shop/vitrina.toml"
    assert words in f"{refused.value.message} {refused.value.cure}"


@given(st.text(min_size=1).filter(lambda text: text.isprintable()))
def test_any_name_of_a_shop_survives_the_template(name: str) -> None:
    text = template(name, "RUB", "Europe/Moscow")
    assert tomllib.loads(text)["workspace"]["name"] == name
    settings, _ = parse(text.encode(), "vitrina.toml", {})
    assert settings.workspace.name == name


def test_every_setting_is_in_the_table_once() -> None:
    settings, origins = parse(b"", "vitrina.toml", {})
    names = [setting.name for setting in settings_table(settings, origins)]
    assert len(names) == len(set(names)) == len(origins)
