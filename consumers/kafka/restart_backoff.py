"""How long to wait before something that ended is begun again. Pure."""


class RestartBackoff:
    """Waits that double from `step_s` to `longest_s` (seconds) while each try ends soon, and begin again at `first_s`
    after one that lasted `stable_after_s`."""

    def __init__(self, first_s: float, step_s: float, longest_s: float, stable_after_s: float) -> None:
        self._first_s = self._next_s = first_s
        self._step_s = step_s
        self._longest_s = longest_s
        self._stable_after_s = stable_after_s

    def after(self, lasted_s: float) -> float:
        """The wait, in seconds, after a try that lasted so long."""
        if lasted_s >= self._stable_after_s:
            self._next_s = self._first_s
            return self._first_s
        wait_s = self._next_s
        self._next_s = min(self._longest_s, max(self._step_s, 2 * wait_s))
        return wait_s
