// Official clients behind a balancer: events both ways, and among each other. Usage: node balanced.mjs URL
// There are two clients of each way: polling, default, and websocket, which begins with that. Each does its part at the same time. At the end a
// line of JSON goes to stdout for each, {"way", "sid", "transport"}: the id of its connection, and the transport that it ended with.
import assert from "node:assert/strict";
import { io } from "socket.io-client";

const [url] = process.argv.slice(2);
const ways = {
  polling: { transports: ["polling"] },
  default: {},
  websocket: { transports: ["websocket", "polling"], tryAllTransports: true },
};
const upTo = (n) => [...Array(n).keys()];

const fail = setTimeout(() => {
  for (const c of clients) console.error(c.way, c.step);
  process.exit(1);
}, 240_000);

class Client {
  step = "connecting";
  said = [];
  ticks = [];
  waiting = [];
  constructor(way) {
    this.way = way;
    // A cookie of the balancer is sent back.
    this.socket = io(url, { ...ways[way], withCredentials: true, forceNew: true, reconnection: false, timeout: 60_000 });
    const note = (list) => (...args) => {
      list.push(args.at(-1));
      this.waiting = this.waiting.filter((look) => !look());
    };
    this.socket.on("said", note(this.said));
    this.socket.on("tick", note(this.ticks));
    this.socket.on("disconnect", (reason) => {
      if (this.step !== "done") throw new Error(this.way + " was disconnected: " + reason + " during " + this.step);
    });
  }
  ask(...args) {
    return this.socket.timeout(60_000).emitWithAck(...args);
  }
  until(ready) {
    return new Promise((resolve) => {
      const look = () => ready() && (resolve(), true);
      if (!look()) this.waiting.push(look);
    });
  }
  async meet() {
    await new Promise((resolve, reject) => {
      this.socket.once("connect", resolve);
      this.socket.once("connect_error", reject);
    });
  }
  async talk() {
    this.step = "an acknowledgement with binary";
    const sent = { n: 1, deep: [Buffer.from([0, 255])] };
    assert.deepEqual(await this.ask("ack", sent), sent);
    this.step = "a large message each way";
    const large = "é".repeat(300_000);
    assert.ok((await this.ask("ack", large)) === large);
    this.step = "a burst from the client";
    const key = this.socket.id;
    for (const i of upTo(200)) this.socket.emit("count", key, i);
    assert.deepEqual(await this.ask("counted", key), upTo(200));
    this.step = "a burst from the server";
    this.socket.emit("burst", 200);
    await this.until(() => this.ticks.length === 200);
    assert.deepEqual(this.ticks, upTo(200));
    this.step = "the others";
    const others = clients.filter((c) => c !== this).map((c) => c.socket.id);
    for (const i of upTo(3)) await Promise.all(others.map((id) => this.ask("say", [id], [], key + " " + i)));
    await this.until(() => this.said.length === 3 * others.length);
    for (const id of others) {
      assert.deepEqual(this.said.filter((text) => text.startsWith(id + " ")), upTo(3).map((i) => id + " " + i));
    }
    this.step = "done";
  }
}

const clients = [...Object.keys(ways), ...Object.keys(ways)].map((way) => new Client(way));
await Promise.all(clients.map((c) => c.meet()));
await Promise.all(clients.map((c) => c.talk()));
for (const { way, socket } of clients) {
  console.log(JSON.stringify({ way, sid: socket.io.engine.id, transport: socket.io.engine.transport.name }));
  socket.disconnect();
}
clearTimeout(fail);
