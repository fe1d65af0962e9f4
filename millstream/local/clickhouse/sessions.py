"""HTTP sessions: connections that stay open between requests."""

import threading
import time
from dataclasses import dataclass

from millstream.local.clickhouse.engine import Connection, Engine
from millstream.local.clickhouse.errors import SESSION_IS_LOCKED, SESSION_NOT_FOUND, ClickHouseError


@dataclass
class _Session:
    connection: Connection
    timeout_s: float
    expires_at: float


class Sessions:
    """Hands out connections: a new one for a request without a session, the session's own otherwise. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sessions: dict[str, _Session] = {}
        self._lock = threading.Lock()

    def take(self, session_id: str, timeout_s: float = 60.0, must_exist: bool = False) -> Connection:
        """A connection for one request; return it with `give_back`. Raises `ClickHouseError` if the session is
        in use, or if it `must_exist` and does not."""
        if not session_id:
            return self._engine.connect()
        with self._lock:
            self._close_expired()
            session = self._sessions.get(session_id)
            if session is None:
                if must_exist:
                    raise ClickHouseError.raised(
                        SESSION_NOT_FOUND, "SESSION_NOT_FOUND", f"Session {session_id} not found"
                    )
                session = _Session(self._engine.connect(), timeout_s, 0.0)
                self._sessions[session_id] = session
            if not session.connection.turn.acquire(blocking=False):
                text = f"Session {session_id} is locked by a concurrent client"
                raise ClickHouseError.raised(SESSION_IS_LOCKED, "SESSION_IS_LOCKED", text)
            session.timeout_s = timeout_s
            session.expires_at = time.monotonic() + session.timeout_s
            return session.connection

    def give_back(self, session_id: str, connection: Connection) -> None:
        """Return the connection at the end of the request."""
        if not session_id:
            connection.close()
            return
        with self._lock:
            session = self._sessions[session_id]
            session.expires_at = time.monotonic() + session.timeout_s
            connection.turn.release()

    def close(self) -> None:
        with self._lock:
            for session in self._sessions.values():
                session.connection.close()
            self._sessions.clear()

    def _close_expired(self) -> None:
        now = time.monotonic()
        for session_id, session in list(self._sessions.items()):
            if session.expires_at < now and not session.connection.turn.locked():
                session.connection.close()
                del self._sessions[session_id]
