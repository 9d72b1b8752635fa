"""The tracking plan: which properties an event has, and of which type, by event name and version.

Built in are the events of Segment's e-commerce specification (version 2) and e-mail specification; a plan file adds
those of the shop, with required properties, closed lists of properties, and what becomes of an event that contradicts
the plan. Events and properties that the plan doesn't know pass, unless it says otherwise.

Source: Segment, "Spec: V2 Ecommerce Events" and "Spec: Email Events".
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import msgspec

from vitrina.core.errors import UserError

__all__ = ["BUILT_IN", "MODES", "EventSchema", "Plan", "PlannedEvent", "Problem", "Property", "describe", "load_plan"]

MODES: dict[str, str] = {
    "observe": "it is stored and counts; the violation is counted",
    "quarantine": "it is stored and shown, and neither teaches nor counts",
    "block": "it becomes a dead letter",
}
"""What becomes of an event that contradicts the plan."""


class Property(msgspec.Struct, frozen=True):
    """One property of an event.

    Attributes:
        name: as sent.
        kind: text | id (text or whole number) | amount (number or decimal text) | number | integer | boolean | time |
            list | object | products (a list of lines).
        description: what it means.
    """

    name: str
    kind: str
    description: str = ""


class EventSchema(msgspec.Struct, frozen=True):
    """One version of one event.

    Attributes:
        event: its name.
        properties: those that have a type.
        required: names of properties that must be there and not null.
        closed: properties that are not named contradict the plan.
        mode: one of `MODES`, or "" for that of the plan.
        group: e-commerce | e-mail | own.
    """

    event: str
    properties: tuple[Property, ...]
    description: str = ""
    version: int = 1
    group: str = "own"
    required: tuple[str, ...] = ()
    closed: bool = False
    mode: str = ""


class Problem(msgspec.Struct, frozen=True):
    """What contradicts the plan.

    Attributes:
        path: of the property, below `properties`; "" when the event itself or its version is meant.
        expected, found: in words.
        code: plan.type | plan.version | plan.missing (a required property) | plan.unplanned (a property of a closed
            event) | plan.event (an event that the plan doesn't know).
    """

    path: str
    expected: str
    found: str
    code: str = "plan.type"


def _is_id(value: Any) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool)


def _is_amount(value: Any) -> bool:
    if isinstance(value, str):
        try:
            return Decimal(value).is_finite()
        except InvalidOperation:
            return False
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_integer(value: Any) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer())


_KINDS: dict[str, tuple[Callable[[Any], bool], frozenset[type], str]] = {
    "text": (lambda v: isinstance(v, str), frozenset({str}), "text"),
    "id": (_is_id, frozenset({str, int}), "text or a whole number"),
    "amount": (_is_amount, frozenset({int, float}), 'a number or decimal text such as "12.50"'),
    "number": (lambda v: isinstance(v, (int, float)) and not isinstance(v, bool), frozenset({int, float}), "a number"),
    "integer": (_is_integer, frozenset({int}), "a whole number"),
    "boolean": (lambda v: isinstance(v, bool), frozenset({bool}), "true or false"),
    "time": (lambda v: isinstance(v, str), frozenset({str}), "a time as ISO 8601 text"),
    "list": (lambda v: isinstance(v, list), frozenset({list}), "a list"),
    "object": (lambda v: isinstance(v, dict), frozenset({dict}), "an object"),
    "products": (lambda v: isinstance(v, list), frozenset(), "a list of products"),
}


def _p(name: str, kind: str, description: str) -> Property:
    return Property(name, kind, description)


_PRODUCT: tuple[Property, ...] = (
    _p("product_id", "id", "Id of the product."),
    _p("sku", "id", "Stock-keeping unit."),
    _p("category", "text", "Category of the product."),
    _p("name", "text", "Name of the product."),
    _p("brand", "text", "Brand."),
    _p("variant", "text", "Variant, for example the colour."),
    _p("price", "amount", "Price of one piece."),
    _p("quantity", "integer", "Number of pieces."),
    _p("coupon", "text", "Coupon code of the product."),
    _p("position", "integer", "Position in a list."),
    _p("url", "text", "Address of the product's page."),
    _p("image_url", "text", "Address of its picture."),
)
_ONE = (
    *_PRODUCT,
    _p("currency", "text", "ISO 4217 code of the amounts."),
    _p("value", "amount", "Value of the product."),
)
_PRODUCTS = _p(
    "products", "products", "Products, each with product_id, price, quantity and the other product properties."
)
_LIST = (_p("list_id", "id", "Id of the list."), _p("category", "text", "Category of the list."))
_PROMOTION = (
    _p("promotion_id", "id", "Id of the promotion."),
    _p("creative", "text", "Which creative was shown."),
    _p("name", "text", "Name of the promotion."),
    _p("position", "id", "Where it was shown."),
)
_ORDER = (
    _p("order_id", "id", "Id of the order."),
    _p("affiliation", "text", "Shop or affiliate."),
    _p("total", "amount", "Price paid, with discounts, tax and shipping."),
    _p("revenue", "amount", "Price paid; used when there is no total."),
    _p("value", "amount", "Margin earned, or for a refund the loss as a positive number."),
    _p("shipping", "amount", "Shipping."),
    _p("tax", "amount", "Tax."),
    _p("discount", "amount", "Discount."),
    _p("coupon", "text", "Coupon code."),
    _p("currency", "text", "ISO 4217 code of the amounts."),
    _PRODUCTS,
)
_CHECKOUT = _p("checkout_id", "id", "Id of the checkout.")
_STEP = (
    _CHECKOUT,
    _p("step", "integer", "Number of the step."),
    _p("shipping_method", "text", "Shipping method."),
    _p("payment_method", "text", "Payment method."),
)
_COUPON = (
    _p("order_id", "id", "Id of the order."),
    _p("cart_id", "id", "Id of the cart."),
    _p("coupon_id", "id", "Id of the coupon."),
    _p("coupon_name", "text", "Name of the coupon."),
    _p("discount", "amount", "What it takes off."),
    _p("reason", "text", "Why it was denied."),
)
_CART = _p("cart_id", "id", "Id of the cart.")
_SHARE = (
    _p("share_via", "text", "How it was shared."),
    _p("share_message", "text", "Message of the sender."),
    _p("recipient", "text", "Who received it."),
)
_WISH = (_p("wishlist_id", "id", "Id of the wish list."), _p("wishlist_name", "text", "Name of the wish list."))
_SUBTOTAL = _p("subtotal", "amount", "Sum of the products after discounts, without tax and shipping.")

_EMAIL = (
    _p("email_id", "id", "Id of the message."),
    _p("email_subject", "text", "Subject line."),
    _p("campaign_id", "id", "Id of the campaign."),
    _p("campaign_name", "text", "Name of the campaign."),
    _p("list_id", "id", "Id of the mailing list."),
    _p("list_name", "text", "Name of the mailing list."),
)
_LINK = (_p("link_id", "id", "Id of the link."), _p("link_url", "text", "Address of the link."))

OUTCOME_PROPERTIES: tuple[Property, ...] = (
    _p("decisionId", "text", "The decision that this is an outcome of."),
    _p("offerId", "text", "The offer that it is about."),
)
"""Every event may name the decision that it is an outcome of."""

_ECOMMERCE: tuple[tuple[str, str, tuple[Property, ...]], ...] = (
    ("Products Searched", "Somebody searched for products.", (_p("query", "text", "What was searched for."),)),
    ("Product List Viewed", "A list or category was viewed.", (*_LIST, _PRODUCTS)),
    (
        "Product List Filtered",
        "A list was filtered or sorted.",
        (*_LIST, _p("filters", "list", "Filters chosen."), _p("sorts", "list", "Orders chosen."), _PRODUCTS),
    ),
    ("Promotion Viewed", "An offer was seen.", _PROMOTION),
    ("Promotion Clicked", "An offer was clicked.", _PROMOTION),
    ("Product Clicked", "A product was clicked.", _ONE),
    ("Product Viewed", "A product's page was viewed.", _ONE),
    ("Product Added", "A product was put into the cart.", (_CART, *_ONE)),
    ("Product Removed", "A product was taken out of the cart.", (_CART, *_ONE)),
    ("Cart Viewed", "The cart was viewed.", (_CART, _PRODUCTS)),
    ("Checkout Started", "The checkout began.", (_CHECKOUT, *_ORDER)),
    ("Checkout Step Viewed", "A step of the checkout was viewed.", _STEP),
    ("Checkout Step Completed", "A step of the checkout was completed.", _STEP),
    ("Payment Info Entered", "Payment details were entered.", (*_STEP, _p("order_id", "id", "Id of the order."))),
    ("Order Updated", "An order was changed.", _ORDER),
    ("Order Completed", "An order was paid.", (_CHECKOUT, _SUBTOTAL, *_ORDER)),
    ("Order Refunded", "An order, or part of it, was refunded.", _ORDER),
    ("Order Cancelled", "An order was cancelled.", _ORDER),
    ("Coupon Entered", "A coupon was entered.", _COUPON),
    ("Coupon Applied", "A coupon was accepted.", _COUPON),
    ("Coupon Denied", "A coupon was denied.", _COUPON),
    ("Coupon Removed", "A coupon was removed.", _COUPON),
    ("Product Added to Wishlist", "A product was put on a wish list.", (*_WISH, *_ONE)),
    ("Product Removed from Wishlist", "A product was taken off a wish list.", (*_WISH, *_ONE)),
    ("Wishlist Product Added to Cart", "A product went from the wish list to the cart.", (*_WISH, _CART, *_ONE)),
    ("Product Shared", "A product was shared.", (*_SHARE, *_ONE)),
    ("Cart Shared", "A cart was shared.", (*_SHARE, _CART, _PRODUCTS)),
    (
        "Product Reviewed",
        "A product was reviewed.",
        (
            _p("product_id", "id", "Id of the product."),
            _p("review_id", "id", "Id of the review."),
            _p("review_body", "text", "What was written."),
            _p("rating", "id", "The rating."),
        ),
    ),
)
_EMAIL_EVENTS: tuple[tuple[str, str, tuple[Property, ...]], ...] = (
    ("Email Delivered", "A mail was delivered.", _EMAIL),
    ("Email Opened", "A mail was opened.", _EMAIL),
    ("Email Link Clicked", "A link in a mail was clicked.", (*_EMAIL, *_LINK)),
    ("Email Bounced", "A mail came back.", _EMAIL),
    ("Email Marked as Spam", "A mail was reported as spam.", _EMAIL),
    ("Unsubscribed", "Somebody asked for no more mail.", _EMAIL),
)

BUILT_IN: tuple[EventSchema, ...] = tuple(
    EventSchema(name, (*properties, *OUTCOME_PROPERTIES), description, 1, group)
    for group, events in (("e-commerce", _ECOMMERCE), ("e-mail", _EMAIL_EVENTS))
    for name, description, properties in events
)
"""The events that every workspace knows."""


class _Compiled:
    """One schema made ready: property → kind, and the types that pass at once; `strict`: names alone can be wrong."""

    __slots__ = ("closed", "fast", "kinds", "mode", "required", "strict")

    def __init__(self, schema: EventSchema) -> None:
        self.kinds = {p.name: p.kind for p in schema.properties}
        self.fast = {p.name: _KINDS[p.kind][1] for p in schema.properties}
        self.required = schema.required
        self.closed = schema.closed
        self.strict = schema.closed or bool(schema.required)
        self.mode = schema.mode


_LINE = _Compiled(EventSchema("", _PRODUCT))


class Plan:
    """A set of schemas, ready to check events.

    Args:
        schemas: at most one for each event and version.
        mode: what becomes of an event that contradicts its schema, where that doesn't say (one of `MODES`).
        unknown: what becomes of a track call whose event is in no schema: one of `MODES`, or "pass".

    Attributes:
        picky: events without any property have to be checked too.
    """

    def __init__(
        self, schemas: Iterable[EventSchema] = BUILT_IN, *, mode: str = "block", unknown: str = "pass"
    ) -> None:
        self.mode = mode
        self.unknown = unknown
        self.schemas: dict[tuple[str, int], EventSchema] = {}
        for schema in schemas:
            key = (schema.event, schema.version)
            if key in self.schemas:
                raise _twice(schema)
            self.schemas[key] = schema
        self._compiled = {key: _Compiled(schema) for key, schema in self.schemas.items()}
        self._versions: dict[str, dict[int, _Compiled]] = {}
        for (event, version), compiled in self._compiled.items():
            self._versions.setdefault(event, {})[version] = compiled
        self._latest = {event: versions[max(versions)] for event, versions in self._versions.items()}
        self.picky = unknown != "pass" or any(compiled.strict for compiled in self._compiled.values())

    def knows(self, event: str) -> bool:
        """The plan holds this event in some version."""
        return event in self._latest

    def versions(self, event: str) -> list[int]:
        """The versions of an event that the plan holds, in order."""
        return sorted(self._versions.get(event, ()))

    def check(self, event: str, properties: Mapping[str, Any], version: int | None = None) -> Problem | None:
        """The first thing that contradicts the plan, or None.

        `version` None means the latest. A version that the plan doesn't hold is a problem with the path "".
        """
        compiled = self._latest.get(event)
        if compiled is None:
            return None if self.unknown == "pass" else Problem("", "an event of the plan", f"{event!r}", "plan.event")
        if version is not None:
            held = self._versions[event]
            if version not in held:
                return Problem("", f"one of {sorted(held)}", str(version), "plan.version")
            compiled = held[version]
        if compiled.strict:
            problem = _names(compiled, properties)
            if problem is not None:
                return problem
        fast = compiled.fast.get
        for name, value in properties.items():
            types = fast(name)
            if types is not None and type(value) not in types and value is not None:
                problem = _slow(compiled, name, value, name)
                if problem is not None:
                    return problem
        return None

    def mode_of(self, event: str, version: int | None = None) -> str:
        """What becomes of an event that contradicts the plan: observe | quarantine | block."""
        held = self._versions.get(event)
        if held is None:
            return self.mode if self.unknown == "pass" else self.unknown
        compiled = self._latest[event] if version is None else held.get(version, self._latest[event])
        return compiled.mode or self.mode


def _names(compiled: _Compiled, properties: Mapping[str, Any]) -> Problem | None:
    """A required property that isn't there, or one that a closed event doesn't have."""
    for name in compiled.required:
        if properties.get(name) is None:
            return Problem(name, "a value", "nothing", "plan.missing")
    if compiled.closed:
        for name in properties:
            if name not in compiled.kinds:
                return Problem(name[:100], f"one of {', '.join(compiled.kinds)}", "another property", "plan.unplanned")
    return None


def _slow(compiled: _Compiled, name: str, value: object, path: str) -> Problem | None:
    kind = compiled.kinds[name]
    check, _, words = _KINDS[kind]
    if not check(value):
        return Problem(path, words, _name(value))
    if kind != "products":
        return None
    for i, line in enumerate(cast("list[object]", value)):
        if not isinstance(line, dict):
            return Problem(f"{path}[{i}]", "an object", _name(line))
        for key, inner in cast("dict[str, object]", line).items():
            if key in _LINE.fast and type(inner) not in _LINE.fast[key] and inner is not None:
                problem = _slow(_LINE, key, inner, f"{path}[{i}].{key}")
                if problem is not None:
                    return problem
    return None


def _name(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return f"{value!r}"[:60]


class PlannedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One version of an event as a list shows it; `mode` is what becomes of events that contradict it."""

    event: str
    version: int
    group: str
    mode: str
    closed: bool
    required: tuple[str, ...]
    properties: dict[str, str]


def describe(plan: Plan) -> list[PlannedEvent]:
    """Every event of a plan, the shop's own ones first."""
    schemas = sorted(plan.schemas.values(), key=lambda schema: schema.group != "own")
    return [
        PlannedEvent(
            event=schema.event,
            version=schema.version,
            group=schema.group,
            mode=schema.mode or plan.mode,
            closed=schema.closed,
            required=schema.required,
            properties={field.name: field.kind for field in schema.properties},
        )
        for schema in schemas
    ]


class _File(msgspec.Struct, forbid_unknown_fields=True):
    event: list[Any] = []
    unknown_events: Literal["pass", "observe", "quarantine", "block"] = "pass"


def load_plan(path: Path, mode: str = "block") -> Plan:
    """The built-in events and those of a plan file; its event replaces a built-in one of the same name and version.

    The file is TOML: `[[event]]` tables with `name`, `version` (default 1), `description`, `mode`, `closed`, a list
    `required`, and a table `properties` of name → kind. `unknown_events` says what becomes of other events.

    Args:
        path: the file.
        mode: of the events that say none (one of `MODES`).

    Raises:
        UserError: it can't be read or isn't TOML, an event has no name, or a kind, mode or required property is
            unknown; says where.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(
            f"the tracking plan can't be read: {error}.",
            code="plan.unreadable",
            where=str(path),
            cure="Correct the file, or name another one in collect.plan (the mode stands in collect.plan_mode).",
        ) from None
    try:
        read = msgspec.convert(table, _File)
    except msgspec.ValidationError as error:
        raise UserError(
            f"{error}.", code="plan.invalid", where=str(path), cure="A plan holds unknown_events and [[event]] tables."
        ) from None
    schemas = {(s.event, s.version): s for s in BUILT_IN}
    stated: set[tuple[str, int]] = set()
    for i, entry in enumerate(read.event):
        schema = _schema(entry, f"{path}: event[{i}]")
        key = (schema.event, schema.version)
        if key in stated:
            raise _twice(schema, f"{path}: event[{i}]")
        stated.add(key)
        schemas[key] = schema
    return Plan(schemas.values(), mode=mode, unknown=read.unknown_events)


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    version: int = 1
    description: str = ""
    mode: Literal["", "observe", "quarantine", "block"] = ""
    closed: bool = False
    required: list[str] = []
    properties: dict[str, str] = {}


def _schema(entry: object, where: str) -> EventSchema:
    try:
        read = msgspec.convert(entry, _Entry)
    except msgspec.ValidationError as error:
        raise UserError(f"{error}.", code="plan.invalid", where=where, cure="Give it a name and properties.") from None
    for name, kind in read.properties.items():
        if kind not in _KINDS:
            raise UserError(
                f"there is no kind {kind!r}.",
                code="plan.invalid",
                where=f"{where}.properties.{name}",
                cure=f"Use one of {', '.join(_KINDS)}.",
            )
    untyped = [name for name in read.required if name not in read.properties]
    if untyped:
        raise UserError(
            f"{untyped[0]!r} is required but not among the properties.",
            code="plan.invalid",
            where=f"{where}.required",
            cure="Add it to properties with its kind.",
        )
    own = tuple(Property(name, kind) for name, kind in read.properties.items())
    return EventSchema(
        read.name,
        (*own, *(field for field in OUTCOME_PROPERTIES if field.name not in read.properties)),
        read.description,
        read.version,
        "own",
        tuple(read.required),
        read.closed,
        read.mode,
    )


def _twice(schema: EventSchema, where: str = "") -> UserError:
    return UserError(
        f"{schema.event} version {schema.version} is in the plan twice.",
        code="plan.twice",
        where=where,
        cure="Keep one of them.",
    )
