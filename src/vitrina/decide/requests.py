"""The same `requestId` gets the same answer again, now and after a restart; with another body it is refused."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import msgspec

from vitrina.core.access import Caller
from vitrina.core.decision import Answer, DecideRequest
from vitrina.core.errors import ConflictError, VitrinaError
from vitrina.core.ids import hash16
from vitrina.decide.answer import answer
from vitrina.storage.ticket import Ticket

if TYPE_CHECKING:
    from vitrina.decide.log import DecisionLog
    from vitrina.decide.neighbours import Catalogued

__all__ = ["Requests"]

_REMEMBERED = 10_000
_encode = msgspec.json.Encoder(order="deterministic").encode


class Repeated(msgspec.Struct, frozen=True):
    """An answer given before; `ticket` is its commit, None when that is long done."""

    request_hash: bytes
    answer: Answer
    ticket: Ticket[Any] | None


class Requests:
    """Answers by request id: the latest in memory, the others in the log."""

    def __init__(self, log: DecisionLog, catalogue: Catalogued) -> None:
        self._log = log
        self._catalogue = catalogue
        self._recent: OrderedDict[bytes, Repeated] = OrderedDict()
        self._lock = threading.Lock()

    def key(self, request: DecideRequest, caller: Caller) -> bytes | None:
        """What finds an answer again: the request id among those of this key; None without one."""
        if request.request_id is None:
            return None
        return hash16(f"{caller.kind}\n{caller.name}\n{request.request_id}", b"request")

    def hash(self, request: DecideRequest) -> bytes:
        """16 bytes of the request's body; empty without a request id."""
        if request.request_id is None:
            return b""
        return hash16(_encode(request).decode(), b"request body")

    def find(self, request: DecideRequest, caller: Caller) -> Repeated | None:
        """The answer given before under this request id.

        Raises:
            ConflictError: it was given to another body.
        """
        key = self.key(request, caller)
        if key is None or request.preview:
            return None
        with self._lock:
            found = self._recent.get(key)
        if found is not None and _failed(found.ticket):
            found = None  # unless a database was lost just as it committed
        found = found or self._logged(key)
        if found is not None and found.request_hash != self.hash(request):
            raise ConflictError(
                f"the requestId {request.request_id} came before with another body.",
                code="decide.request_id",
                where="requestId",
                cure="Use a new requestId for a new question.",
            )
        return found

    def remember(self, key: bytes, request_hash: bytes, told: Answer, ticket: Ticket[Any]) -> None:
        """Keep an answer at hand."""
        with self._lock:
            self._recent[key] = Repeated(request_hash, told, ticket)
            if len(self._recent) > _REMEMBERED:
                self._recent.popitem(last=False)

    def _logged(self, key: bytes) -> Repeated | None:
        row = self._log.of_request(key)
        candidates = None if row is None else self._catalogue.numbered(row.catalogue)
        if row is None or candidates is None:
            return None
        return Repeated(row.request_hash, answer(row, candidates), None)


def _failed(ticket: Ticket[Any] | None) -> bool:
    """True when the commit is known to have failed: then nobody was answered, and the question is open again."""
    if ticket is None or not ticket.done:
        return False
    try:
        ticket.result()
    except VitrinaError:
        return True
    return False
