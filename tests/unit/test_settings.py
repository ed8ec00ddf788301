"""Settings come from the environment, the command line wins, and a bad one is told in one line."""

import re
from pathlib import Path

import pytest

from collector.settings import BadSetup, Settings, load, unknown


def test_the_defaults_keep_the_promises() -> None:
    settings = load()
    assert settings.durability == "always"
    assert settings.check_server
    assert settings.host == "127.0.0.1"  # nobody outside this machine is let in unasked


def test_the_environment_is_read_and_the_command_line_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLECTOR_PORT", "8001")
    monkeypatch.setenv("COLLECTOR_DATA_DIR", "/srv/collector")
    assert (load().port, load().data_dir) == (8001, Path("/srv/collector"))
    assert load(port=8002, data_dir=None) == load().model_copy(update={"port": 8002})


def test_a_file_of_the_secrets_folder_is_a_setting_and_the_environment_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("collector.settings.SECRETS", tmp_path)
    (tmp_path / "collector_redis_url").write_text("redis://worker:secret@redis:6379/0\n")
    assert load().redis_url == "redis://worker:secret@redis:6379/0"
    monkeypatch.setenv("COLLECTOR_REDIS_URL", "redis://elsewhere")
    assert load().redis_url == "redis://elsewhere"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("PORT", "eighty"), ("PORT", "65536"), ("PARTITIONS", "0"), ("DURABILITY", "no"), ("HIGH_WATER", "1.5")),
        *(("BODY_TIMEOUT", "inf"), ("PUBLIC_URL", "c.shop.example"), ("PUBLIC_URL", "https://c.shop.example?a=b")),
        *(("ADMIN_KEY", "two words"), ("ADMIN_KEY", "copied\r"), ("ADMIN_KEY", "clé")),
    ],
)
def test_a_bad_value_is_told_in_one_line_with_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"COLLECTOR_{name}", value)
    with pytest.raises(BadSetup) as refused:
        load()
    assert str(refused.value).startswith(f"COLLECTOR_{name}: ")
    assert "Mend: " in str(refused.value)
    assert "\n" not in str(refused.value)
    assert name != "ADMIN_KEY" or value not in str(refused.value)


def test_an_empty_value_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(f"COLLECTOR_{name.upper()}", "")
    assert load() == Settings.model_construct()
    assert load().archive == Path("data/archive")


def test_a_setting_cannot_be_changed_later() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().port = 1  # type: ignore[misc]


def test_the_archive_and_the_url_follow_from_the_others() -> None:
    assert load(data_dir="/srv/c").archive == Path("/srv/c/archive")
    assert load(archive_dir="/mnt/a").archive == Path("/mnt/a")
    assert load(port=9).url == "http://127.0.0.1:9"
    assert load(public_url="https://c.shop.example/").url == "https://c.shop.example"


def test_every_setting_has_a_meaning() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_a_setting_that_does_not_exist_is_found_and_what_others_read_is_not() -> None:
    kubernetes = {"COLLECTOR_EDGE_SERVICE_HOST": "10.0.0.1", "COLLECTOR_EDGE_PORT_80_TCP_PORT": "80"}
    settings = {f"COLLECTOR_{name.upper()}": "" for name in Settings.model_fields}
    assert unknown({**settings, **kubernetes, "collector_port": "1", "PATH": ""}) == []
    assert unknown({"COLLECTOR_PORTS": "1", "collector_foo": "1"}) == ["COLLECTOR_PORTS", "collector_foo"]


def test_what_this_project_reads_of_the_environment_is_known() -> None:
    root = Path(__file__).parents[2]
    deployed = [root / "docker-compose.yml", root / "Makefile", root / "Dockerfile", *root.glob("deploy/**/*.yaml")]
    tests = [*root.glob("tests/**/*.py"), *root.glob("js/test/**/*.js")]
    names = {name for file in deployed for name in re.findall(r"COLLECTOR_[A-Z_]+", file.read_text())}
    for file in tests:
        names |= set(re.findall(r"(?:environ\S{0,6}|process\.env\.)\"?(COLLECTOR_[A-Z_]+)", file.read_text()))
    assert names > {"COLLECTOR_FAULTS", "COLLECTOR_TABLES", "COLLECTOR_IMAGE", "COLLECTOR_TEST_SERVER"}
    assert unknown(dict.fromkeys(names, "")) == []
