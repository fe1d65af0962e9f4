"""Faust's web server with nothing on it but the tracker's API: Faust's own pages name every tracker and table."""

import socket
from typing import Any

from aiohttp.web import Application, AppRunner, BaseSite, SockSite
from faust.types import AppT
from faust.web.drivers.aiohttp import Web

from millstream.listening import PortTaken
from millstream.streams.log_limit import LIBRARY_LOGGER

BACKLOG = 1_024
"""Connections that wait to be accepted."""


class WebServer(Web):
    """Listens from `listen` on, and answers once Faust starts it."""

    logger = LIBRARY_LOGGER

    def __init__(self, app: AppT, pages: Application) -> None:
        super().__init__(app)
        self.web_app = pages
        self._runner = AppRunner(pages, access_log=None)
        self._socket: socket.socket | None = None

    def listen(self) -> socket.socket:
        """Take the port, before anything else starts. Raises `PortTaken`."""
        host, port = self.app.conf.web_bind, self.app.conf.web_port
        if self._socket is None:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            try:
                self._socket = socket.create_server((host, port), family=family, backlog=BACKLOG)
            except OSError as error:
                raise PortTaken(("tracker.host", "tracker.port"), host, port, error) from error
        return self._socket

    @property
    def connections(self) -> list[Any]:
        """The open connections, as protocols of aiohttp."""
        return [] if self._runner.server is None else list(self._runner.server.connections)

    def _new_transport_tcp(self) -> BaseSite:
        return SockSite(self._runner, self.listen())

    def _enabled_blueprints(self) -> list[Any]:
        return []
