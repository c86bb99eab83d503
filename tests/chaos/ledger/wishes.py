"""What a client asked for and was told yes has come about, and nothing else has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.chaos.facts import RequestFact, Wanted, Wish
from tests.chaos.ledger.violations import Kind, Violation


def check_wishes(request: RequestFact, wishes: Sequence[Wish]) -> Iterator[Violation]:
    """Yield what is wrong with the runs of a request, and with its end."""
    retries = [wish for wish in wishes if wish.wanted is Wanted.RETRY]
    least, most = 1 + sum(wish.sure for wish in retries), 1 + len(retries)
    if request.run < least:
        yield Violation(Kind.LOST, request.id, f"{least - 1} retries were accepted, and it has made {request.run} runs")
    if request.run > most:
        yield Violation(Kind.DOUBLE_COUNTED, request.id, f"made {request.run} runs, for {most - 1} retries")
    of_last_run = _since_last_retry(wishes)
    if request.status == "cancelled" and Wanted.CANCEL not in {wish.wanted for wish in of_last_run}:
        yield Violation(Kind.LOST, request.id, "cancelled, which nobody asked for")
    if request.status != "cancelled" and of_last_run[-1:] == [Wish(Wanted.CANCEL, sure=True)]:
        yield Violation(Kind.LOST, request.id, f"a cancellation was accepted, and it ended as {request.status}")


def _since_last_retry(wishes: Sequence[Wish]) -> Sequence[Wish]:
    """Return the wishes behind the last retry that surely opened a run: those before concern earlier runs."""
    sure = [place for place, wish in enumerate(wishes) if wish.wanted is Wanted.RETRY and wish.sure]
    return wishes[sure[-1] + 1 :] if sure else wishes
