"""The catalogue: revisions, bodies on the wire, files row by row."""

from __future__ import annotations

import msgspec
import pytest

from tests.unit.decide.shop import Shop, creative, offer
from vitrina.core.catalogue import Placement
from vitrina.core.errors import NotFoundError, UserError
from vitrina.decide.bodies import get_body, import_offers, put_body

WHOLE = {
    "offer": {
        "name": "Зелёный чай",
        "category": "tea",
        "attributes": {"leaf": "green", "grams": 100, "organic": True},
        "price": {"amount": "9.50", "currency": "EUR"},
        "margin": {"amount": "-1.20", "currency": "EUR"},
        "discount": 0.25,
        "cost": {"amount": "0.01", "currency": "EUR"},
        "placements": ["home"],
        "schedule": {"from": "2026-01-01T00:00:00Z", "to": "2027-01-01T00:00:00Z", "days": [1, 7], "hours": [9, 10]},
        "stock": 12,
        "tags": ["new"],
        "advertising": True,
        "eligibility": {
            "minimumAge": 18,
            "maximumAge": 99,
            "requiresConsent": ["email"],
            "excludeBoughtDays": 30,
            "audience": {
                "all": [{"field": "orders_90d", "op": ">=", "value": 2}, {"field": "trait.city", "op": "missing"}]
            },
            "exclude": {"not": {"field": "context.page", "op": "in", "value": ["cart"]}},
            "cap": {"count": 2, "per": "week"},
        },
        "enabled": False,
    },
    "creative": {
        "offerId": "x",
        "channel": "email",
        "locale": "ru",
        "size": "600x200",
        "content": {"title": "Чай", "deep": [1, {"a": None}]},
        "generated": True,
        "status": "approved",
    },
    "placement": {
        "name": "Home",
        "public": True,
        "slots": 3,
        "channel": "app",
        "currency": "USD",
        "holdout": 0.1,
        "holdoutServes": ["x"],
        "policy": {"kind": "uniform", "floor": 0.05},
        "fallback": {"title": "?"},
        "durability": "process",
        "purpose": "email",
        "outcomes": [
            {
                "event": "Signed Up",
                "value": {"amount": "2.00", "currency": "USD"},
                "window": "12h",
                "sign": -1,
                "weak": True,
            }
        ],
        "enabled": False,
    },
}


@pytest.mark.parametrize("kind", WHOLE)
def test_every_field_comes_back(shop, kind):
    shop.catalogue.put(offer("x"))
    body = WHOLE[kind]
    put_body(shop.catalogue, kind, "thing", msgspec.json.encode(body), "me")
    told = msgspec.json.decode(msgspec.json.encode(get_body(shop.catalogue, kind, "thing")))
    assert {name: told[name] for name in body} == body
    assert told["id"] == "thing"
    assert told["revision"] == 1
    again = {**told, "id": "thing"}
    assert put_body(shop.catalogue, kind, "thing", msgspec.json.encode(again)).revision == 1
    [(revision, _, by, thing)] = shop.catalogue.history(kind, "thing")
    assert (revision, by, thing.revision) == (1, "me", 1)


