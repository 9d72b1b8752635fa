"""Starter features for a shop, from Segment's e-commerce and e-mail events."""

from __future__ import annotations

from vitrina.core.event import CLICK, ORDER, REFUND, VIEW
from vitrina.core.predicate import AnyOf, Compare
from vitrina.understand.features.algebra import (
    Count,
    DaysSince,
    Decayed,
    Distinct,
    Events,
    Feature,
    Last,
    Ratio,
    Sessions,
    Sum,
    TopDecayed,
)

__all__ = ["BROWSING", "FEATURES", "NUMBER", "feature_words"]

NUMBER = 1
"""Version of this set: raise it whenever a definition below changes (a test holds both together)."""

BROWSING = (
    "Cart Viewed",
    "Checkout Started",
    "Product Added",
    "Product Clicked",
    "Product List Viewed",
    VIEW,
    "Products Searched",
    CLICK,
    "Promotion Viewed",
)
"""Events that only a visit to the shop causes."""

_discount = AnyOf((Compare("properties.discount", ">", 0), Compare("properties.coupon", "!=", "")))
_anything = Events("any")
_orders = Events("orders", names=(ORDER,), trusted=True)
_discounted = Events("discounted", names=(ORDER,), trusted=True, where=_discount)
_refunds = Events("refunds", names=(REFUND,), trusted=True)
_views = Events("views", names=(VIEW,))
_clicks = Events("clicks", names=(CLICK,))
_opened = Events("opened", names=("Email Opened",))
_visits = Events("visits", names=BROWSING, types=("page", "screen"))

FEATURES: tuple[Feature, ...] = (
    Feature("orders_30d", Count(_orders, 30), "orders in 30 days", "заказов за 30 дней", "orders"),
    Feature("orders_90d", Count(_orders, 90), "orders in 90 days", "заказов за 90 дней", "orders"),
    Feature("orders_all", Count(_orders), "orders ever", "заказов за всё время", "orders"),
    Feature("revenue_90d", Sum(_orders, "revenue", 90), "revenue in 90 days", "выручка за 90 дней", "minor units"),
    Feature(
        "average_order", Ratio(Sum(_orders, "revenue"), Count(_orders)), "average order", "средний заказ", "minor units"
    ),
    Feature(
        "days_since_last_order", DaysSince(_orders), "days since the last order", "дней с последнего заказа", "days"
    ),
    Feature("refunds_90d", Count(_refunds, 90), "refunds in 90 days", "возвратов за 90 дней", "refunds"),
    Feature(
        "discount_share",
        Ratio(Count(_discounted), Count(_orders)),
        "share of orders with a discount",
        "доля заказов со скидкой",
        "fraction",
    ),
    Feature(
        "products_bought_365d",
        Distinct(_orders, "products.product_id", 365, limit=2_000),
        "different products bought in 365 days",
        "разных товаров куплено за 365 дней",
        "products",
    ),
    Feature("views_7d", Count(_views, 7), "product views in 7 days", "просмотров товаров за 7 дней", "views"),
    Feature("views_decayed", Decayed(_views, 7), "recent product views", "недавние просмотры товаров", "views"),
    Feature(
        "products_viewed_7d",
        Distinct(_views, "product_id", 7),
        "different products viewed in 7 days",
        "разных товаров просмотрено за 7 дней",
        "products",
    ),
    Feature("top_category", TopDecayed(_views, "category", 7), "favourite category", "любимая категория"),
    Feature("last_category", Last(_views, "category"), "last category viewed", "последняя просмотренная категория"),
    Feature("sessions_30d", Sessions(_visits, 30), "visits in 30 days", "визитов за 30 дней", "visits"),
    Feature(
        "clicks_30d", Count(_clicks, 30), "promotion clicks in 30 days", "кликов по предложениям за 30 дней", "clicks"
    ),
    Feature(
        "emails_opened_30d", Count(_opened, 30), "e-mails opened in 30 days", "писем открыто за 30 дней", "e-mails"
    ),
    Feature(
        "days_since_first_seen", DaysSince(_anything, "first"), "days since first seen", "дней с первого визита", "days"
    ),
)


def feature_words(locale: str) -> dict[str, str]:
    """Name of every starter feature → its words in `locale` (en or ru)."""
    return {feature.name: feature.russian if locale == "ru" else feature.english for feature in FEATURES}
