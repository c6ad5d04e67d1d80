"""Ports as settings name them."""

from collections.abc import Mapping

from catalog.errors import SluiceError


def port_variable(name: str, environ: Mapping[str, str]) -> int | None:
    """What SLUICE_PORT_… says, if it says anything."""
    variable = f"SLUICE_PORT_{name.upper()}"
    return parse_port(variable, environ[variable]) if environ.get(variable) else None


def parse_port(name: str, value: str) -> int:
    """A port number. Raises SluiceError that names the setting."""
    if not value.isdecimal() or not 1 <= int(value) <= 65535:
        raise SluiceError(f"{name}={value!r} is not a port: give a number from 1 to 65535")
    return int(value)


def check_ports(ports: Mapping[str, int]) -> None:
    """Raises SluiceError for a port that is none, or is given to two."""
    for name, port in ports.items():
        if not 1 <= port <= 65535:
            raise SluiceError(f"port {port} for {name} is out of range: choose a lower --port-base")
    by_port: dict[int, str] = {}
    for name, port in ports.items():
        if port in by_port:
            raise SluiceError(
                f"{by_port[port]} and {name} are both given port {port}: set SLUICE_PORT_{name.upper()} to another"
            )
        by_port[port] = name
