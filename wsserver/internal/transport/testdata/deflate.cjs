// The ws package's client against an echo. Usage: node deflate.cjs PATH-OF-WS URL OPTIONS EXTENSION-WANTED
const assert = require("node:assert/strict");
const { randomBytes } = require("node:crypto");
const [path, url, options, extension] = process.argv.slice(2);
const WebSocket = require(path);

const text = '{"user":"ada","online":true},'.repeat(400);
const messages = [
  "",
  "a",
  text,
  "κόσμε€😀".repeat(2000),
  Buffer.alloc(0),
  Buffer.alloc(200_000),
  randomBytes(5000),
  Buffer.concat([randomBytes(20_000), Buffer.alloc(70_000, "x")]),
  text, // whoever kept a window would have it in there
];

const fail = (what) => {
  console.error(what);
  process.exit(1);
};
setTimeout(() => fail("timed out"), 30_000).unref();

const ws = new WebSocket(url, { perMessageDeflate: JSON.parse(options) });
ws.on("error", (err) => fail(err.stack));
ws.on("open", () => {
  assert.equal(ws.extensions, extension); // its parameters ws has checked
  for (const m of messages) ws.send(m);
  for (let i = 0; i < 10; i++) {
    ws.send(text.slice(i * 1000, (i + 1) * 1000), { fin: i == 9 });
    ws.ping("between fragments");
  }
});

let received = 0;
let pongs = 0;
ws.on("pong", () => pongs++);
ws.on("message", (data, binary) => {
  const want = received < messages.length ? messages[received] : text.slice(0, 10_000);
  assert.equal(binary, typeof want !== "string");
  assert.ok(data.equals(Buffer.from(want)), "message " + received + " has " + data.length + " bytes");
  if (++received > messages.length) ws.close(1000);
});
ws.on("close", (code) => {
  assert.deepEqual([code, received, pongs > 0], [1000, messages.length + 1, true]);
});