@pytest.mark.parametrize(
    ("kind", "body", "where", "code"),
    [
        ("offer", "{", "", "catalogue.unreadable"),
        ("offer", '{"name": "\\ud800"}', "", "catalogue.unreadable"),
        ("offer", "{}", "name", "catalogue.invalid"),
        ("offer", '{"name": "a", "prise": 1}', "prise", "catalogue.invalid"),
        ("offer", '{"name": 5}', "name", "catalogue.invalid"),
        ("offer", '{"name": "a", "discount": 1}', "discount", "catalogue.invalid"),
        ("offer", '{"name": "a", "stock": -1}', "stock", "catalogue.invalid"),
        ("offer", '{"name": "a", "price": {"amount": "-1", "currency": "EUR"}}', "price.amount", "catalogue.negative"),
        ("offer", '{"name": "a", "price": {"amount": "1,5", "currency": "EUR"}}', "price.amount", "money.unreadable"),
        ("offer", '{"name": "a", "price": {"amount": 1, "currency": "euro"}}', "price.currency", "catalogue.currency"),
        (
            "offer",
            '{"name": "a", "price": {"amount": 1, "currency": "EUR"}, "margin": {"amount": 1, "currency": "USD"}}',
            "margin.currency",
            "catalogue.currency",
        ),
        ("offer", '{"name": "a", "schedule": {"from": "tomorrow"}}', "schedule.from", "catalogue.time"),
        ("offer", '{"name": "a", "schedule": {"days": ["noday"]}}', "schedule.days", "catalogue.day"),
        (
            "offer",
            '{"name": "a", "schedule": {"from": "2026-02-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}}',
            "schedule.to",
            "catalogue.schedule",
        ),
        (
            "offer",
            '{"name": "a", "eligibility": {"cap": {"count": 1, "per": "year"}}}',
            "eligibility.cap.per",
            "catalogue.invalid",
        ),
        (
            "offer",
            '{"name": "a", "eligibility": {"minimumAge": 20, "maximumAge": 10}}',
            "eligibility.maximumAge",
            "catalogue.age",
        ),
        (
            "offer",
            '{"name": "a", "eligibility": {"audience": {"field": "ordres_90d", "op": ">", "value": 1}}}',
            "eligibility.audience.field",
            None,
        ),
        (
            "offer",
            '{"name": "a", "eligibility": {"exclude": {"any": [{"op": ">"}]}}}',
            "eligibility.exclude.any[0]",
            None,
        ),
        ("offer", '{"id": "b", "name": "a"}', "id", "catalogue.id"),
        ("creative", '{"offerId": "nothing"}', "offerId", "offer.unknown"),
        ("creative", '{"offerId": "x", "status": "great"}', "status", "catalogue.invalid"),
        ("placement", '{"slots": 21}', "slots", "catalogue.invalid"),
        ("placement", '{"holdoutServes": ["nothing"]}', "holdoutServes", "offer.unknown"),
        ("placement", '{"policy": {"kind": "greedy"}}', "policy.kind", "catalogue.invalid"),
        ("placement", '{"outcomes": [{"event": "E", "window": "a week"}]}', "outcomes[0].window", "catalogue.window"),
        (
            "placement",
            '{"outcomes": [{"event": "E", "value": {"amount": 1, "currency": "USD"}}]}',
            "outcomes[0].value.currency",
            "catalogue.currency",
        ),
    ],
)
def test_refusal_names_the_field_and_the_cure(shop, kind, body, where, code):
    shop.catalogue.put(offer("x"))
    with pytest.raises(UserError) as caught:
        put_body(shop.catalogue, kind, "a", body.encode(), fields=("orders_90d",))
    assert caught.value.where == where
    assert code is None or caught.value.code == code
    assert caught.value.cure
    assert getattr(shop.catalogue, kind)("a") is None


@pytest.mark.parametrize("bad", ["", "a b", "a/b", "x" * 201])
def test_id_must_fit_into_an_address(shop, bad):
    with pytest.raises(UserError, match="can't be an id"):
        put_body(shop.catalogue, "offer", bad, b'{"name": "a"}')


def test_deleted_is_gone_for_decisions_but_not_for_the_log(shop):
    shop.stock_up(2)
    before = shop.catalogue.candidates("home")
    shop.catalogue.delete("offer", "o01", "me")
    assert shop.catalogue.candidates("home").offer_ids == ("o00",)
    assert shop.catalogue.numbered(before.number).offer_ids == ("o00", "o01")
    assert shop.catalogue.history("offer", "o01")[-1][3] is None
    for missing in ("o01", "o77"):
        with pytest.raises(NotFoundError):
            shop.catalogue.delete("offer", missing)
        with pytest.raises(NotFoundError):
            get_body(shop.catalogue, "offer", missing)
    shop.catalogue.put(offer("o01"))
    assert shop.catalogue.offer("o01").revision == 3


