"""Identifiers of people: how they are written down, and which of them name nobody.

Kinds: `u:` userId, `a:` anonymousId, `e:` e-mail address, `p:` phone number, `x:NAMESPACE:` an id of another system.
"""

from __future__ import annotations

import re
from hashlib import blake2b

__all__ = ["JUNK", "erasure_key", "is_junk", "normal_email", "normal_phone"]

JUNK = frozenset(
    {
        "",
        "null",
        "undefined",
        "none",
        "nil",
        "nan",
        "true",
        "false",
        "n/a",
        "na",
        "anonymous",
        "anon",
        "guest",
        "unknown",
        "user",
        "userid",
        "user_id",
        "anonymousid",
        "id",
        "test",
        "[object object]",
        "not set",
        "(not set)",
        "-1",
    }
)
"""Placeholders that programs send in place of an id (compared in lower case)."""

_LONGEST_JUNK = 16

_JUNK_MAILBOX = frozenset(
    {
        "test",
        "noreply",
        "no-reply",
        "donotreply",
        "none",
        "null",
        "undefined",
        "example",
        "user",
        "email",
        "anonymous",
        "guest",
        "na",
        "asdf",
    }
)
_EMAIL = re.compile(r"[^@\s\x00-\x1f]{1,64}@[^@\s\x00-\x1f]+\.[^@\s.\x00-\x1f]{2,}")
_NOT_DIGITS = re.compile(r"[\s()./\u00a0-]+")
_PHONE = re.compile(r"\+[1-9]\d{6,14}")


def is_junk(identifier: str) -> bool:
    """True for a placeholder: a word such as `undefined`, or only zeros and dashes.

    >>> is_junk("NULL"), is_junk("00000000-0000-0000-0000-000000000000"), is_junk("12346")
    (True, True, False)
    """
    if len(identifier) < _LONGEST_JUNK and identifier.lower() in JUNK:
        return True
    return identifier[0] in "0-" and not identifier.strip("0-")


def normal_email(text: str) -> str | None:
    """The address in lower case without blanks around it; None when it is none or a mailbox that nobody owns.

    Dots and plus signs are kept: two addresses that differ in them may be two people.

    >>> normal_email(" Anna@Shop.example "), normal_email("test@test.com"), normal_email("anna")
    ('anna@shop.example', None, None)
    """
    address = text.strip().lower()
    if len(address) > 254 or not _EMAIL.fullmatch(address) or address.partition("@")[0] in _JUNK_MAILBOX:
        return None
    return address


def normal_phone(text: str) -> str | None:
    """The number in E.164 form; None unless it is international (`+` or `00`): without a country it names nobody.

    >>> normal_phone("+7 (495) 123-45-67"), normal_phone("0044 20 7946 0000"), normal_phone("123-45-67")
    ('+74951234567', '+442079460000', None)
    """
    digits = _NOT_DIGITS.sub("", text)
    if digits.startswith("00"):
        digits = "+" + digits[2:]
    if not _PHONE.fullmatch(digits) or len(set(digits[4:])) == 1:
        return None
    return digits


def erasure_key(identifier: str) -> bytes:
    """The hash under which an erased identifier (`u:42`) is remembered, so that it can be recognised but not read."""
    return blake2b(identifier.encode("utf-8", "surrogatepass"), digest_size=16, person=b"erased").digest()
