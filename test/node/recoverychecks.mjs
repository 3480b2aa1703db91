// What a user of socket.io-client sees who was away, as checks against the application of recoveryreference.mjs. It runs in Node.js and in
// a browser. A client is at the end of a wire that breaks as the check wants it; others act through the namespace /control.
// What must not come is known by something later that has.
import { Client, Test, bytes, run as runChecks, sleep, upTo } from "./checks.mjs";

// run makes the checks as run of checks.mjs does. plan says where: nodes are the addresses of the servers, path the indices of those that
// a client connects to, one after the other, senders of those where others act, wires the address of the wires; better is true if the checks that the reference fails are
// made, too; off is true if the servers recover nothing.
export function run({ plan, ...config }, report) {
  const suite = Object.fromEntries(Object.entries(checks).filter(([, c]) => Boolean(c.off) === Boolean(plan.off) && (plan.better || !c.better) && !(c.json && config.mode.endsWith("-msgpack"))));
  let made = 0;
  const make = (...args) => Object.assign(new Recovery(...args), { plan, sender: made++ % plan.senders.length });
  return runChecks({ time: 60_000, ...config, url: plan.nodes[0], suite, make }, report);
}

const checks = {};

// check adds a check; modes are the transports that it is for. better: the reference fails it, by the design of belfry.
// json: it looks for packets in what is on the wire.
const check = (name, body, { modes, better, off, json } = {}) => (checks[name] = { body, modes, better, off, json });

// A Recovery is one check's run.
class Recovery extends Test {
  controls = [];
  wires = [];

  // What others do on the nth sender's node.
  async control(n, ...args) {
    const i = this.plan.senders[n % this.plan.senders.length];
    this.controls[i] ??= this.io(this.plan.nodes[i] + "/control", { ...this.options, transports: ["websocket"] });
    if (this.ended) return new Promise(() => {});
    return this.controls[i].timeout(60_000).emitWithAck(...args).catch((e) => {
      if (!this.ended) throw e;
    });
  }
  everywhere(...args) {
    return Promise.all(this.plan.senders.map((_, n) => this.control(n, ...args)));
  }
  // Somebody emits number n to rooms, always on the same node but for node.
  emit(to, n, { except = [], volatile = false, ns = "/", event = "n", args = [], node = this.sender } = {}) {
    return this.control(node, "emit", { to, except, volatile, ns, event }, n, ...args);
  }
  // A client that has connected to the first node of the path, and is in rooms.
  async phone(rooms = [], options = {}, namespace = "/") {
    const wire = await this.wire(0);
    const phone = new Phone(this, wire, this.io(wire.url + namespace, { ...this.options, ...options }));
    this.clients.push(phone);
    await phone.connected();
    if (rooms.length) await phone.ask("join", rooms);
    return phone;
  }
  async wire(n) {
    const answer = await fetch(this.plan.wires + "/wires?node=" + this.plan.path[n % this.plan.path.length], { method: "POST" });
    const wire = await answer.json();
    this.wires.push(wire);
    return wire;
  }
  // The server has noticed that a socket is gone, on every node.
  async gone(id) {
    for (const n of this.plan.senders.keys()) while ((await this.control(n, "sockets", [id])).length) await sleep(5);
  }
  async end() {
    this.ended = true;
    await super.end();
    for (const c of this.controls) c?.disconnect();
    for (const wire of this.wires) await command(wire, "close");
  }
}

const command = (wire, op, arg = "") => fetch(wire.control + "/" + op + "?arg=" + encodeURIComponent(arg), { method: "POST" });

// A Phone is a client that goes away and comes back.
class Phone extends Client {
  at = 0;
  left = 0;