def test_change_is_all_or_nothing(shop):
    with pytest.raises(UserError):
        shop.catalogue.put_all([creative("nothing"), creative("nothing")])
    assert shop.catalogue.creatives() == []


def test_another_process_sees_the_change_after_refresh(shop, tmp_path):
    other = Shop(tmp_path)
    shop.stock_up(2)
    with pytest.raises(NotFoundError):
        other.catalogue.candidates("home")
    other.catalogue.refresh()
    assert other.catalogue.candidates("home").number == shop.catalogue.candidates("home").number
    other.store.close()


def test_categories_keep_their_column(shop):
    shop.catalogue.put(Placement(id="home"))
    shop.catalogue.put_all([offer(f"o{i:02}", category=f"c{i}") for i in range(12)])
    before = shop.catalogue.candidates("home").g.copy()
    shop.catalogue.put(offer("a0", category="c5"))
    after = shop.catalogue.candidates("home").g
    assert (after[1:] == before).all()
    assert (after[0, 4:] == before[5, 4:]).all()
    assert (before[7:, 4:] == before[11, 4:]).all()


CSV = (
    "\ufeffid,name,price,currency,margin,stock,tags,attributes.colour,attributes.grams,advertising,eligibility.minimumAge,cap.count,cap.per\r\n"
    'a,"Tea, green",9.50,EUR,3,5,new;hot,green,100,yes,18,2,week\r\n'
    "b,Bad,-1,EUR,,,,,,,,,\r\n"
    "\r\n"
    "c,Half a row\r\n"
    "a,Again,1,EUR,,,,,,,,,\r\n"
    ",Nameless,1,EUR,,,,,,,,,\r\n"
    "d,Wrong,1,EUR,,,,,,maybe,,,\r\n"
    "e,Чай,1,EUR,,,,,,,,,\r\n"
)


def test_csv_row_by_row(shop):
    report = import_offers(shop.catalogue, CSV.encode(), "csv", "me")
    assert (report.read, report.stored, report.unchanged, report.refused) == (7, 2, 0, 5)
    assert [(refusal.row, refusal.id, refusal.field) for refusal in report.refusals] == [
        (2, "b", "price.amount"),
        (3, "", ""),
        (4, "a", "id"),
        (5, "", "id"),
        (6, "", "advertising"),
    ]
    tea = shop.catalogue.offer("a")
    assert (tea.name, tea.price.minor, tea.stock, tea.tags, tea.advertising) == (
        "Tea, green",
        950,
        5,
        ("new", "hot"),
        True,
    )
    assert tea.attributes == {"colour": "green", "grams": 100}
    assert (tea.eligibility.minimum_age, tea.eligibility.cap.count) == (18, 2)
    assert shop.catalogue.offer("e").name == "Чай"
    again = import_offers(shop.catalogue, CSV.encode(), "csv", "me")
    assert (again.stored, again.unchanged) == (0, 2)


def test_ndjson_row_by_row(shop):
    lines = b'{"id": "a", "name": "A"}\n\nnonsense\n{"id": "b", "name": "B", "discount": 2}\n{"name": "nameless"}\n'
    report = import_offers(shop.catalogue, lines, "ndjson")
    assert (report.read, report.stored, report.refused) == (4, 1, 3)
    assert [refusal.field for refusal in report.refusals] == ["", "discount", "id"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"id;name\na;A\n", "catalogue.separator"),
        ("id,name\na,Чай\n".encode("cp1251"), "catalogue.encoding"),
        (b"name\nA\n", "catalogue.column"),
        (b"id,name,colour\na,A,red\n", "catalogue.column"),
        (b"", "catalogue.column"),
    ],
)
def test_file_as_a_whole_is_refused_with_place_and_cure(shop, data, code):
    with pytest.raises(UserError) as caught:
        import_offers(shop.catalogue, data, "csv")
    assert caught.value.code == code
    assert caught.value.where
    assert caught.value.cure
    assert shop.catalogue.offers() == []
