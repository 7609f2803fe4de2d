"""On whose behalf the service runs right now."""

from __future__ import annotations

import sys

from ._failpoint import guard


class RequestReader:
    """Reads the id of the current request, as the target names it.

    ``name`` is ``module:function``, or ``module:path.to.it``: attributes one after the other, the
    last of which is called if it can be. A module that nobody has imported has set no id.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._module, _, path = name.partition(":")
        self._path = path.split(".") if path else []
        self._has_failed = False

    def __call__(self) -> str | None:
        """The id; None without a request."""
        found = sys.modules.get(self._module)
        if found is None or not self._path:
            return None
        was_busy, guard.busy = guard.busy, True
        try:
            for name in self._path:
                found = getattr(found, name)
            request = found() if callable(found) else found
            return None if request is None else str(request)
        except Exception as error:
            if not self._has_failed:
                sys.stderr.write(f"chaos agent: {self._name}: {type(error).__name__}: {error}\n")
            self._has_failed = True  # told once; it may well answer the next time
            return None
        finally:
            guard.busy = was_busy