  constructor(test, wire, socket) {
    super(socket);
    Object.assign(this, { test, wire });
  }
  numbers() {
    return this.all("n").map((e) => e[1]);
  }
  // leave ends the connection: by the client itself ("close"), by the network, which both ends notice ("cut"), or so that the server does
  // not notice ("vanish"). A server notices no cut that comes behind the answer to a poll, which the reference does not bear.
  async leave(how = "close") {
    const id = this.socket.id;
    const { kind, plan } = this.test;
    if (kind === "default" && how !== "vanish") await this.upgraded();
    if (how === "cut" && kind === "polling") how = plan.better ? "vanish" : "close";
    if (how === "close") this.socket.io.engine.close();
    else await command(this.wire, how);
    await this.received("(disconnect)", ++this.left);
    if (how !== "vanish") await this.test.gone(id);
  }
  // upgraded waits until the server has upgraded, too. A client that closes its engine in the middle of that keeps what has come in the
  // same tick for its next connection, without its offset, and gets it twice from any server (Manager.ondecoded of socket.io-client 4.8).
  async upgraded() {
    while (this.socket.io.engine.transport.name !== "websocket") await sleep(5);
    await this.ask("whoami");
  }
  // back connects to the next node of the path.
  async back() {
    await this.move();
    this.socket.connect();
    await this.connected();
  }
  async move() {
    const { path } = this.test.plan;
    await command(this.wire, "to", path[++this.at % path.length]);
  }
  // Somebody emits number n to the client's own room; all that was emitted before on the same node has come when it has.
  async upTo(n, node = this.test.sender) {
    await this.test.emit([this.socket.id], n, { ns: this.socket.nsp, node });
    while (!this.numbers().includes(n)) await new Promise((resolve) => this.waiting.push(() => (resolve(), true)));
  }
}

// same checks that a session goes on: id, rooms and data are those of before.
async function same(t, phone, before, what) {
  const who = await phone.ask("whoami");
  t.same([Boolean(phone.socket.recovered), who.recovered], [true, true], what + ": recovered");
  t.same([phone.socket.id, who.id, who.rooms, who.data], [before.id, before.id, before.rooms, before.data], what + ": id, rooms and data");
}

// fresh checks that it is another session.
async function fresh(t, phone, id, what) {
  const who = await phone.ask("whoami");
  t.same([Boolean(phone.socket.recovered), who.recovered], [false, false], what + ": recovered");
  t.same([phone.socket.id !== id, who.rooms, who.data], [true, [phone.socket.id], null], what + ": another id, no rooms, no data");
}

// Events to a whole namespace would reach the clients of other checks: these are in a namespace where nobody minds.
for (const how of ["close", "cut", "vanish"]) {
  check("what was missed: " + how, async (t) => {
    const ns = "/other";
    const [a, b, c, key] = ["a", "b", "c", "key"].map((r) => t.name(r));
    const phone = await t.phone([a, b], {}, ns);
    await phone.ask("set data", { name: "Zoë", n: 7 });
    const before = await phone.ask("whoami");
    await phone.upTo(0);
    t.step = "leaving";
    await phone.leave(how);
    t.step = "events while it is away";
    const everyone = { ns, event: "everyone", args: [key] };
    await t.emit([a], 1, { ns });
    await t.emit([], 2, everyone);
    await t.emit([before.id], 3, { ns });
    await t.emit([a, b, before.id], 4, { ns });
    await t.emit([c], -1, { ns });
    await t.emit([a, c], -2, { ns, except: [b] });
    await t.emit([a, c], 5, { ns, except: [c] });
    await t.emit([], -3, { ...everyone, except: [before.id] });
    await t.emit([b], 6, { ns, args: [bytes(1, 2), { deep: [bytes(), "é"] }, null] });
    await t.emit([b], -4, { ns, volatile: true, args: ["volatile"] });
    await t.emit([b], 7, { ns, args: ["a string last"] });
    t.step = "coming back";
    await phone.back();
    await same(t, phone, before, "back");
    await t.emit([a], 8, { ns });
    await phone.upTo(9);
    const mine = phone.events.filter((e) => e[0] === "n" || (e[0] === "everyone" && e[2] === key));
    t.same(mine.map((e) => e[1]), upTo(10), "numbers");
    t.same(mine[6].slice(1, 5), [6, bytes(1, 2), { deep: [bytes(), "é"] }, null], "binary");
    t.same(mine[7].slice(1, 3), [7, "a string last"], "a string");
  }, { better: how === "vanish" });
}

