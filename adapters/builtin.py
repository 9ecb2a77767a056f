"""The plug-ins that ship, by the same door as those of others: name -> module:object. Imported when chosen.

They are named here and not by entry points of our own: those exist only where a package was installed, and this program
also runs from a clone that nobody installed (``make run``). And here no package of others can take their names.
"""

from __future__ import annotations

from adapters.plugin import JOURNALS, TRANSPORTS

BUILTIN = {
    TRANSPORTS: {
        "apiserver": "adapters.apiserver.plugin:plugin",
        "local": "adapters.local.plugin:plugin",
        "memory": "adapters.memory.plugin:plugin",
    },
    JOURNALS: {
        "sqlite": "adapters.journal.plugin:sqlite",
        "memory": "adapters.journal.plugin:memory",
    },
}
AUTO = ("apiserver", "local")  # what ``transport: auto`` asks, in this order; their settings are always known
OLD_NAMES = {"websocket": "apiserver"}  # of settings files that were written before
