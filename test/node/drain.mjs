// Official clients whose servers drain, one after the other. Usage: node drain.mjs N URL URL...
// Each connects to the first URL, and after each disconnection to the next. A line for each event goes to stdout: "up I URL" when client I is
// connected there, and "down I REASON". It ends when stdin does.
import assert from "node:assert/strict";
import { io } from "socket.io-client";

const [count, ...urls] = process.argv.slice(2);
const ways = [{ transports: ["websocket"] }, { transports: ["polling"] }, {}];
const say = (...words) => process.stdout.write(words.join(" ") + "\n");

const sockets = Array.from({ length: Number(count) }, (_, i) => {
  let at = 0;
  const socket = io(urls[0], { forceNew: true, ...ways[i % ways.length] });
  socket.on("connect", async () => {
    assert.deepEqual(await socket.timeout(60_000).emitWithAck("echo", "here"), ["here"]);
    say("up", i, urls[at]);
  });
  socket.on("disconnect", (reason) => {
    say("down", i, reason);
    socket.io.uri = urls[++at];
  });
  socket.on("connect_error", (error) => say("error", i, error.message));
  return socket;
});

process.stdin.on("end", () => {
  for (const socket of sockets) socket.close();
  process.exit(0);
});
process.stdin.resume();