check("four times", async (t) => {
  const room = t.name("room");
  const phone = await t.phone([room]);
  await phone.ask("set data", { name: "four", n: 4 });
  const before = await phone.ask("whoami");
  const want = [];
  for (const i of upTo(4)) {
    t.step = "absence " + i;
    await t.emit([room], 10 * i);
    await phone.upTo(10 * i + 1);
    await phone.leave(i % 2 ? "cut" : "close");
    for (const k of [2, 3, 4]) await t.emit([room], 10 * i + k);
    await phone.back();
    await same(t, phone, before, t.step);
    await phone.upTo(10 * i + 5);
    want.push(...upTo(6).map((k) => 10 * i + k));
  }
  t.same(phone.numbers(), want, "numbers");
});

check("twice without an event between", async (t) => {
  const room = t.name("room");
  const phone = await t.phone([room]);
  const before = await phone.ask("whoami");
  await phone.upTo(0);
  for (const i of upTo(3)) {
    await phone.leave();
    await t.emit([room], i + 1);
    if (i === 1) await t.emit([room], 10);
    await phone.back();
    await same(t, phone, before, "absence " + i);
  }
  await phone.upTo(20);
  t.same(phone.numbers(), [0, 1, 2, 10, 3, 20], "numbers");
});

check("nothing was missed", async (t) => {
  const phone = await t.phone();
  const before = await phone.ask("whoami");
  await phone.upTo(0);
  for (const how of ["close", "cut"]) {
    await phone.leave(how);
    await phone.back();
    await same(t, phone, before, how);
  }
  await phone.upTo(1);
  t.same(phone.numbers(), [0, 1], "numbers");
});

check("five hundred events", async (t) => {
  const room = t.name("room");
  const phone = await t.phone([room]);
  await phone.upTo(0);
  await phone.leave();
  t.step = "emitting";
  for (const i of upTo(500)) t.emit([room], i + 1);
  await t.emit([room], 501);
  await phone.back();
  t.same(Boolean(phone.socket.recovered), true, "recovered");
  await phone.upTo(502);
  t.same(phone.numbers(), upTo(503), "numbers");
});

// Events come while the client goes away and comes back, so that some are on the way at each moment.
check("events all the while", async (t) => {
  const room = t.name("room");
  const phone = await t.phone([room]);
  await phone.upTo(-1);
  let next = 0;
  let going = true;
  const sender = (async () => {
    while (going) {
      await t.emit([room], next++);
    }
  })();
  for (const i of upTo(6)) {
    t.step = "absence " + i;
    await sleep(20);
    await phone.leave(i % 2 ? "cut" : "close");
    await phone.back();
    t.same(Boolean(phone.socket.recovered), true, t.step);
  }
  going = false;
  await sender;
  await phone.upTo(1e6);
  t.same(phone.numbers(), [-1, ...upTo(next), 1e6], "numbers");
  t.detail = next + " events";
}, { better: true });

check("senders on every node", async (t) => {
  const room = t.name("room");
  const phone = await t.phone([room]);
  await phone.upTo(0);
  await phone.leave();
  await Promise.all(t.plan.senders.map(async (_, k) => {
    for (const i of upTo(20)) await t.emit([room], 1000 * (k + 1) + i, { node: k });
  }));
  await phone.back();
  t.same(Boolean(phone.socket.recovered), true, "recovered");
  for (const k of t.plan.senders.keys()) await phone.upTo(1000 * (k + 1) + 20, k);
  for (const k of t.plan.senders.keys()) {
    const from = 1000 * (k + 1);
    t.same(phone.numbers().filter((n) => n >= from && n < from + 1000), upTo(21).map((i) => from + i), "of sender " + k);
  }
});

check("before the first event", async (t) => {
  const room = t.name("room");
  const phone = await t.phone([room]);
  const before = await phone.ask("whoami");
  for (const i of upTo(2)) {
    await phone.leave();
    if (i) await t.emit([room], 1);
    await phone.back();
    await same(t, phone, before, "absence " + i);
  }
  await phone.upTo(2);
  t.same(phone.numbers(), [1, 2], "numbers");
}, { better: true });

check("an offset that is left over from another session", async (t) => {
  const room = t.name("room");
  const phone = await t.phone([room]);
  await phone.upTo(0);
  const first = phone.socket.id;
  await phone.leave();
  await t.control(t.sender, "kick", [first]);
  await t.emit([room], -1);
  await phone.back();
  await fresh(t, phone, first, "after a kick");
  await phone.ask("join", [room]);
  const before = await phone.ask("whoami");
  await phone.leave();
  await t.emit([room], 1);
  await phone.back();
  await same(t, phone, before, "before the second session's first event");
  await phone.upTo(2);
  t.same(phone.numbers(), [0, 1, 2], "numbers");
}, { better: true });

