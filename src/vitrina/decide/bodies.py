"""The catalogue as the HTTP contract and the command line see it: bodies in, bodies out, files row by row."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Iterator
from typing import Any

import msgspec

from vitrina.core.catalogue import Creative, Offer, Placement
from vitrina.core.errors import NotFoundError, UserError
from vitrina.decide.catalogue import Catalogue
from vitrina.decide.wire.creative import CreativeBody, creative_body, creative_of
from vitrina.decide.wire.fields import decode_body, invalid
from vitrina.decide.wire.offer import OfferBody, offer_body, offer_of
from vitrina.decide.wire.placement import PlacementBody, placement_body, placement_of

__all__ = ["Body", "ImportReport", "RowRefusal", "get_body", "import_offers", "put_body"]

Body = OfferBody | CreativeBody | PlacementBody

_LISTS = frozenset({"placements", "tags", "schedule.days", "schedule.hours", "eligibility.requiresConsent"})
_SHORT = {
    "price": "price.amount", "margin": "margin.amount", "cost": "cost.amount", "minimumAge": "eligibility.minimumAge",
    "maximumAge": "eligibility.maximumAge", "requiresConsent": "eligibility.requiresConsent", "from": "schedule.from",
    "to": "schedule.to", "cap.count": "eligibility.cap.count", "cap.per": "eligibility.cap.per",
    "excludeBoughtDays": "eligibility.excludeBoughtDays",
}  # fmt: skip
_TOP = frozenset(OfferBody.__struct_encode_fields__) | frozenset(_SHORT) | {"currency"}
_GROUPS = ("attributes.", "price.", "margin.", "cost.", "schedule.", "eligibility.")
_YES, _NO = frozenset({"true", "yes", "1", "да"}), frozenset({"false", "no", "0", "нет"})


class RowRefusal(msgspec.Struct, frozen=True, kw_only=True):
    """A row that was not taken: its number in the file (the first row of data is 1), its id if readable, and why."""

    row: int
    id: str = ""
    field: str
    reason: str
    cure: str = ""


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a file: rows read, stored, equal to what was there, and refused."""

    read: int
    stored: int
    unchanged: int
    refused: int
    refusals: tuple[RowRefusal, ...] = ()


def put_body(
    catalogue: Catalogue, kind: str, thing_id: str, body: bytes, by: str = "", fields: Collection[str] | None = None
) -> Body:
    """Add or replace an offer, creative or placement from its JSON body; gives the body as stored.

    Args:
        catalogue: where it goes.
        kind: offer | creative | placement.
        thing_id: its id.
        body: its JSON (`OfferBody`, `CreativeBody`, `PlacementBody`).
        by: key or user that changes it.
        fields: names of features that rules may look at; None lets every name pass.

    Raises:
        UserError: the body can't be read or can't be; `where` names the field.
    """
    if kind == "offer":
        return offer_body(catalogue.put(offer_of(thing_id, decode_body(body, OfferBody), fields), by))
    if kind == "creative":
        return creative_body(catalogue.put(creative_of(thing_id, decode_body(body, CreativeBody)), by))
    placement = placement_of(thing_id, decode_body(body, PlacementBody), catalogue.currency)
    return placement_body(catalogue.put(placement, by))


def get_body(catalogue: Catalogue, kind: str, thing_id: str) -> Body:
    """The body of an offer, creative or placement as it stands now; an offer's stock is what is left.

    Raises:
        NotFoundError: it isn't there.
    """
    getters: dict[str, Callable[[str], Offer | Creative | Placement | None]] = {
        "offer": catalogue.offer,
        "creative": catalogue.creative,
        "placement": catalogue.placement,
    }
    thing = getters[kind](thing_id)
    if thing is None:
        raise NotFoundError(f"there is no {kind} {thing_id}.", code=f"{kind}.unknown", where=thing_id)
    if isinstance(thing, Offer):
        return offer_body(thing)
    return creative_body(thing) if isinstance(thing, Creative) else placement_body(thing)


