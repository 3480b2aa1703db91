// The official client against protocolapp. Usage: node protocolapp.mjs URL MODE. Output and exit status are those of interop.mjs.
import assert from "node:assert/strict";
import { io } from "socket.io-client";

const [url, mode] = process.argv.slice(2);
const transports = { websocket: ["websocket"], polling: ["polling"], default: ["polling", "websocket"] }[mode];
const next = (socket, event) => new Promise((resolve) => socket.once(event, (...args) => resolve(args)));

let socket;

async function talk() {
  socket = io(url, { transports, reconnection: false, timeout: 240_000, auth: { token: "123" } });
  assert.deepEqual(await next(socket, "auth"), [{ token: "123" }]);
  const custom = socket.io.socket("/custom");
  assert.deepEqual(await next(custom, "auth"), [{}]);
  const args = [1, "two", { three: [null, Buffer.from([3])] }, Buffer.alloc(0)];
  socket.emit("message", ...args);
  assert.deepEqual(await next(socket, "message-back"), args);
  assert.deepEqual(await new Promise((resolve) => socket.emit("message-with-ack", ...args, (...answer) => resolve(answer))), args);
  const nowhere = socket.io.socket("/random");
  assert.equal((await next(nowhere, "connect_error"))[0].message, "Invalid namespace");
}

const start = Date.now();
const late = new Promise((_, reject) => setTimeout(() => reject(new Error("timed out")), 240_000).unref());
const error = await Promise.race([talk(), late]).then(() => null, (e) => e);
console.log(JSON.stringify({ name: "talk", ok: !error, detail: error?.message ?? "", ms: Date.now() - start }));
socket.io.engine.close();
process.exitCode = error ? 1 : 0;
setTimeout(() => process.exit(), 2000).unref(); // what the client has still to say is said