check("a volatile event with a string last", async (t) => {
  const room = t.name("room");
  const phone = await t.phone([room]);
  const before = await phone.ask("whoami");
  await phone.upTo(0);
  await t.emit([room], 1);
  while (!phone.numbers().includes(2)) await t.emit([room], 2, { volatile: true, args: ["not an offset"] });
  await phone.leave();
  await t.emit([room], 3);
  await phone.back();
  await same(t, phone, before, "back");
  await phone.upTo(4);
  t.same(phone.numbers().filter((n) => n !== 2), [0, 1, 3, 4], "numbers");
}, { better: true });

check("events that ask for an acknowledgement", async (t) => {
  const room = t.name("room");
  const phone = await t.phone([room]);
  const questions = [];
  phone.socket.on("question", (n, text, ack) => (questions.push(n), ack("answer " + n)));
  const before = await phone.ask("whoami");
  await phone.upTo(0);
  t.same(await phone.ask("ask me", 1), "answer 1");
  await t.emit([room], 1);
  await phone.upTo(2);
  t.same(await phone.ask("ask me", 2), "answer 2");
  await phone.leave();
  await t.emit([room], 3);
  await phone.back();
  await same(t, phone, before, "back");
  t.same(await phone.ask("ask me", 3), "answer 3");
  await phone.upTo(4);
  t.same([phone.numbers(), questions], [upTo(5), [1, 2, 3]], "numbers and questions");
});

// The middleware takes its time, so that some are emitted between CONNECT and its answer.
check("what the client emits while it is away", async (t) => {
  const key = t.name("count");
  const phone = await t.phone([], { auth: { slow: true } });
  const before = await phone.ask("whoami");
  await phone.upTo(0);
  await phone.leave();
  let sent = 0;
  const send = () => phone.socket.emit("count", key, sent++, ...(sent % 3 ? [] : [bytes(sent)]));
  for (const _ of upTo(10)) send();
  await t.emit([before.id], 1);
  const back = phone.back();
  for (const _ of upTo(15)) {
    send();
    await sleep(10);
  }
  await back;
  for (const _ of upTo(10)) send();
  await same(t, phone, before, "back");
  t.same(await phone.ask("counted", key), upTo(sent), "what the server has got");
  await phone.upTo(2);
  t.same(phone.numbers(), [0, 1, 2], "numbers");
});

check("joins and leaves by others while it is away", async (t) => {
  const [a, b, x, y] = ["a", "b", "x", "y"].map((r) => t.name(r));
  const phone = await t.phone([a, b]);
  const { id } = await phone.ask("whoami");
  await phone.upTo(0);
  await phone.leave();
  await t.emit([x], -1);
  await t.control(t.sender, "join", [id], [x]);
  await t.emit([x], 1);
  await t.emit([a], 2);
  await t.control(t.sender, "leave", [b], [a]);
  await t.emit([a], -2);
  await t.control(t.sender, "join", [x], [y]);
  await t.emit([y], 3);
  await t.emit([b], 4, { except: [a] });
  await t.emit([b], -3, { except: [y] });
  await t.control(t.sender, "join", [id], [a]);
  await t.emit([a], 5);
  await t.control(t.sender, "leave", [id], [x]);
  await t.emit([x], -4);
  await phone.back();
  await same(t, phone, { id, rooms: [id, a, b, y].sort(), data: null }, "back");
  await t.emit([x], -5);
  await phone.upTo(6);
  t.same(phone.numbers(), upTo(7), "numbers");
}, { better: true });

check("rooms as they were at each event", async (t) => {
  const [a, x] = ["a", "x"].map((r) => t.name(r));
  const phone = await t.phone([a]);
  await phone.upTo(0);
  t.step = "joining after an event";
  await t.emit([x], -1);
  await phone.upTo(1);
  await phone.ask("join", [x]);
  await phone.leave();
  await t.emit([x], 2);
  await phone.back();
  await phone.upTo(3);
  t.step = "leaving after an event";
  const { id } = phone.socket;
  await phone.leave("vanish");
  await t.emit([a], 4);
  await t.control(t.sender, "leave", [id], [a]);
  await t.emit([a], -2);
  await phone.back();
  t.same(Boolean(phone.socket.recovered), true, "recovered");
  await t.emit([a], -3);
  await phone.upTo(5);
  t.same(phone.numbers(), upTo(6), "numbers");
}, { better: true });

