# test/chaos/history.py: whether what clients of a counter with a capacity were told can be explained by some serial order.
#
# A history is a list of operations (begin, end, steps): when the call began and when it had answered, and what it did to the
# counter, one step after the other: ("take", n) it had n; ("give", n) n came back; ("refuse", n, left) it had fewer than n, and
# said so many (None: said nothing); ("enough", n) it had n and nothing was taken; ("is", n) it was read. The history is
# linearizable if each step can be put at one instant between begin and end of its call so that all answers are right.
#
# The search is that of Wing and Gong (Testing and Verifying Concurrent Objects, JPDC 1993) in the just-in-time form of Lowe
# (Testing for linearizability, CCPE 2017): calls are followed in the order of time, with the set of all configurations that can
# be (which of the open calls have done which steps); when a call returns, only those stay, or can be reached, in which it is
# done. What a step does to the counter is known from its answer, so the counter's value follows from the steps that were done.
# Zones, users and bookings are separate objects; linearizability is local, so each is searched by itself.
CONFIGURATIONS_MAX = 200000


class TooWide(Exception):
    """More open calls at a time than can be searched."""


def after(value, step):
    """The counter's value after a step; None: the answer is not possible with this value."""
    what, n = step[0], step[1]
    if what == "take":
        return value - n if value >= n else None
    if what == "give":
        return value + n
    if what == "refuse":
        return value if value < n and step[2] in (None, max(value, 0)) else None
    if what == "enough":
        return value if value >= n else None
    return value if max(value, 0) == n else None


def reachable(configurations, steps, wanted):
    """The configurations in which the call `wanted` is done; it is taken out of them."""
    found, seen, todo = set(), set(configurations), list(configurations)
    while todo:
        value, done = todo.pop()
        progress = dict(done)
        if progress.get(wanted, 0) == len(steps[wanted]):
            progress.pop(wanted, None)
            found.add((value, frozenset(progress.items())))
            continue
        for call, its in steps.items():
            at = progress.get(call, 0)
            value_then = after(value, its[at]) if at < len(its) else None
            if value_then is None:
                continue
            then = (value_then, frozenset(list((c, n) for c, n in done if c != call) + [(call, at + 1)]))
            if then not in seen:
                seen.add(then)
                todo.append(then)
        if len(seen) > CONFIGURATIONS_MAX:
            raise TooWide("%d open calls" % len(steps))
    return found


def unexplained(initial, history):
    """The first operation that no serial order explains; None: there is an order for all."""
    calls = sorted(history, key=lambda call: call[0])
    events = sorted([(call[0], 0, i) for i, call in enumerate(calls)] + [(call[1], 1, i) for i, call in enumerate(calls)])
    configurations = {(initial, frozenset())}
    steps = {}
    for _, returns, i in events:
        if not returns:
            steps[i] = calls[i][2]
            continue
        configurations = reachable(configurations, steps, i)
        if not configurations:
            return calls[i]
        del steps[i]
    return None


def self_test():
    """The checker must see what cannot be, or it would prove nothing."""
    possible = [
        [(0, 1, [("take", 2)]), (0, 1, [("refuse", 1, 0)]), (2, 3, [("is", 0)])],
        [(0, 5, [("give", 1)]), (1, 2, [("take", 3)])],
        [(0, 5, [("take", 2), ("give", 2)]), (1, 2, [("refuse", 2, 0)]), (3, 4, [("take", 2)])],
    ]
    impossible = [
        [(0, 1, [("take", 2)]), (2, 3, [("take", 1)])],
        [(0, 1, [("take", 1)]), (2, 3, [("refuse", 1, None)])],
        [(0, 1, [("take", 1)]), (2, 3, [("refuse", 2, 0)])],
        [(0, 1, [("take", 1)]), (0, 1, [("take", 1)]), (0, 1, [("take", 1)])],
        [(0, 9, [("give", 1)]), (1, 2, [("is", 3)]), (3, 4, [("is", 2)])],
    ]
    return all(unexplained(2, h) is None for h in possible) and all(unexplained(2, h) is not None for h in impossible)
