// The official client on three nodes: rooms, events, acknowledgements both ways, binary. Usage: node client.mjs URL URL URL
// Every step waits for what must come; what must not come is known by something later that has.
import assert from "node:assert/strict";
import { io } from "socket.io-client";

const urls = process.argv.slice(2);
assert.equal(urls.length, 3, "three addresses");

const fail = setTimeout(() => {
  console.error("timed out during: " + step);
  process.exit(1);
}, 240_000);
let step = "connecting";

// A client with everything that it has received.
class Client {
  constructor(url, options) {
    this.events = [];
    this.waiting = [];
    this.socket = io(url, { transports: ["websocket"], reconnection: false, forceNew: true, timeout: 60_000, ...options });
    this.socket.onAny((...args) => {
      this.events.push(args);
      this.waiting = this.waiting.filter((w) => !w());
    });
  }
  connected() {
    return new Promise((resolve, reject) => {
      this.socket.once("connect", resolve);
      this.socket.once("connect_error", reject);
    });
  }
  ask(...args) {
    return this.socket.timeout(60_000).emitWithAck(...args);
  }
  // The first event that matches, now or later.
  received(match) {
    return new Promise((resolve) => {
      const look = () => {
        const found = this.events.find(match);
        if (found) resolve(found);
        return found !== undefined;
      };
      if (!look()) this.waiting.push(look);
    });
  }
  count(name, text) {
    return this.events.filter((e) => e[0] === name && (text === undefined || e.includes(text))).length;
  }
}

// After a marker to the whole namespace from node i, everything that node i emitted before has arrived.
let marks = 0;
async function settle(i, clients) {
  const mark = "mark " + ++marks;
  await clients[i].ask("all", mark);
  await Promise.all(clients.map((c) => c.received((e) => e[0] === "all" && e[1] === mark)));
}

const clients = [];
for (let i = 0; i < 6; i++) clients.push(new Client(urls[i % 3], { auth: { name: "client " + i } }));
await Promise.all(clients.map((c) => c.connected()));
const ids = clients.map((c) => c.socket.id);
assert.equal(new Set(ids).size, 6, "ids differ");

step = "auth";
assert.deepEqual(await clients[1].ask("auth"), { name: "client 1" });

step = "joining";
assert.deepEqual(await clients[0].ask("join", "lobby"), [ids[0], "lobby"]);
for (const i of [1, 2, 5]) await clients[i].ask("join", "lobby");
await clients[1].ask("join", "news");
await clients[4].ask("join", "news");

step = "a room, without the sender";
await clients[0].ask("say", ["lobby"], [], "hello");
for (const i of [1, 2, 5]) {
  const said = await clients[i].received((e) => e[0] === "said" && e[2] === "hello");
  assert.equal(said[1], ids[0]);
}
await settle(0, clients);
assert.deepEqual(clients.map((c) => c.count("said", "hello")), [0, 1, 1, 0, 0, 1]);

step = "a union, each once, with an exception";
await clients[3].ask("say", ["lobby", "news"], [ids[2]], "union");
await settle(3, clients); // client 3 is on node 0
assert.deepEqual(clients.map((c) => c.count("said", "union")), [1, 1, 0, 0, 1, 1]);

step = "one socket, by its id, from another node";
await clients[2].ask("say", [ids[4]], [], "psst");
await clients[4].received((e) => e[0] === "said" && e[2] === "psst");
await settle(2, clients);
assert.deepEqual(clients.map((c) => c.count("said", "psst")), [0, 0, 0, 0, 1, 0]);

step = "leaving";
await clients[1].ask("leave", "lobby");
await clients[2].ask("say", ["lobby"], [], "without 1");
await settle(2, clients);
assert.deepEqual(clients.map((c) => c.count("said", "without 1")), [1, 0, 0, 0, 0, 1]);

step = "values and binary, there and back";
const sent = [1, "two", { three: [3.5, null, true], "ключ": "значение <&>" }, Buffer.from([0, 1, 2, 255]), { deep: [Buffer.from("bytes"), Buffer.alloc(0)] }];
assert.deepEqual(await clients[0].ask("echo", ...sent), sent);
const big = Buffer.alloc(300_000, 7);
assert.deepEqual(await clients[0].ask("echo", big), [big]);

step = "binary to a room on every node";
await clients[5].ask("bytes", "lobby", Buffer.from([9, 8, 7]));
for (const i of [0, 2]) {
  const got = await clients[i].received((e) => e[0] === "bytes");
  assert.deepEqual(got, ["bytes", { data: Buffer.from([9, 8, 7]), note: "from " + ids[5] }]);
}

step = "the server's question";
clients[2].socket.on("question", (n, data, answer) => answer(n + 1, Buffer.from([...data].reverse())));
assert.deepEqual(await clients[2].ask("question me", 41, Buffer.from([1, 2, 3])), [42, Buffer.from([3, 2, 1])]);

step = "order of 500 events to a room on all nodes";
clients[0].socket.emit("burst", "lobby", 500);
for (const i of [2, 5]) {
  await clients[i].received((e) => e[0] === "tick" && e[1] === 499);
  assert.deepEqual(clients[i].events.filter((e) => e[0] === "tick").map((e) => e[1]), [...Array(500).keys()]);
}

clients[3].socket.on("next", (i, answer) => answer(i));
step = "a handler that waits for the client twenty times";
assert.deepEqual(await clients[3].ask("slow", 20), [...Array(20).keys()]);

step = "another namespace over the same connection";
const admin = clients[0].socket.io.socket("/admin");
await new Promise((resolve, reject) => {
  admin.on("connect", resolve);
  admin.on("connect_error", reject);
});
assert.notEqual(admin.id, ids[0]);
assert.equal(await admin.timeout(60_000).emitWithAck("whoami"), admin.id);

step = "a namespace that there is not";
const nowhere = clients[0].socket.io.socket("/nowhere");
const refused = await new Promise((resolve) => {
  nowhere.on("connect_error", resolve);
});
assert.equal(refused.message, "Invalid namespace");
assert.ok(clients[0].socket.connected, "the refusal leaves the connection alone");

step = "disconnecting sees the rooms, disconnect does not";
clients[5].socket.disconnect();
const gone = await clients[0].received((e) => e[0] === "gone");
assert.deepEqual(gone, ["gone", ids[5], "client namespace disconnect", [ids[5], "lobby"], []]);

step = "the server disconnects";
const dropped = new Promise((resolve) => clients[4].socket.once("disconnect", resolve));
clients[4].socket.emit("drop me");
assert.equal(await dropped, "io server disconnect");

clients.forEach((c) => c.socket.disconnect());
clearTimeout(fail);
console.log("ok");
process.exit(0);