for (const by of ["id", "room"]) {
  check("disconnected by others while it is away, by " + by, async (t) => {
    const room = t.name("room");
    const phone = await t.phone([room]);
    const { id } = await phone.ask("whoami");
    await phone.upTo(0);
    await phone.leave();
    await t.emit([room], -1);
    await t.control(t.sender, "kick", [by === "id" ? id : room]);
    await t.emit([room], -2);
    await phone.back();
    await fresh(t, phone, id, "back");
    await phone.upTo(1);
    t.same(phone.numbers(), [0, 1], "numbers");
  }, { better: true });
}

const endings = {
  "the server disconnects the socket": (phone) => phone.socket.emit("disconnect me"),
  "the client disconnects": (phone) => phone.socket.disconnect(),
  "others disconnect it": (phone, t) => t.control(t.sender, "kick", [phone.socket.id]),
};
for (const [name, end] of Object.entries(endings)) {
  check(name, async (t) => {
    const room = t.name("room");
    const phone = await t.phone([room]);
    const { id } = await phone.ask("whoami");
    await phone.upTo(0);
    end(phone, t);
    await phone.received("(disconnect)", ++phone.left);
    await t.gone(id);
    await t.emit([room], -1);
    await phone.back();
    await fresh(t, phone, id, "back");
    await phone.upTo(1);
    t.same(phone.numbers(), [0, 1], "numbers");
  });
}

check("a middleware refuses at the return", async (t) => {
  const room = t.name("room");
  const token = t.name("token");
  const phone = await t.phone([room], { auth: { token } });
  const before = await phone.ask("whoami");
  await phone.upTo(0);
  await phone.leave();
  await t.everywhere("revoke", token, true);
  await phone.move();
  const refused = phone.refused();
  phone.socket.connect();
  t.same((await refused).message, "revoked", "refusal");
  t.same(phone.socket.connected, false, "connected");
  t.same(await t.control(t.sender, "sockets", [before.id]), [], "its socket on the server");
  await t.emit([room], 1);
  await t.everywhere("revoke", token, false);
  await phone.back();
  await same(t, phone, before, "with a good token");
  await phone.upTo(2);
  t.same(phone.numbers(), [0, 1, 2], "numbers");
});

check("a pid that is forged", async (t) => {
  const victim = await t.phone();
  await victim.upTo(0);
  const pid = victim.socket._pid;
  const swap = (at) => pid.slice(0, at) + (pid[at] === "A" ? "B" : "A") + pid.slice(at + 1);
  for (const forged of ["x", "", swap(0), swap(pid.length - 1), pid + "A", pid.slice(0, -1), "..", victim.socket.id, 5, null, {}]) {
    const phone = await t.phone([], { auth: { pid: forged, offset: victim.socket._lastOffset } });
    await fresh(t, phone, victim.socket.id, "with " + JSON.stringify(forged));
    await phone.upTo(1);
    t.same(phone.numbers(), [1], "numbers");
    phone.socket.disconnect();
  }
  await victim.upTo(2);
  t.same(victim.numbers(), [0, 2], "the other client");
});

check("two namespaces on one connection", async (t) => {
  const room = t.name("room");
  const phone = await t.phone([room]);
  const other = await t.connect("/other", {}, phone.socket.io);
  await other.ask("join", [room]);
  const before = await phone.ask("whoami");
  const beside = await other.ask("whoami");
  await phone.upTo(0);
  await t.emit([room], 1, { ns: "/other" });
  await other.received("n");
  await phone.leave();
  await t.emit([room], 2);
  await t.emit([room], 3, { ns: "/other" });
  const back = new Promise((resolve) => other.socket.once("connect", resolve));
  await phone.back();
  await back; // with the same connection
  await same(t, phone, before, "the first");
  await same(t, other, beside, "the second");
  await t.emit([room], 4, { ns: "/other" });
  await other.received("n", 3);
  await phone.upTo(5);
  t.same([phone.numbers(), other.all("n").map((e) => e[1])], [[0, 2, 5], [1, 3, 4]], "numbers");
});

