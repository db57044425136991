"""The configuration: what is right is typed, what is wrong is one code with the name of the thing."""

from pathlib import Path

import pytest

from fablab.config import load_config
from fablab.sentences import Refusal

GOOD = '[site]\nid = "nyons"\nname = "Le Fablab"\n'


def write(folder: Path, text: str) -> Path:
    file = folder / "fablab.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_defaults_are_shape_a_and_paths_start_at_the_folder(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, GOOD), {})
    assert config.serve.roles == ("broker", "web", "hub", "agent")
    assert config.database_url == f"sqlite:///{tmp_path}/fablab.db"
    assert config.resolve("files") == tmp_path / "files"


def test_machines_are_typed(tmp_path: Path) -> None:
    config = load_config(
        write(tmp_path, GOOD + '[[machines]]\nid = "mk3"\ndriver = "marlin_serial"\nport = "/dev/x"\n'), {}
    )
    assert config.machines[0].port == "/dev/x"
    assert config.machines[0].start == "person"


def test_the_environment_overrides_a_key(tmp_path: Path) -> None:
    file = write(tmp_path, GOOD)
    config = load_config(file, {"FABLAB_WEB_PORT": "8123", "FABLAB_SERVE_ROLES": "web,hub"})
    assert config.web.port == 8123
    assert config.serve.roles == ("web", "hub")


@pytest.mark.parametrize(
    ("more", "code", "data"),
    [
        ("[web]\nprot = 8080\n", "config_unknown_key", {"key": "web.prot", "suggestion": "port"}),
        ("[webb]\nport = 8080\n", "config_unknown_key", {"key": "webb", "suggestion": "web"}),
        ('[[machines]]\nid = "a"\ndriver = "manual"\npotr = "x"\n', "config_unknown_key", {"key": "machines.potr"}),
        ('[web]\nport = "high"\n', "config_value", {}),
        ("[web]\nport = 0\n", "config_port", {"port": 0}),
        ('[serve]\nroles = ["web", "cook"]\n', "config_unknown_role", {"role": "cook"}),
        ('[broker]\nhost = "0.0.0.0"\n', "broker_not_loopback", {"host": "0.0.0.0"}),
        ('[[machines]]\nid = "a/b"\ndriver = "manual"\n', "config_bad_id", {"id": "a/b"}),
        ('[[machines]]\nid = "a"\ndriver = "manual"\n' * 2, "config_machine_twice", {"id": "a"}),
        ("[web\n", "config_not_toml", {}),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, more: str, code: str, data: dict[str, object]) -> None:
    with pytest.raises(Refusal) as refused:
        load_config(write(tmp_path, GOOD + more), {})
    assert refused.value.code == code
    assert data.items() <= refused.value.data.items()


def test_a_zone_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(Refusal) as refused:
        load_config(write(tmp_path, '[site]\nid = "x"\ntimezone = "Europe/Nyons"\n'), {})
    assert refused.value.code == "config_timezone"


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(Refusal) as refused:
        load_config(tmp_path / "none.toml", {})
    assert refused.value.code == "config_missing"


def test_a_port_in_the_environment_that_is_no_number(tmp_path: Path) -> None:
    with pytest.raises(Refusal) as refused:
        load_config(write(tmp_path, GOOD), {"FABLAB_WEB_PORT": "many"})
    assert refused.value.code == "config_value"


def test_a_missing_secret_names_its_path(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, GOOD), {})
    with pytest.raises(Refusal) as refused:
        config.secret("broker.password")
    assert refused.value.code == "secret_file_missing"
    assert refused.value.data["path"].endswith("broker.password")
