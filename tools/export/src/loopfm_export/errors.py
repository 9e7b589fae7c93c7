"""The one exception that callers see: a fact about the module, with the place it comes from."""

from __future__ import annotations


class ExportError(Exception):
    """The module cannot be written as a loopfm graph, or the written graph does not reproduce it.

    ``op``, ``module`` and ``source`` are the ATen op, the dotted module path and the source line, where known.
    """

    def __init__(self, reason: str, *, op: str | None = None, module: str | None = None, source: str | None = None):
        self.reason, self.op, self.module, self.source = reason, op, module, source
        lines = [f"{op}: {reason}" if op else reason]
        if module:
            lines.append(f"  in module {module}")
        if source:
            lines.append(f"  at {source}")
        super().__init__("\n".join(lines))


class Refusal(Exception):
    """Raised where the op and its place are not known; the driver turns it into an ExportError that names them.

    ``place`` is the node of the traced program to blame, where that is not the one at hand.
    """

    def __init__(self, reason: str, place: object = None):
        super().__init__(reason)
        self.place = place