def import_offers(
    catalogue: Catalogue, data: bytes, form: str, by: str = "", fields: Collection[str] | None = None
) -> ImportReport:
    """Add or replace offers from a file: a bad row is reported, the good ones are stored in one transaction.

    CSV has a header of field names as on the wire: `id`, `name`, `price`, `currency`, `margin`, `attributes.colour`,
    `eligibility.minimumAge`, …; lists are separated by `;`. NDJSON has one offer body with its `id` a line.

    Args:
        catalogue: where they go.
        data: the file. A byte order mark is allowed.
        form: csv | ndjson.
        by: key or user that changes them.
        fields: names of features that rules may look at; None lets every name pass.

    Raises:
        UserError: the file as a whole can't be read: its encoding, its separator, a missing or unknown column.
    """
    offers: dict[str, Offer] = {}
    refusals: list[RowRefusal] = []
    read = 0
    for number, make in _rows_of(_text(data), form):
        read += 1
        named = ""
        try:
            body = make()
            named = body.id or ""
            if not named:
                raise UserError("this row has no id.", code="catalogue.id", where="id", cure="Give every offer an id.")
            if named in offers:
                raise UserError(
                    f"{named} stands above already.", code="catalogue.double", where="id", cure="Keep one row an offer."
                )
            offers[named] = offer_of(named, body, fields)
        except UserError as error:
            refusals.append(RowRefusal(row=number, id=named, field=error.where, reason=error.message, cure=error.cure))
    before = {offer_id: catalogue.offer(offer_id) for offer_id in offers}
    stored = catalogue.put_all(list(offers.values()), by)
    unchanged = sum(1 for offer in stored if (was := before[offer.id]) is not None and was.revision == offer.revision)
    return ImportReport(
        read=read, stored=len(stored) - unchanged, unchanged=unchanged, refused=len(refusals), refusals=tuple(refusals)
    )


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"byte {error.start + 1} is not UTF-8.",
            code="catalogue.encoding",
            where=f"line {line}",
            cure="Save the file as UTF-8 (a file from Excel is often in cp1251 or cp1252).",
        ) from None


def _rows_of(text: str, form: str) -> Iterator[tuple[int, Callable[[], OfferBody]]]:
    if form == "ndjson":
        lines = [line for line in text.splitlines() if line.strip()]
        for number, line in enumerate(lines, 1):
            yield number, lambda line=line: decode_body(line.encode(), OfferBody)
        return
    if form != "csv":
        raise UserError(f"there is no form {form}.", code="catalogue.form", cure="Send CSV or NDJSON.")
    rows = csv.reader(io.StringIO(text, newline=""))
    header = [name.strip() for name in next(rows, [])]
    _check_header(header)
    for number, row in enumerate((row for row in rows if any(cell.strip() for cell in row)), 1):
        yield number, lambda row=row: _csv_body(header, row)


def _check_header(header: list[str]) -> None:
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        raise UserError(
            "the columns are not separated by commas.",
            code="catalogue.separator",
            where="header",
            cure="Save it with commas.",
        )
    for needed in ("id", "name"):
        if needed not in header:
            raise UserError(f"the column {needed} is missing.", code="catalogue.column", where="header", cure="Add it.")
    unknown = [name for name in header if name not in _TOP and not name.startswith(_GROUPS)]
    if unknown:
        raise UserError(
            f"there is no column {unknown[0]}.",
            code="catalogue.column",
            where="header",
            cure=f"Name a field of an offer, or attributes.{unknown[0]}.",
        )


def _csv_body(header: list[str], row: list[str]) -> OfferBody:
    if len(row) != len(header):
        raise UserError(
            f"this row has {len(row)} cells, the header {len(header)}.",
            code="catalogue.cells",
            cure="Put cells that hold a comma in quotation marks.",
        )
    tree: dict[str, Any] = {}
    cells = {name: cell.strip() for name, cell in zip(header, row, strict=True) if cell.strip()}
    currency = cells.pop("currency", None)
    for name, cell in cells.items():
        path = _SHORT.get(name, name)
        *parents, leaf = (
            [path.split(".", 1)[0], path.split(".", 1)[1]] if path.startswith("attributes.") else path.split(".")
        )
        place = tree
        for parent in parents:
            place = place.setdefault(parent, {})
        place[leaf] = _cell(path, cell)
    for money in ("price", "margin", "cost"):
        if money in tree and currency is not None:
            tree[money].setdefault("currency", currency)
    try:
        return msgspec.convert(tree, OfferBody, strict=False)
    except msgspec.ValidationError as error:
        raise invalid(error) from None


def _cell(path: str, cell: str) -> Any:
    if path in _LISTS:
        return [part.strip() for part in cell.split(";") if part.strip()]
    if path in ("advertising", "enabled"):
        return True if cell.lower() in _YES else False if cell.lower() in _NO else cell
    if path.startswith("attributes."):
        try:
            return float(cell) if "." in cell else int(cell)
        except ValueError:
            return cell
    return cell
