"""How long to wait before something that ended is started again. Pure."""


class RestartBackoff:
    """A wait that starts at `first_s`, then doubles from `step_s` to `longest_s` while each run ends soon, and starts
    again at `first_s` after a run of at least `stable_after_s`. All in seconds.

    RestartBackoff(0, 0.25, 10, 10) waits 0, 0.25, 0.5, 1, 2, 4, 8, 10, 10 ... s.
    """

    def __init__(self, first_s: float, step_s: float, longest_s: float, stable_after_s: float) -> None:
        self._first_s = self._next_s = first_s
        self._step_s = step_s
        self._longest_s = longest_s
        self._stable_after_s = stable_after_s

    def after(self, lasted_s: float) -> float:
        """The wait in seconds after a run of `lasted_s` seconds."""
        if lasted_s >= self._stable_after_s:
            self._next_s = self._first_s
            return self._first_s
        wait_s = self._next_s
        self._next_s = min(self._longest_s, max(self._step_s, 2 * wait_s))
        return wait_s
