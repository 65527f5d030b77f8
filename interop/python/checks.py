"""Checks a server with the Python client `etcd3`: `checks.py HOST:PORT`.

Prints `ok NAME` or `failed NAME: why` for each check, and `done N` at the end.
Each check uses keys of its own, which begin with its name.
"""

import queue
import sys
import threading
import time

import etcd3
import etcd3.exceptions
import grpc

CHECKS = []
WAIT_S = 20


def check(run):
    CHECKS.append(run)
    return run


def same(left, right):
    if left != right:
        raise AssertionError(f"{left!r} is not {right!r}")


def refused(call, code, text):
    """Holds that a call is refused with this code and text."""
    try:
        call()
    except grpc.RpcError as error:
        same((error.code(), error.details()), (code, text))
    else:
        raise AssertionError(f"it was done, not refused with {text!r}")


@check
def a_key_comes_back_as_it_was_put(client):
    client.put("back", "1")
    client.put("back", b"\x00\xff")
    value, meta = client.get("back")
    same((value, meta.key, meta.version), (b"\x00\xff", b"back", 2))
    same(meta.mod_revision, meta.create_revision + 1)
    same(client.delete("back"), True)
    same(client.delete("back"), False)
    same(client.get("back"), (None, None))


@check
def a_prefix_is_listed_in_order(client):
    for name in ("list/c", "list/a", "list/b", "list0"):
        client.put(name, name)
    same([value for value, _ in client.get_prefix("list/")], [b"list/a", b"list/b", b"list/c"])
    descending = client.get_prefix("list/", sort_order="descend")
    same([meta.key for _, meta in descending], [b"list/c", b"list/b", b"list/a"])
    same([meta.key for _, meta in client.get_range("list/b", "list0")], [b"list/b", b"list/c"])
    same([value for value, _ in client.get_prefix("list/", keys_only=True)], [b"", b"", b""])
    same(client.delete_prefix("list/").deleted, 3)
    same(list(client.get_prefix("list/")), [])


@check
def a_put_returns_the_value_before_it(client):
    client.put("before", "1")
    same(client.put("before", "2", prev_kv=True).prev_kv.value, b"1")
    same(client.delete("before", prev_kv=True, return_response=True).prev_kvs[0].value, b"2")


@check
def a_transaction_takes_one_branch(client):
    functions = client.transactions
    client.put("txn", "1")
    comparisons = [
        functions.value("txn") == "1",
        functions.version("txn") > 0,
        functions.create("txn/missing") == 0,
        functions.mod("txn") > 0,
    ]
    succeeded, replies = client.transaction(
        compare=comparisons,
        success=[functions.put("txn", "2"), functions.get("txn")],
        failure=[functions.delete("txn")],
    )
    same(succeeded, True)
    same(replies[1][0][0], b"2")
    succeeded, replies = client.transaction(
        compare=[functions.value("txn") == "1"],
        success=[functions.delete("txn")],
        failure=[functions.get("txn")],
    )
    same((succeeded, replies[0][0][0]), (False, b"2"))


@check
def compare_and_swap_lets_one_writer_win(client):
    same(client.put_if_not_exists("swap", "0"), True)
    same(client.put_if_not_exists("swap", "1"), False)
    wins = queue.Queue()
    writers = [
        threading.Thread(target=lambda value=str(n): wins.put(client.replace("swap", "0", value)))
        for n in range(1, 9)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(WAIT_S)
    same(sorted(wins.get(timeout=WAIT_S) for _ in writers), [False] * 7 + [True])


@check
def a_watch_sees_puts_and_deletes(client):
    events, cancel = client.watch_prefix("watch/")
    client.put("watch/a", "1")
    client.put("elsewhere", "1")
    client.put("watch/a", "2")
    client.delete("watch/a")
    seen = [next(events) for _ in range(3)]
    cancel()
    kinds = [type(event).__name__ for event in seen]
    same(kinds, ["PutEvent", "PutEvent", "DeleteEvent"])
    same([event.value for event in seen], [b"1", b"2", b""])
    revisions = [event.mod_revision for event in seen]
    same(revisions, sorted(set(revisions)))


@check
def a_watch_replays_from_a_revision(client):
    client.put("replay", "1")
    start = client.get("replay")[1].mod_revision
    client.put("replay", "2")
    events, cancel = client.watch("replay", start_revision=start)
    same([next(events).value for _ in range(2)], [b"1", b"2"])
    cancel()


@check
def watches_call_back(client):
    heard = queue.Queue()
    one = client.add_watch_callback("call/1", heard.put)
    two = client.add_watch_callback("call/2", heard.put)
    client.put("call/2", "b")
    same(heard.get(timeout=WAIT_S).events[0].value, b"b")
    client.put("call/1", "a")
    same(heard.get(timeout=WAIT_S).events[0].value, b"a")
    client.cancel_watch(one)
    client.put("call/1", "unheard")
    client.put("call/2", "c")
    same(heard.get(timeout=WAIT_S).events[0].value, b"c")
    client.cancel_watch(two)


@check
def a_watch_of_what_was_compacted_says_so(client):
    for value in "1234":
        client.put("compacted", value)
    last = client.get("compacted")[1].mod_revision
    client.compact(last)
    events, cancel = client.watch("compacted", start_revision=last - 2)
    try:
        next(events)
    except etcd3.exceptions.RevisionCompactedError as error:
        same(error.compacted_revision, last)
    else:
        raise AssertionError("the watch was not told of the compaction")
    finally:
        cancel()


@check
def a_lease_holds_its_keys(client):
    lease = client.lease(600)
    client.put("leased", "1", lease=lease)
    same((lease.granted_ttl, lease.keys), (600, [b"leased"]))
    same(0 < lease.remaining_ttl <= 600, True)
    same([reply.TTL for reply in lease.refresh()], [600])
    lease.revoke()
    same(client.get("leased"), (None, None))
    refused(
        lambda: client.put("leased", "2", lease=lease),
        grpc.StatusCode.NOT_FOUND,
        "etcdserver: requested lease not found",
    )


@check
def a_lease_that_ends_takes_its_keys_along(client):
    client.put("ends", "1", lease=client.lease(1))
    begun = time.monotonic()
    while client.get("ends")[0] is not None:
        if time.monotonic() - begun > WAIT_S:
            raise AssertionError(f"the key was still there after {WAIT_S} s")
        time.sleep(0.05)


@check
def a_lock_has_one_holder(client):
    first = client.lock("mutex", ttl=60)
    second = client.lock("mutex", ttl=60)
    same(first.acquire(timeout=WAIT_S), True)
    same(first.is_acquired(), True)
    same(second.acquire(timeout=0.2), False)
    same(first.release(), True)
    same(second.acquire(timeout=WAIT_S), True)
    same((first.is_acquired(), second.is_acquired()), (False, True))
    same(second.release(), True)


@check
def the_member_describes_itself(client):
    status = client.status()
    members = list(client.members)
    same(len(members), 1)
    same(status.leader.id, members[0].id)
    same(status.version.split(".")[0], "3")


def main():
    host, _, port = sys.argv[1].rpartition(":")
    for run in CHECKS:
        client = etcd3.client(host=host, port=int(port), timeout=WAIT_S)
        try:
            run(client)
        except Exception as error:  # noqa: BLE001: every fault of a check is its verdict
            why = f"{type(error).__name__}: {error}".replace("\n", " ")
            print(f"failed {run.__name__}: {why}")
        else:
            print(f"ok {run.__name__}")
        finally:
            client.close()
    print(f"done {len(CHECKS)}")


if __name__ == "__main__":
    main()
