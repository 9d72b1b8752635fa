"""`GET /metrics`: what the process counts, as Prometheus reads it (text format 0.0.4).

`METRICS` says what there is; `docs/reference/metrics.md` is written from it. No label is about a person or an offer,
and every label has a bound. With several processes each answers for itself, with its own `worker`.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

import vitrina
from vitrina.core.meter import Distribution
from vitrina.service.life import Life
from vitrina.service.meter import RequestMeter
from vitrina.service.refusals import Refusals
from vitrina.workspace import Signs, Workspace

__all__ = ["CONTENT_TYPE", "METRICS", "Declared", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Rows = Iterable[tuple[tuple[str, ...], float]]
"""Values of labels, and the value."""


class Declared(msgspec.Struct, frozen=True):
    """One metric: its name without suffix, counter | gauge | histogram, its labels besides `worker`, what it means."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str


_OF_PYTHON = (
    Declared("process_virtual_memory_bytes", "gauge", (), "Virtual memory of the process."),
    Declared("process_resident_memory_bytes", "gauge", (), "Memory of the process that is held in RAM."),
    Declared("process_start_time_seconds", "gauge", (), "When the process began, seconds since 1970."),
    Declared("process_cpu_seconds_total", "counter", (), "CPU time used, user and system."),
    Declared("process_open_fds", "gauge", (), "Open files and sockets."),
    Declared("process_max_fds", "gauge", (), "How many of them the system allows."),
    Declared(
        "python_gc_objects_collected_total", "counter", ("generation",), "Objects freed by the garbage collector."
    ),
    Declared("python_gc_objects_uncollectable_total", "counter", ("generation",), "Objects that it could not free."),
    Declared("python_gc_collections_total", "counter", ("generation",), "Rounds of the garbage collector."),
)

METRICS: tuple[Declared, ...] = (
    Declared(
        "vitrina_build_info", "gauge", ("version", "python"), "1, with the versions of the program and of Python."
    ),
    Declared("vitrina_ready", "gauge", (), "1 when the process can serve, as /readyz says without trying a write."),
    Declared("vitrina_obstacle", "gauge", ("code",), "1 for each thing that keeps the process from serving."),
    Declared(
        "vitrina_request_seconds", "histogram", ("route", "status"), "Time from a request's first to its last byte."
    ),
    Declared("vitrina_refusals_total", "counter", ("route", "code"), "Requests that the door refused: key, scope."),
    Declared("vitrina_lag_rows", "gauge", ("reader", "journal"), "Stored rows that a reader still has to deal with."),
    Declared("vitrina_lag_seconds", "gauge", ("reader", "journal"), "Age of the oldest of them, 0 when none waits."),
    Declared("vitrina_queue_rows", "gauge", ("journal",), "Rows that wait to be stored."),
    Declared("vitrina_queue_bytes", "gauge", ("journal",), "Bytes that wait to be stored."),
    Declared("vitrina_queue_limit_rows", "gauge", ("journal",), "Rows above which a request is refused."),
    Declared("vitrina_queue_limit_bytes", "gauge", ("journal",), "Bytes above which a request is refused."),
    Declared(
        "vitrina_events_total", "counter", ("trusted",), "Events stored, repeats left out; only trusted teach money."
    ),
    Declared(
        "vitrina_events_suspected_total", "counter", (), "Events stored that look like a robot's: they teach nothing."
    ),
    Declared("vitrina_events_erased_total", "counter", (), "Calls dropped because their person was erased."),
    Declared("vitrina_dead_letters_total", "counter", ("code",), "Calls that were refused and kept, by reason."),
    Declared("vitrina_fold_faults_total", "counter", (), "Events that could not be folded wholly; the log says where."),
    Declared(
        "vitrina_decisions_total",
        "counter",
        ("placement", "holdout", "personalised", "empty"),
        "Decisions logged; empty means that nothing was eligible.",
    ),
    Declared(
        "vitrina_holdout_share", "gauge", ("placement",), "Share of the decisions since the start that the holdout got."
    ),
    Declared(
        "vitrina_holdout_wanted", "gauge", ("placement",), "Share of people that the placement holds out, as set."
    ),
    Declared("vitrina_learned_examples_total", "counter", (), "Examples that the learner learned."),
    Declared(
        "vitrina_learning_skipped_total",
        "counter",
        (),
        "Examples left out because their decision can't be read any more.",
    ),
    Declared(
        "vitrina_outcomes_refused_total", "counter", ("reason",), "Outcomes that were not credited to a decision."
    ),
    Declared("vitrina_banks_published_total", "counter", ("placement",), "Banks of draws that came into use."),
    Declared("vitrina_bank_age_seconds", "gauge", ("placement",), "Age of the newest bank that learned something."),
    Declared("vitrina_store_info", "gauge", ("kind",), "1, with the kind of database: sqlite or postgresql."),
    Declared("vitrina_store_healthy", "gauge", (), "0 from a write that failed until one that worked."),
    Declared("vitrina_store_failures_total", "counter", (), "Groups of writes that failed."),
    Declared("vitrina_store_rows_total", "counter", ("journal",), "Rows stored in a journal."),
    Declared("vitrina_store_repeats_total", "counter", ("journal",), "Rows dropped because they were there already."),
    Declared("vitrina_store_group_rows", "histogram", (), "Rows that one commit stored."),
    Declared("vitrina_store_commit_seconds", "histogram", (), "Time that a group took, statements and commit."),
    Declared("vitrina_store_size_bytes", "gauge", (), "Size of the store's file and its log (SQLite)."),
    Declared("vitrina_disk_free_bytes", "gauge", (), "Free space where the workspace lies."),
    Declared(
        "vitrina_background_running", "gauge", ("part",), "1 for a part whose thread was started in this process."
    ),
    Declared("vitrina_background_fault", "gauge", ("part",), "1 while the last round of a part failed."),
    *_OF_PYTHON,
)
"""Every metric, in the order of the answer."""

