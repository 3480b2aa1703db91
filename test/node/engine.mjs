// The official Engine.IO client against an echo. Usage: node engine.mjs URL MODE. MODE is websocket, polling or default.
// Output and exit status are those of interop.mjs.
import assert from "node:assert/strict";
import { Socket } from "engine.io-client";

const [url, mode] = process.argv.slice(2);
const transports = { websocket: ["websocket"], polling: ["polling"], default: ["polling", "websocket"] }[mode];
assert.ok(transports, "no such mode: " + mode);

const upTo = (n) => [...Array(n).keys()];
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// fetch gives up a connection that is not there within 10 seconds, which a busy machine may need.
async function post(url, body) {
  for (let tries = 1; ; tries++) {
    try {
      return await fetch(url, { method: "POST", body });
    } catch (e) {
      if (tries === 10) throw e;
    }
  }
}

// A session with all that has come.
class Session {
  got = [];
  events = [];
  waiting = [];

  constructor(options) {
    this.socket = new Socket(url, { transports, ...options });
    // An empty text comes without data.
    this.socket.on("message", (m = "") => this.note("got", typeof m === "string" ? m : Buffer.from(m)));
    this.closed = new Promise((resolve) => this.socket.on("close", (reason) => resolve(reason)));
    for (const name of ["open", "upgrading", "upgrade", "upgradeError", "ping"]) this.socket.on(name, () => this.note("events", name));
  }
  note(list, what) {
    this[list].push(what);
    this.waiting = this.waiting.filter((w) => !w());
  }
  until(condition) {
    return Promise.race([
      new Promise((resolve) => {
        const look = () => condition() && (resolve(), true);
        if (!look()) this.waiting.push(look);
      }),
      this.closed.then((reason) => Promise.reject(new Error("closed: " + reason + `, after ${this.got.length} messages`))),
    ]);
  }
  event(name, n = 1) {
    return this.until(() => this.events.filter((e) => e === name).length >= n);
  }
  // Sends messages, and expects them back, in order.
  async echo(messages, before = this.got.length) {
    for (const m of messages) this.socket.send(m);
    await this.until(() => this.got.length >= before + messages.length);
    same(this.got.slice(before), messages);
  }
}

// deepEqual of many megabytes takes longer than the echo.
function same(got, want) {
  assert.equal(got.length, want.length, "how many");
  for (const [i, w] of want.entries()) {
    const ok = typeof w === "string" ? got[i] === w : Buffer.isBuffer(got[i]) && w.equals(got[i]);
    if (!ok) assert.fail(`message ${i}: got ${String(got[i]).slice(0, 100)}, want ${String(w).slice(0, 100)}`);
  }
}

