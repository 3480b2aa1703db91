// The official client against limits. Usage: node limits.mjs URL crowd N, or node limits.mjs URL flood N
import assert from "node:assert/strict";
import { io } from "socket.io-client";

const [url, what, count] = process.argv.slice(2);
const n = Number(count);
setTimeout(() => {
  console.error("timed out: " + what);
  process.exit(1);
}, 240_000).unref();

// N clients come at once, on every way to connect; those that are refused try again by themselves.
async function crowd() {
  const ways = [{}, { transports: ["websocket"] }, { transports: ["polling"] }];
  let refused = 0;
  const sockets = Array.from({ length: n }, (_, i) =>
    io(url, { forceNew: true, reconnectionDelay: 200, reconnectionDelayMax: 1000, timeout: 60_000, ...ways[i % ways.length] }),
  );
  await Promise.all(
    sockets.map((s) => {
      s.on("connect_error", () => refused++);
      return new Promise((resolve) => s.once("connect", resolve));
    }),
  );
  for (const s of sockets) {
    assert.deepEqual(await s.timeout(60_000).emitWithAck("echo", "here"), ["here"]);
    s.close();
  }
  assert.ok(refused > 0, "none was refused");
  console.log(`${refused} refusals`);
}

// A client sends N events at once, far more than it may: all arrive, in order, and it stays connected.
async function flood() {
  for (const transports of [["polling", "websocket"], ["websocket"], ["polling"]]) {
    const s = io(url, { forceNew: true, reconnection: false, transports });
    await new Promise((resolve, reject) => s.once("connect", resolve).once("connect_error", reject));
    let ended;
    s.on("disconnect", (reason) => (ended = reason));
    const answers = [];
    for (let i = 0; i < n; i++) answers.push(s.timeout(60_000).emitWithAck("echo", i));
    assert.deepEqual(await Promise.all(answers), Array.from({ length: n }, (_, i) => [i]));
    assert.deepEqual(await s.timeout(60_000).emitWithAck("echo", "behind"), ["behind"]);
    assert.equal(ended, undefined);
    s.close();
  }
}

await { crowd, flood }[what]();
process.exit(0);
