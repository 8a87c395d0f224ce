"""Every metric of the gateway. Base units, bounded labels, one injected registry."""

from __future__ import annotations

from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

Stage = Literal["receive", "blob", "classify", "decide", "journal", "enqueue"]
_FAST = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_HUMAN = (1, 5, 15, 60, 300, 900, 3600, 14_400, 86_400, 604_800)


class Metrics:
    """The registry and everything in it."""

    def stage(self, name: Stage, seconds: float) -> None:
        """Observes one stage of a prediction."""
        self._stages[name].observe(seconds)

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        r = self.registry = registry or CollectorRegistry()
        self.requests = Counter("triage_http_requests", "Requests answered.", ("route", "method", "code"), registry=r)
        self.request_seconds = Histogram(
            "triage_http_request_duration_seconds", "From first byte to reply.", ("route",), buckets=_FAST, registry=r
        )
        self.limited = Counter(
            "triage_limited", "Requests refused by a rate limit (rate) or after too many wrong keys (failures).", ("limit",),
            registry=r,
        )  # fmt: skip
        stages = Histogram(
            "triage_stage_duration_seconds", "Stages of a prediction.", ("stage",), buckets=_FAST, registry=r
        )
        self._stages = {name: stages.labels(name) for name in get_args(Stage)}
        self.decisions = Counter("triage_decisions", "Predictions by route.", ("project", "site", "route"), registry=r)
        self.reasons = Counter("triage_reasons", "Reasons of predictions not answered.", ("site", "reason"), registry=r)
        self.fired = Counter("triage_class_fired", "Labels answered automatically.", ("class",), registry=r)
        self.shadows = Counter(
            "triage_shadows", "Images offered to a challenger.", ("project", "site", "result"), registry=r
        )
        self.refusals = Counter("triage_refusals", "Images refused.", ("code",), registry=r)
        self.queue_depth = Gauge("triage_queue_depth", "Items waiting.", ("queue",), registry=r)
        self.queue_age = Gauge(
            "triage_queue_oldest_age_seconds", "Age of the oldest waiting item.", ("queue",), registry=r
        )
        self.queue_overdue = Gauge(
            "triage_queue_overdue", "Unanswered items older than the queue's service level.", ("queue",), registry=r
        )
        self.queue_dead = Gauge("triage_queue_dead", "Dead letters of a queue.", ("queue",), registry=r)
        self.dead_letters = Counter("triage_dead_letters", "Items set aside as dead letters.", ("queue",), registry=r)
        self.unresolved = Counter(
            "triage_unresolved", "Items whose deadline passed unanswered.", ("queue",), registry=r
        )
        self.queue_leased = Gauge("triage_queue_leased", "Items with a reviewer.", ("queue",), registry=r)
        self.review_wait = Histogram(
            "triage_review_wait_seconds", "From arrival to verdict.", buckets=_HUMAN, registry=r
        )
        self.verdicts = Counter("triage_verdicts", "Verdicts.", ("queue", "outcome"), registry=r)
        self.verdicts_stuck = Counter(
            "triage_verdicts_stuck", "Turns in which a verdict could not be carried out.", ("queue",), registry=r
        )
        self.fsync_seconds = Histogram(
            "triage_journal_fsync_seconds", "One group commit of the journal.", buckets=_FAST, registry=r
        )
        self.unarchived = Gauge(
            "triage_journal_unarchived_bytes", "Of the journal that is on this disk only.", registry=r
        )
        self.outbox = Gauge("triage_outbox_depth", "1 while the index is behind the journal.", registry=r)
        self.waits_for = Gauge(
            "triage_index_waits_for",
            "1 for each gateway that lives and has not brought its journal into the index: nothing is leased.", ("node",),
            registry=r,
        )  # fmt: skip
        self.control_age = Gauge("triage_control_age_seconds", "Since control documents were last read.", registry=r)
        self.classifier_up = Gauge("triage_classifier_up", "1 while the model answers.", ("version",), registry=r)
        self.model_info = Gauge("triage_model_info", "Models in force.", ("name", "version", "digest"), registry=r)
        per_class = ("project", "site", "class")
        self.audits = Counter("triage_audits", "Audits by what they said.", (*per_class, "result"), registry=r)
        self.precision_low = Gauge(
            "triage_precision_lower_bound", "Lowest precision that the audits leave plausible.", per_class, registry=r
        )
        self.suspended = Gauge(
            "triage_class_suspended", "1 while an automatic class may not answer.", per_class, registry=r
        )
        self.drift = Gauge(
            "triage_drift_score", "How unlike the tuning images a site's newest are.", ("project", "site", "kind"),
            registry=r,
        )  # fmt: skip
        self.listeners = Gauge("triage_outcome_listeners", "Programs that listen to outcomes.", registry=r)
        self.webhook_deliveries = Counter(
            "triage_webhook_deliveries", "Tries: delivered, failed; and letters given up: dead.",
            ("project", "webhook", "result"), registry=r,
        )  # fmt: skip
        self.webhook_behind = Gauge(
            "triage_webhook_behind_seconds", "Age of the oldest outcome that is not delivered, where this gateway delivers.",
            ("project", "webhook"), registry=r,
        )  # fmt: skip
        self._shown: set[tuple[str, str, str]] = set()

    def show_classes(self, classes: dict[tuple[str, str, str], tuple[float, float]]) -> None:
        """Sets the gauges of (project, site, class) to lower bound and suspension; series of all others are gone."""
        for gone in self._shown - classes.keys():
            for gauge in (self.precision_low, self.suspended):
                gauge.remove(*gone)
        for names, (low, suspended) in classes.items():
            self.precision_low.labels(*names).set(low)
            self.suspended.labels(*names).set(suspended)
        self._shown = set(classes)