_DECLARED = {declared.name: declared for declared in METRICS}


class Metrics:
    """The metrics of one process.

    Args:
        workspace: whose signs are read.
        requests: what requests cost.
        refusals: what the door refused.
        life: says which worker this is, and whether it is stopping.
    """

    def __init__(self, workspace: Workspace, requests: RequestMeter, refusals: Refusals, life: Life) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Labelled(_Ours(workspace, requests, refusals, life), life.worker))
        self._registry.register(_Labelled(ProcessCollector(registry=None), life.worker))
        self._registry.register(_Labelled(_garbage(), life.worker))

    def text(self) -> bytes:
        """Everything, as of now. Asks the store, so not on an event loop."""
        return generate_latest(self._registry)


def _garbage() -> Collector:
    return GCCollector(registry=CollectorRegistry())


class _Labelled(Collector):
    """A collector whose samples carry the worker's label."""

    def __init__(self, inner: Collector, worker: str) -> None:
        self._inner = inner
        self._worker = worker

    def describe(self) -> Iterable[Metric]:
        """Nothing: names are not compared, and no sign is read before somebody asks."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The samples now."""
        for metric in self._inner.collect():
            metric.samples = [
                sample._replace(labels={**sample.labels, "worker": self._worker}) for sample in metric.samples
            ]
            yield metric


class _Ours(Collector):
    """What this program counts."""

    def __init__(self, workspace: Workspace, requests: RequestMeter, refusals: Refusals, life: Life) -> None:
        self._workspace = workspace
        self._requests = requests
        self._refusals = refusals
        self._life = life

    def collect(self) -> Iterator[Metric]:
        """The metrics of `METRICS`, in its order."""
        signs = self._workspace.vitals.read()
        yield from self._of_process()
        for rows in (_of_lags, _of_queues, _of_events, _of_decisions, _of_learning, _of_store, _of_background):
            for name, found in rows(signs).items():
                yield _family(name, found)
            if rows is _of_store:
                yield _histogram("vitrina_store_group_rows", [((), signs.store.groups)])
                yield _histogram("vitrina_store_commit_seconds", [((), signs.store.commits)])

    def _of_process(self) -> Iterator[Metric]:
        obstacles = [problem.code for problem in self._workspace.problems()]
        obstacles += ["server.stopping"] if self._life.stopping else []
        yield _family("vitrina_build_info", [((vitrina.__version__, platform.python_version()), 1)])
        yield _family("vitrina_ready", [((), not obstacles)])
        yield _family("vitrina_obstacle", [((code,), 1) for code in obstacles])
        requests = self._requests.read()
        yield _histogram(
            "vitrina_request_seconds", [((route, str(status)), seen) for (route, status), seen in requests.items()]
        )
        yield _family("vitrina_refusals_total", list(self._refusals.counted.read().items()))


