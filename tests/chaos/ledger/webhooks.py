"""Each run of a request has a webhook of its own: received at least once, after the end, always the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from tests.chaos.facts import CallFact, Facts, RequestFact, Wish
from tests.chaos.ledger.violations import Kind, Violation


def check_webhooks(facts: Facts) -> Iterator[Violation]:
    """Yield what is wrong with all webhooks."""
    calls: dict[str, dict[int, list[CallFact]]] = defaultdict(lambda: defaultdict(list))
    for call in facts.calls:
        calls[call.request_id][call.run].append(call)
    for request in facts.requests:
        if request.webhook is not None:
            by_run = calls.pop(request.id, {})
            yield from _last_run(request, by_run.get(request.run, []))
            yield from _earlier_runs(request, by_run, facts.wishes.get(request.id, ()))
            yield from _sameness(request, by_run)
    for request_id in calls:
        yield Violation(Kind.WEBHOOKS_WRONG, request_id, "a webhook for a request that has none")


def _last_run(request: RequestFact, calls: Sequence[CallFact]) -> Iterator[Violation]:
    if not any(call.welcome for call in calls):
        yield Violation(Kind.WEBHOOKS_MISSING, request.id, f"never received; {len(calls)} calls, {request.webhook}")
    elif request.webhook != "delivered":
        yield Violation(Kind.WEBHOOKS_WRONG, request.id, f"received, but its state is {request.webhook}")
    if told := {(call.status, call.ended_at) for call in calls} - {(request.status, request.ended_at)}:
        ended = f"{request.status} at {request.ended_at}"
        yield Violation(Kind.WEBHOOKS_WRONG, request.id, f"ended as {ended}, but told {sorted(told)}")


def _earlier_runs(
    request: RequestFact, by_run: Mapping[int, Sequence[CallFact]], wishes: Sequence[Wish]
) -> Iterator[Violation]:
    """A retry takes the place of a webhook that is not delivered yet; one that was called delivered has arrived."""
    received = sum(any(call.welcome for call in calls) for run, calls in by_run.items() if run < request.run)
    called_so = sum(wish.delivered for wish in wishes if wish.sure)
    if received < called_so:
        yield Violation(
            Kind.WEBHOOKS_MISSING, request.id, f"{called_so} of earlier runs called delivered, {received} received"
        )
    if later := [run for run in by_run if run > request.run]:
        yield Violation(Kind.WEBHOOKS_WRONG, request.id, f"called for runs {later}, but has made {request.run}")


def _sameness(request: RequestFact, by_run: Mapping[int, Sequence[CallFact]]) -> Iterator[Violation]:
    for run, calls in by_run.items():
        where = f"{request.id} run {run}"
        if early := [call for call in calls if call.at < call.ended_at]:
            yield Violation(Kind.WEBHOOKS_WRONG, where, f"called {len(early)} times before its end")
        if len(ids := {call.webhook_id for call in calls}) > 1:
            yield Violation(Kind.WEBHOOKS_WRONG, where, f"called under {len(ids)} ids: {sorted(ids)}")
        if len(told := {(call.status, call.ended_at) for call in calls}) > 1:
            yield Violation(Kind.WEBHOOKS_WRONG, where, f"told {len(told)} ends: {sorted(told)}")
    ids_of = [call.webhook_id for calls in by_run.values() for call in calls[:1]]
    if len(set(ids_of)) < len(ids_of):
        yield Violation(Kind.WEBHOOKS_WRONG, request.id, "two runs were told under one id")
