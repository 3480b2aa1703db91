"""The Socket.IO client of Debian's python3-socketio against the application of node/reference.mjs.

Usage: client.py URL MODE; MODE is websocket, polling or default. Output and exit status are those of node/interop.mjs.
"""

import json
import os
import sys
import threading
import time

import engineio
import socketio

PATIENCE = 60  # seconds

# By default, this client gives up on an answer with more than 16 packets, whichever server it is from.
engineio.payload.Payload.max_decode_packets = 1000


class Client:
    """A client with all that it has received."""

    def __init__(self):
        self.sio = socketio.Client(reconnection=False)
        # It hands each message to a thread of its own, which may change their order. Here they are handled as they come.
        trigger = self.sio.eio._trigger_event
        self.sio.eio._trigger_event = lambda event, *args, run_async=False: trigger(event, *args, run_async=False)
        self.events = []
        self.changed = threading.Condition()
        self.answer = lambda *args: None

    def on(self, namespace, *names):
        for name in names:
            self.sio.on(name, lambda *args, name=name: self.note(namespace, name, args), namespace=namespace)

    def note(self, namespace, name, args):
        with self.changed:
            self.events.append((namespace, name, *args))
            self.changed.notify_all()

    def received(self, namespace, name, n=1):
        """The first n events of a name, once they are there."""

        def found():
            return [e[2:] for e in self.events if e[:2] == (namespace, name)]

        with self.changed:
            if not self.changed.wait_for(lambda: len(found()) >= n, PATIENCE):
                raise AssertionError(f"{name}: {len(found())} events in {PATIENCE} s, want {n}")
            return found()[:n]

    def connect(self, namespaces=("/",), auth=None, wait=True):
        for namespace in namespaces:
            self.on(namespace, "welcome", "echo", "tick", "said", "shouted", "last words", "disconnect", "connect_error")
        self.sio.on("question", lambda *args: self.answer(*args))
        kwargs = {} if MODE == "default" else {"transports": [MODE]}
        self.sio.connect(URL, namespaces=list(namespaces), auth=auth, wait=wait, wait_timeout=PATIENCE, **kwargs)
        return self

    def ask(self, event, *args, namespace="/"):
        return self.sio.call(event, args or None, namespace=namespace, timeout=PATIENCE)


def same(got, want, what=""):
    if got != want:
        raise AssertionError(f"{what}: got {got!r:.300}, want {want!r:.300}")


def transport():
    c = client().connect()
    # The upgrade is a part of connect here.
    same(c.sio.transport(), "polling" if MODE == "polling" else "websocket")
    same(c.ask("ack", "hello"), "hello")


def auth():
    c = client().connect(auth={"name": "Zoë", "deep": [1, None, {"a": True}]})
    who = c.ask("whoami")
    same(who["auth"], {"name": "Zoë", "deep": [1, None, {"a": True}]})
    same(who["id"], c.sio.get_sid(), "id")
    same(client().connect().ask("whoami")["auth"], {}, "none")


def middleware():
    c = client().connect(["/guarded"], auth={"token": "wrong"}, wait=False)
    same(c.received("/guarded", "connect_error"), [({"message": "not authorized", "data": {"code": 401, "hint": ["ask", "nicely", None]}},)])
    again = client().connect(["/guarded"], auth={"token": "secret", "name": "Ann"})
    same(again.ask("whoami", namespace="/guarded")["auth"]["name"], "Ann")


VALUES = [None, True, 0, -1.5, "", "é日🎉 \u001e\u2028", [], {}, [1, [2, {"three": None}]], {"ключ": "значение <&>"}]
BINARY = [b"", b"\x00\x1e\xff", {"deep": [b"one", {"two": b"two"}], "text": "between"}, bytes(range(256)) * 1000]


def events():
    c = client().connect()
    c.sio.emit("echo", tuple(VALUES))
    c.sio.emit("echo", tuple(BINARY))
    c.sio.emit("echo")
    same(c.received("/", "echo", 3), [tuple(VALUES), tuple(BINARY), ()])


def order():
    c = client().connect()
    for i in range(200):
        c.sio.emit("echo", (i, bytes([i])) if i % 3 == 1 else i)
    same(c.received("/", "echo", 200), [(i, bytes([i])) if i % 3 == 1 else (i,) for i in range(200)])
    c.sio.emit("burst", 500)
    same(c.received("/", "tick", 500), [(i,) for i in range(500)])


