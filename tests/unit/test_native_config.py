"""Where a stack's settings come from, and what they may hold."""

import re
import stat
from pathlib import Path

import pytest

from catalog.errors import SluiceError
from infra.native import config
from infra.native.kafka import properties
from infra.native.trino import config as trino_config
from infra.native.trino import lake_catalog


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def test_every_part_has_its_own_port_from_the_base(state: Path) -> None:
    stack = config.choose(state, {}, base=21000)
    assert sorted(stack.ports.values()) == list(range(21000, 21000 + len(config.PORT_NAMES)))


def test_an_option_wins_over_a_variable_over_what_was_kept_over_the_default(state: Path) -> None:
    assert config.choose(state, {}).ports["kafka"] == config.PORT_BASE + config.PORT_NAMES.index("kafka")
    config.save(config.choose(state, {"SLUICE_PORT_KAFKA": "5001"}))
    assert config.choose(state, {}).ports["kafka"] == 5001
    assert config.choose(state, {"SLUICE_PORT_KAFKA": "5002"}).ports["kafka"] == 5002
    assert config.choose(state, {"SLUICE_PORT_KAFKA": "5002"}, {"kafka": 5003}).ports["kafka"] == 5003


def test_a_new_base_moves_all_that_was_kept(state: Path) -> None:
    config.save(config.choose(state, {"SLUICE_PORT_KAFKA": "5001"}))
    assert config.choose(state, {}, base=22000).ports["kafka"] == 22000 + config.PORT_NAMES.index("kafka")


def test_passwords_are_kept_and_differ_between_stacks(state: Path, tmp_path: Path) -> None:
    first = config.choose(state, {})
    config.save(first)
    assert config.choose(state, {}).passwords == first.passwords
    assert config.choose(tmp_path / "other", {}).passwords != first.passwords
    assert stat.S_IMODE(config.settings_file(state).stat().st_mode) == 0o600


def test_what_is_saved_is_what_is_loaded(state: Path) -> None:
    stack = config.choose(state, {"SLUICE_MEMORY_TRINO": "2g", "SLUICE_BIND": "127.0.0.2"}, base=21000)
    config.save(stack)
    assert config.load(state) == stack


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"SLUICE_PORT_UI": "x"}, "SLUICE_PORT_UI='x'"),
        ({"SLUICE_PORT_UI": "0"}, "SLUICE_PORT_UI='0'"),
        ({"SLUICE_PORT_UI": "-1"}, "SLUICE_PORT_UI='-1'"),
        ({"SLUICE_PORT_BASE": "65530"}, "out of range"),
        ({"SLUICE_MEMORY_KAFKA": "512"}, "SLUICE_MEMORY_KAFKA='512'"),
        ({"SLUICE_MEMORY_KAFKA": "0m"}, "SLUICE_MEMORY_KAFKA='0m'"),
        ({"SLUICE_PORT_UI": "4000", "SLUICE_PORT_KAFKA": "4000"}, "both given port 4000"),
    ],
)
def test_what_cannot_work_is_refused_by_name(state: Path, variables: dict[str, str], named: str) -> None:
    with pytest.raises(SluiceError, match=re.escape(named)):
        config.choose(state, variables)


def test_broken_settings_are_named_with_the_way_out(state: Path) -> None:
    state.mkdir()
    config.settings_file(state).write_text("{")
    with pytest.raises(SluiceError, match=r"stack\.json cannot be read .*--purge"):
        config.load(state)


def test_no_stack_says_how_to_start_one(state: Path) -> None:
    with pytest.raises(SluiceError, match="sluice up"):
        config.environment(state)


@pytest.mark.parametrize(("text", "size"), [("512m", 512 << 20), ("2G", 2 << 30), ("64k", 64 << 10)])
def test_memory_is_read_as_written(text: str, size: int) -> None:
    assert config.parse_memory("X", text) == size


def test_the_environment_names_every_server(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_TOPIC_PARTITIONS", "6")
    config.save(config.choose(state, {}, base=21000))
    variables = config.environment(state)
    stack = config.load(state)
    assert stack is not None
    assert variables["SLUICE_KAFKA_BOOTSTRAP"] == f"127.0.0.1:{stack.ports['kafka']}"
    assert variables["SLUICE_CATALOG_URI"].endswith(f"@127.0.0.1:{stack.ports['postgres']}/lake")
    assert variables["SLUICE_TOPIC_PARTITIONS"] == "6"
    assert variables["SLUICE_STATE"] == str(state)
    assert all(name.startswith("SLUICE_") for name in variables)


def test_a_contracts_folder_is_kept_for_later_commands(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLUICE_CONTRACTS", raising=False)
    config.save(config.choose(state, {"SLUICE_CONTRACTS": str(tmp_path)}))
    assert config.environment(state)["SLUICE_CONTRACTS"] == str(tmp_path)
    with pytest.raises(SluiceError, match=r"SLUICE_CONTRACTS=.* is no folder"):
        config.choose(state, {"SLUICE_CONTRACTS": str(tmp_path / "nowhere")})


def test_a_wildcard_bind_is_not_advertised(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_ADVERTISED_HOST", "lake.example")
    stack = config.choose(state, {"SLUICE_BIND": "0.0.0.0"}, base=21000)
    listeners = properties(stack)
    assert listeners["listeners"].startswith("CLIENT://0.0.0.0:")
    assert listeners["advertised.listeners"] == f"CLIENT://lake.example:{stack.ports['kafka']}"
    assert "CONTROLLER://127.0.0.1:" in listeners["listeners"]


def test_the_explorer_is_for_others_only_where_somebody_says_that_something_in_front_asks(state: Path) -> None:
    alone = config.choose(state, {"SLUICE_BIND": "0.0.0.0"}, base=21000)
    assert (alone.binding("ui"), alone.address("ui")) == ("127.0.0.1", "127.0.0.1:21000")
    assert alone.binding("gateway") == "0.0.0.0"
    told = {"SLUICE_BIND": "0.0.0.0", "SLUICE_UI_ALLOW_UNAUTHENTICATED": "true", "SLUICE_ADVERTISED_HOST": ""}
    assert config.choose(state, told, base=21000).binding("ui") == "0.0.0.0"
    with pytest.raises(SluiceError, match="expected true or false"):
        config.choose(state, {"SLUICE_UI_ALLOW_UNAUTHENTICATED": "yes"})


def test_trino_leaves_heap_for_what_queries_do_not_account_for(state: Path) -> None:
    settings = trino_config(config.choose(state, {"SLUICE_MEMORY_TRINO": "2g"}))
    assert settings["query.max-memory-per-node"] == "1024MB"
    assert settings["memory.heap-headroom-per-node"] == "512MB"


def test_no_password_is_written_into_trinos_files(state: Path) -> None:
    stack = config.choose(state, {})
    written = "\n".join([*lake_catalog(stack).values(), *trino_config(stack).values()])
    assert not any(password in written for password in stack.passwords.values())
