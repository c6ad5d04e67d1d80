"""A server's own certificate: shown to callers, and read anew when its files are renewed."""

import ssl
from pathlib import Path

import structlog

from catalog.errors import SluiceError

log = structlog.get_logger()


class Certificate:
    """A certificate with its chain, and its key, as PEM files. Raises SluiceError where they can't be used.

    `setting` begins the names of the two settings that named the files: …_CERTIFICATE and …_KEY.
    """

    def __init__(self, certificate: Path, key: Path, setting: str) -> None:
        self._certificate, self._key, self._setting = certificate, key, setting
        self._seen = self._times()
        self.context = _server()
        self._load(self.context)

    def look(self) -> None:
        """Show what the files hold now, if they have changed, to whoever connects from now on. The old pair stays where the new
        one can't be used: of two files that are renewed one after the other, the second look finds both.

        In the thread that accepts connections."""
        now = self._times()
        if now == self._seen:
            return
        self._seen = now
        try:
            self._load(_server())  # one that is refused would leave half of itself behind
            self._load(self.context)
        except SluiceError as refused:
            log.error("certificate", reason=str(refused))
        else:
            log.info("certificate", reason="renewed")

    def _times(self) -> tuple[int, ...]:
        try:
            return tuple(file.stat().st_mtime_ns for file in (self._certificate, self._key))
        except OSError:
            return ()

    def _load(self, context: ssl.SSLContext) -> None:
        try:
            context.load_cert_chain(self._certificate, self._key, password=_no_password)
        except (OSError, ssl.SSLError, ValueError) as failure:
            raise SluiceError(
                f"{self._setting}_CERTIFICATE={str(self._certificate)!r} and {self._setting}_KEY={str(self._key)!r} can't be used "
                f"({failure}): name a certificate with its chain, and its private key without a password, as PEM files"
            ) from None


def _server() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # TLS 1.2 at least


def _no_password() -> str:
    raise ValueError("the key has a password")  # or OpenSSL would ask for it at the terminal