def acks():
    c = client().connect()
    same(c.ask("ack", *VALUES), tuple(VALUES), "several")
    same(c.ask("ack", *BINARY), tuple(BINARY), "binary")
    same(c.ask("ack", b"one"), b"one", "one")
    c.answer = lambda *args: (args[0] + 1, b"answer", {"deep": args[1]})
    same(c.ask("ask", 10_000, 41, b"question"), ("answered", 42, b"answer", {"deep": b"question"}), "the server asks")


def namespaces():
    names = ["/", "/ns-1", "/ns-2", "/dynamic-7"]
    c = client().connect(names)
    same([c.ask("whoami", namespace=n)["namespace"] for n in names], names)
    same(len({c.sio.get_sid(n) for n in names}), 4, "ids")
    for n in names:
        c.sio.emit("echo", (n, b"\x01"), namespace=n)
    same([c.received(n, "echo") for n in names], [[(n, b"\x01")] for n in names])


def rooms():
    a, b = client().connect(), client().connect()
    room = f"room {MODE} {time.time()}"
    a.ask("join", [room])
    b.ask("join", [room])
    a.ask("say", [room], [], "hello")
    same(b.received("/", "said"), [(a.sio.get_sid(), "hello")])
    b.ask("leave", room)
    a.ask("say", [room], [], "nobody")
    a.ask("ack")
    b.ask("ack")
    same([e for c in (a, b) for e in c.events if e[1] == "said"], [("/", "said", a.sio.get_sid(), "hello")])


def server_disconnects():
    c = client().connect(["/", "/ns-3"])
    c.sio.emit("bye", 2, namespace="/ns-3")
    same(c.received("/ns-3", "last words", 2), [(0, b"\x00"), (1, b"\x01")])
    c.received("/ns-3", "disconnect")
    same(c.ask("ack", "still here"), "still here")


def client_disconnects():
    watcher, c = client(), client()
    watcher.on("/", "gone")
    watcher.connect()
    c.connect()
    room, sid = f"watchers {MODE} {time.time()}", c.sio.get_sid()
    watcher.ask("join", [room])
    c.ask("watch", room)
    c.sio.disconnect()
    c.received("/", "disconnect")
    if MODE != "polling":  # there it may stop before it has told the server
        [(gone, reason, rooms, after)] = watcher.received("/", "gone")
        same((gone, rooms, after), (sid, [sid], []))
        same(reason in ("client namespace disconnect", "transport close"), True, reason)
    again = client().connect()
    same(again.ask("ack", 1), 1)


def pings():
    c = client().connect()
    pings = threading.Semaphore(0)
    send = c.sio.eio._send_packet  # it has no event for pings: count the pongs

    def counted(packet):
        if packet.packet_type == 3:
            pings.release()
        return send(packet)

    c.sio.eio._send_packet = counted
    for _ in range(2):
        if not pings.acquire(timeout=PATIENCE):
            raise AssertionError("no ping")
    same(c.ask("ack", 1), 1)


local = threading.local()


def client():
    c = Client()
    local.clients.append(c)
    return c


def check(body, results):
    local.clients = []
    start = time.monotonic()
    try:
        body()
        result = {"name": body.__name__.replace("_", " "), "ok": True, "detail": ""}
    except Exception as e:
        result = {"name": body.__name__.replace("_", " "), "ok": False, "detail": f"{type(e).__name__}: {e}"}
    result["ms"] = round(1000 * (time.monotonic() - start))
    for c in local.clients:
        writing = c.sio.eio.write_loop_task
        c.sio.disconnect()
        if writing:
            writing.join(1)  # so that the server is told
    results.append(result)
    print(json.dumps(result), flush=True)


URL, MODE = sys.argv[1:]
CHECKS = [transport, auth, middleware, events, order, acks, namespaces, rooms, server_disconnects, client_disconnects, pings]
results = []
threads = [threading.Thread(target=check, args=(body, results), daemon=True) for body in CHECKS]
for t in threads:
    t.start()
for t in threads:
    t.join(3 * PATIENCE)
ok = len(results) == len(CHECKS) and all(r["ok"] for r in results)
if len(results) < len(CHECKS):
    print(f"{len(CHECKS) - len(results)} checks have not ended", file=sys.stderr)
sys.stdout.flush()
os._exit(0 if ok else 1)  # the client's threads need not end