const checks = {
  async "open"(session) {
    const s = session();
    await s.event("open");
    assert.equal(s.socket.readyState, "open");
    assert.ok(s.socket.id.length >= 16, "an id");
    assert.equal(s.socket.transport.name, transports[0]);
    await s.echo(["hello"]);
  },
  async "which transports"(session) {
    const s = session();
    if (mode === "default") await s.event("upgrade");
    else await s.echo(upTo(20).map(String));
    assert.equal(s.socket.transport.name, mode === "polling" ? "polling" : "websocket");
    assert.deepEqual(s.events.filter((e) => e.startsWith("upgrad")), mode === "default" ? ["upgrading", "upgrade"] : []);
    await s.echo(["after", Buffer.from("after")]);
  },
  async "an upgrade that the client does not want"(session) {
    const s = session({ transports: ["polling"], upgrade: false });
    await s.event("open");
    await s.echo(upTo(10).map(String));
    assert.equal(s.socket.transport.name, "polling");
  },
  async "text"(session) {
    const s = session();
    await s.event("open");
    await s.echo(["", "a", "4", "b", "bAQID", "2probe", "\u0000", "é日🎉", "\u2028\u2029", "\r\n", '"\\', "x".repeat(125), "x".repeat(126), "x".repeat(65535), "x".repeat(65536)]);
    if (mode === "websocket") await s.echo(["\u001e", "a\u001eb"]); // it separates the packets of polling, where no client can send it
  },
  async "binary"(session) {
    const s = session();
    await s.event("open");
    await s.echo([0, 1, 2, 3, 4, 125, 126, 65535, 65536].map((n) => Buffer.from(upTo(n).map((i) => i & 255))));
    await s.echo([Buffer.from([0x1e]), Buffer.from("4text"), Buffer.from([0x1e, 0x1e])]);
    s.socket.send(new Uint8Array([1, 2, 3]).buffer);
    s.socket.send(new Uint8Array([4, 5]));
    await s.until(() => s.got.length === 14);
    same(s.got.slice(12), [Buffer.from([1, 2, 3]), Buffer.from([4, 5])]);
  },
  async "binary as ArrayBuffer"(session) {
    const s = session();
    s.socket.binaryType = "arraybuffer";
    await s.event("open");
    const first = new Promise((resolve) => s.socket.once("message", resolve));
    s.socket.send(Buffer.from([1, 2, 3]));
    const got = await first;
    assert.ok(got instanceof ArrayBuffer);
    assert.deepEqual([...new Uint8Array(got)], [1, 2, 3]);
  },
  async "many messages in one burst"(session) {
    const s = session();
    await s.event("open");
    await s.echo(upTo(3000).map((i) => (i % 3 === 1 ? Buffer.from("binary " + i) : "text " + i)));
  },
  async "messages before it is open"(session) {
    const s = session();
    await s.echo(upTo(50).map((i) => (i % 2 ? Buffer.from([i]) : "" + i)), 0);
  },
  async "large messages"(session) {
    const s = session();
    await s.event("open");
    await s.echo(["é".repeat(450_000), Buffer.alloc(700_000, 5), "x".repeat(999_000)]);
    await s.echo(upTo(6).map((i) => String(i).repeat(300_000))); // together more than the server takes in one request
  },
  async "a message that is too large"(session) {
    const s = session();
    if (mode === "default") await s.event("upgrade");
    await s.event("open");
    const sid = s.socket.id;
    s.socket.send("x".repeat(1_000_100));
    assert.equal(await s.closed, mode === "polling" ? "transport error" : "transport close");
    // A polling client now forgets its session, which the server has not closed. Do that here.
    if (mode === "polling") await post(`${url}/engine.io/?EIO=4&transport=polling&sid=${sid}`, "1");
  },
  async "the client closes"(session) {
    const s = session();
    await s.event("open");
    s.socket.send("last words");
    s.socket.close();
    assert.equal(await s.closed, "forced close");
    assert.equal(s.socket.readyState, "closed");
  },
  async "the client closes during the upgrade"(session) {
    const s = session();
    await s.event("upgrading");
    s.socket.close();
    assert.equal(await s.closed, "forced close");
  },
  async "pings of the server"(session) {
    const s = session();
    await s.event("ping", 3);
    await s.echo(["still here", Buffer.from([1])]);
  },
  // Messages at all moments of the upgrade: each session begins at another one, and keeps on until after it.
  async "order across the upgrade"(session) {
    let total = 0;
    await Promise.all(
      upTo(20).map(async (n) => {
        const s = session();
        await s.event("open");
        await sleep(n);
        const sent = [];
        for (let after = 0; after < 5; ) {
          if (s.events.includes("upgrade")) after++;
          for (let i = 0; i < n; i++) {
            const m = sent.length % 4 ? "text " + sent.length : Buffer.from("binary " + sent.length);
            sent.push(m);
            s.socket.send(m);
          }
          await sleep(n % 4);
        }
        s.socket.send("end");
        sent.push("end");
        await s.until(() => s.got.at(-1) === "end" || s.got.length > sent.length);
        same(s.got, sent);
        assert.deepEqual(s.events.filter((e) => e.startsWith("upgrad")), ["upgrading", "upgrade"]);
        total += sent.length;
      }),
    );
    return total + " messages";
  },
  async "a hundred sessions"(session) {
    const all = upTo(100).map(() => session());
    await Promise.all(all.map((s, i) => s.event("open").then(() => s.echo(upTo(5).map((j) => i + " " + j)))));
    assert.equal(new Set(all.map((s) => s.socket.id)).size, 100, "ids differ");
  },
};
if (mode !== "default") for (const name of Object.keys(checks)) if (name.includes("during the upgrade") || name.includes("across the upgrade")) delete checks[name];

let failed = 0;
await Promise.all(
  Object.entries(checks).map(async ([name, body]) => {
    const sessions = [];
    const start = Date.now();
    const result = { name, ok: true, detail: "" };
    let timer;
    try {
      const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error("timed out")), 240_000)));
      const session = (options) => {
        const s = new Session(options);
        s.closed.catch(() => {});
        sessions.push(s);
        return s;
      };
      result.detail = (await Promise.race([body(session), late])) ?? "";
    } catch (e) {
      failed++;
      Object.assign(result, { ok: false, detail: e.message });
    } finally {
      clearTimeout(timer);
      sessions.forEach((s) => s.socket.close());
    }
    console.log(JSON.stringify({ ...result, ms: Date.now() - start }));
  }),
);
process.exitCode = failed ? 1 : 0;
setTimeout(() => process.exit(), 2000).unref(); // what clients have still to say is said