def _family(name: str, rows: Rows) -> Metric:
    declared = _DECLARED[name]
    make: Callable[..., CounterMetricFamily | GaugeMetricFamily]
    make = CounterMetricFamily if declared.kind == "counter" else GaugeMetricFamily
    family = make(name, declared.meaning, labels=declared.labels)
    for labels, value in rows:
        family.add_metric(labels, float(value))
    return family


def _histogram(name: str, rows: Sequence[tuple[tuple[str, ...], Distribution]]) -> Metric:
    declared = _DECLARED[name]
    family = HistogramMetricFamily(name, declared.meaning, labels=declared.labels)
    for labels, seen in rows:
        buckets = [(repr(float(bound)), float(count)) for bound, count in zip(seen.bounds, seen.counts, strict=True)]
        family.add_metric(labels, [*buckets, ("+Inf", float(seen.count))], seen.total)
    return family


def _one(value: float) -> Rows:
    return [((), value)]


def _each(counts: Mapping[str, float]) -> Rows:
    return [((label,), value) for label, value in sorted(counts.items())]


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _of_lags(signs: Signs) -> dict[str, Rows]:
    return {
        "vitrina_lag_rows": [((lag.reader, lag.journal), lag.rows) for lag in signs.lags],
        "vitrina_lag_seconds": [((lag.reader, lag.journal), lag.seconds) for lag in signs.lags],
    }


def _of_queues(signs: Signs) -> dict[str, Rows]:
    return {
        "vitrina_queue_rows": [((queue.journal,), queue.rows) for queue in signs.queues],
        "vitrina_queue_bytes": [((queue.journal,), queue.size) for queue in signs.queues],
        "vitrina_queue_limit_rows": [((queue.journal,), queue.most_rows) for queue in signs.queues],
        "vitrina_queue_limit_bytes": [((queue.journal,), queue.most_bytes) for queue in signs.queues],
    }


def _of_events(signs: Signs) -> dict[str, Rows]:
    events = signs.events
    return {
        "vitrina_events_total": [(("yes",), events.trusted), (("no",), events.untrusted)],
        "vitrina_events_suspected_total": _one(events.suspected),
        "vitrina_events_erased_total": _one(events.erased),
        "vitrina_dead_letters_total": _each(events.dead_letters),
        "vitrina_fold_faults_total": _one(events.fold_faults),
    }


def _of_decisions(signs: Signs) -> dict[str, Rows]:
    held: dict[str, int] = {}
    made: dict[str, int] = {}
    for kind, count in signs.decisions.items():
        made[kind.placement] = made.get(kind.placement, 0) + count
        held[kind.placement] = held.get(kind.placement, 0) + count * kind.holdout
    return {
        "vitrina_decisions_total": [
            ((kind.placement, _yes(kind.holdout), _yes(kind.personalised), _yes(kind.empty)), count)
            for kind, count in signs.decisions.items()
        ],
        "vitrina_holdout_share": _each({placement: held[placement] / count for placement, count in made.items()}),
        "vitrina_holdout_wanted": _each({name: share for name, share in signs.holdouts.items() if name in made}),
    }


def _of_learning(signs: Signs) -> dict[str, Rows]:
    learning = signs.learning
    ages = dict(sorted(learning.bank_seconds.items())[:100])
    return {
        "vitrina_learned_examples_total": _one(learning.examples),
        "vitrina_learning_skipped_total": _one(learning.skipped),
        "vitrina_outcomes_refused_total": _each(learning.outcomes_refused),
        "vitrina_banks_published_total": _each(learning.published),
        "vitrina_bank_age_seconds": _each(ages),
    }


def _of_store(signs: Signs) -> dict[str, Rows]:
    store = signs.store
    return {
        "vitrina_store_info": [((store.kind,), 1)],
        "vitrina_store_healthy": _one(store.healthy),
        "vitrina_store_failures_total": _one(store.failures),
        "vitrina_store_rows_total": _each(store.rows),
        "vitrina_store_repeats_total": _each(store.repeats),
        "vitrina_store_size_bytes": [] if store.size is None else _one(store.size),
        "vitrina_disk_free_bytes": _one(store.disk_free),
    }


def _of_background(signs: Signs) -> dict[str, Rows]:
    return {
        "vitrina_background_running": [((part.name,), part.running) for part in signs.background],
        "vitrina_background_fault": [((part.name,), part.fault) for part in signs.background],
    }