// A program calls connect() itself, or lets the client do so by itself.
check("the client reconnects by itself", async (t) => {
  const room = t.name("room");
  const phone = await t.phone([room], { reconnection: true, reconnectionDelay: 1, reconnectionDelayMax: 5 });
  const before = await phone.ask("whoami");
  await phone.upTo(0);
  for (const i of upTo(3)) {
    await phone.leave(i === 1 ? "vanish" : "cut");
    const back = new Promise((resolve) => phone.socket.once("connect", resolve));
    await t.emit([room], i + 1);
    await phone.move();
    await back;
    await same(t, phone, before, "return " + i);
  }
  await phone.upTo(4);
  t.same(phone.numbers(), upTo(5), "numbers");
}, { better: true });

check("the connection breaks behind the answer to CONNECT", async (t) => {
  const room = t.name("room");
  const phone = await t.phone([room]);
  const before = await phone.ask("whoami");
  await phone.upTo(0);
  await phone.leave();
  for (const n of [1, 2, 3]) await t.emit([room], n);
  for (const _ of upTo(2)) {
    await command(phone.wire, "cutafter", String.raw`40\{[^}]*"pid"[^}]*\}`);
    await phone.back().catch(() => {});
    await phone.received("(disconnect)", ++phone.left);
    await t.gone(before.id);
  }
  await t.emit([room], 4);
  await phone.back();
  await same(t, phone, before, "back");
  await phone.upTo(5);
  t.same(phone.numbers(), upTo(6), "numbers");
}, { better: true, modes: ["websocket"], json: true });

// hold says what of the WebSocket does not arrive: "down", all after the handshake, so that the client probes; "up", all after the probe,
// so that the client has upgraded, and the server has not.
for (const hold of ["down", "up"]) {
  check("the connection breaks in the middle of the upgrade: " + hold, async (t) => {
    const room = t.name("room");
    const wire = await t.wire(0);
    await command(wire, "hold", hold);
    // A client whose upgrade is stuck before it is connected waits for its ping: so "up" upgrades only then.
    const phone = new Phone(t, wire, t.io(wire.url, { ...t.options, upgrade: hold === "down" }));
    t.clients.push(phone);
    await phone.connected();
    if (hold === "down") {
      await command(wire, "held");
      await phone.ask("join", [room]);
      await phone.upTo(0);
    } else {
      const id = phone.socket.id;
      await t.control(t.sender, "join", [id], [room]);
      await t.emit([id], 0);
      const { engine } = phone.socket.io;
      const upgraded = new Promise((resolve) => engine.once("upgrade", resolve));
      engine._probe("websocket"); // what the client does by itself with the option "upgrade"
      await upgraded;
    }
    const { id } = phone.socket;
    await t.emit([room], 1);
    await command(wire, "hold", "");
    await phone.leave("vanish");
    await t.emit([room], 2);
    await phone.back();
    await same(t, phone, { id, rooms: [id, room].sort(), data: null }, "back");
    await phone.upTo(3);
    t.same(phone.numbers(), upTo(4), "numbers");
  }, { better: true, modes: ["default"] });
}

check("nothing of recovery shows", async (t) => {
  const room = t.name("room");
  const phone = await t.phone([room]);
  const { id } = await phone.ask("whoami");
  for (const how of ["close", "cut"]) {
    t.same([phone.socket._pid, Boolean(phone.socket.recovered)], [undefined, false], "pid and recovered");
    await t.emit([room], 0);
    await phone.upTo(1);
    t.same(phone.all("n").map((e) => e.length), phone.all("n").map(() => 2), "arguments of events");
    t.same(phone.socket._lastOffset, undefined, "offset");
    await phone.leave(how);
    await t.emit([room], -1);
    await phone.back();
    await fresh(t, phone, id, "back");
    t.same((await phone.ask("whoami")).auth, {}, "auth");
    await phone.ask("join", [room]);
    phone.events = phone.events.filter((e) => e[0] !== "n");
  }
}, { off: true });
