// Official clients whose servers drain, one after the other. Usage: node drain.mjs N URL URL...
// Each connects to the first URL, and after each disconnection to the next, or to the last again. Meanwhile it emits events, and waits for the
// answers. A line for each event goes to stdout: "up I SID URL" when client I is connected there, with the session SID of Engine.IO,
// "down I SID REASON", and "error I - MESSAGE". It ends when stdin does.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { io } from "socket.io-client";

const [count, ...urls] = process.argv.slice(2);
const ways = [{ transports: ["websocket"] }, { transports: ["polling"] }, {}];
const say = (...words) => process.stdout.write(words.join(" ") + "\n");

const sockets = Array.from({ length: Number(count) }, (_, i) => {
  let at = 0, sid;
  const socket = io(urls[0], { forceNew: true, ...ways[i % ways.length] });
  socket.on("connect", async () => {
    const mine = (sid = socket.io.engine.id);
    for (let n = 0; socket.connected && sid === mine; n++) {
      try {
        assert.deepEqual(await socket.timeout(60_000).emitWithAck("echo", "here"), ["here"]);
      } catch (error) {
        if (socket.connected && sid === mine) throw error;
        break; // it is disconnected, and will be back
      }
      if (n === 0) say("up", i, sid, urls[at]);
      await sleep(100);
    }
  });
  socket.on("disconnect", (reason) => {
    say("down", i, sid, reason);
    at = Math.min(at + 1, urls.length - 1);
    socket.io.uri = urls[at];
  });
  socket.on("connect_error", (error) => say("error", i, "-", error.message));
  return socket;
});

process.stdin.on("end", () => {
  for (const socket of sockets) socket.close();
  process.exit(0);
});
process.stdin.resume();
