"""Events and requests that the benchmarks send: 528-byte browsing events of many people, decisions for them."""

from __future__ import annotations

import json
import random
import uuid
from datetime import UTC, datetime
from typing import Any

PEOPLE = 30_000
NAMES = ("Product Viewed", "Product List Viewed", "Product Added", "Promotion Viewed", "Product Clicked")


def event(number: int, run: str, people: int = PEOPLE, rng: random.Random | None = None) -> dict[str, Any]:
    """One event, as a browser sends it."""
    rng = rng or random.Random(number)
    person = rng.randrange(people)
    return {
        "messageId": str(uuid.UUID(int=random.Random(f"{run}/{number}").getrandbits(128), version=4)),
        "type": "track",
        "event": NAMES[number % len(NAMES)],
        "userId": f"user-{person}",
        "timestamp": datetime.now(UTC).isoformat(),
        "properties": {
            "product_id": f"sku-{rng.randrange(5000)}",
            "category": f"category-{rng.randrange(12)}",
            "name": "Gooseneck kettle, 1 litre, matt black",
            "price": 34.5,
            "currency": "EUR",
            "position": number % 20,
        },
        "context": {
            "page": {"path": "/kettles/gooseneck", "title": "Kettles", "url": "https://shop.example/kettles/gooseneck"},
            "userAgent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/141.0 Safari/537.36",
            "locale": "en-GB",
        },
    }


def batch(number: int, run: str, size: int = 100, people: int = PEOPLE) -> bytes:
    """A body of `/v1/batch`."""
    rng = random.Random(number)
    calls = [event(number * size + i, run, people, rng) for i in range(size)]
    return json.dumps({"batch": calls, "sentAt": datetime.now(UTC).isoformat()}).encode()


def decide(number: int, placement: str = "bench", slots: int = 1, people: int = PEOPLE) -> bytes:
    """A body of `/v1/decide`."""
    person = random.Random(number).randrange(people)
    context = {"device": "mobile", "locale": "en-GB", "page": "/home"}
    return json.dumps({"userId": f"user-{person}", "placement": placement, "slots": slots, "context": context}).encode()
