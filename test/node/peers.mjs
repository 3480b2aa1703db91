// The application that all sides of the benchmark have, checked with official clients. Usage: node peers.mjs [-text] URL...
// The URLs are of the nodes of one cluster. With -text no binary data goes from node to node.
// Exit status 0 says that all held.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { io } from "socket.io-client";

const args = process.argv.slice(2);
const text = args[0] === "-text";
const urls = text ? args.slice(1) : args;
const late = 60_000; // ms; only a failure takes so long

// A member is a client with what it has got, and the rooms that it is in.
async function member(url, transport, rooms) {
  const socket = io(url, { transports: [transport], forceNew: true, reconnection: false });
  await new Promise((resolve, reject) => socket.once("connect", resolve).once("connect_error", reject));
  const m = { socket, rooms, got: [], name: `${transport} at ${url}` };
  socket.on("message", (...data) => m.got.push(...data));
  assert.equal(await socket.timeout(late).emitWithAck("join", ...rooms), "", `join's acknowledgement, ${m.name}`);
  return m;
}

async function until(condition, what, step = () => {}) {
  const end = Date.now() + late;
  for (let pause = 5; !condition(); pause = Math.min(2 * pause, 1000)) {
    assert(Date.now() < end, `waited for ${what}`);
    step();
    await sleep(pause);
  }
}

const members = [];
for (const [n, url] of urls.entries()) {
  members.push(await member(url, "websocket", ["all", "some", "all but one"]));
  members.push(await member(url, "polling", n === 0 ? ["all"] : ["all", "all but one"]));
}

for (const { socket, name } of members)
  for (const data of ["text", 1.5, ["a", null], { of: "object" }, Buffer.from([1, 2, 3]), "x".repeat(300_000)])
    assert.deepEqual(await socket.timeout(late).emitWithAck("echo", data), data, `echo, ${name}`);

// A join may be acknowledged before the other nodes' brokers know of it: until they do, nothing is counted.
for (const from of members)
  for (const room of from.rooms) {
    const first = `first ${room}, ${from.name}`;
    const waiting = () => members.filter((m) => m.rooms.includes(room) && !m.got.includes(first));
    await until(() => waiting().length === 0, `"${first}"`, () => from.socket.emit("publish", room, first));
  }
const isFirst = (data) => typeof data === "string" && data.startsWith("first ");

// Each member publishes to each room, whether it is in it or not, and to each other one privately.
const expected = new Map(members.map((m) => [m, []]));
for (const from of members) {
  for (const room of ["all", "some", "all but one"])
    for (const data of [`${room}, ${from.name}`, ...(text ? [] : [Buffer.from(`bytes for ${room}, ${from.name}`)])]) {
      from.socket.emit("publish", room, data);
      for (const m of members) if (m.rooms.includes(room)) expected.get(m).push(data);
    }
  for (const to of members) {
    from.socket.emit("publish", to.socket.id, `for ${to.name}, ${from.name}`);
    expected.get(to).push(`for ${to.name}, ${from.name}`);
  }
}
// The last message to all is behind all others of its sender to that room; what came too often has come by then.
await until(() => members.every((m) => m.got.filter((d) => !isFirst(d)).length >= expected.get(m).length), "all messages");
for (const from of members) from.socket.emit("publish", "all", `last, ${from.name}`);
await until(() => members.every((m) => members.every((from) => m.got.includes(`last, ${from.name}`))), "the last messages");

const words = (list) => list.map((d) => (typeof d === "string" ? d : `bytes: ${Buffer.from(d)}`)).sort();
for (const m of members) {
  const got = m.got.filter((d) => !isFirst(d) && !(typeof d === "string" && d.startsWith("last, ")));
  assert.deepEqual(words(got), words(expected.get(m)), `what ${m.name} got`);
}
process.exit(0);
