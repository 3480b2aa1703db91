// The application of checks.mjs on the reference server, npm's socket.io. interop_app_test.go is the same on belfry: change both.
// Usage: node reference.mjs. It prints one line of JSON, {"json": URL, "msgpack": URL}, one server for each parser, and ends with its
// standard input or by a signal.
import { createServer } from "node:http";
import { Server } from "socket.io";
import msgpack from "socket.io-msgpack-parser";

const oddNames = ["", "message", "1", "__proto__", "constructor", "toString", 'a "quoted" \\ name', "\u001e ünïcode \u2028 🎉"];

function serve(parser) {
  const http = createServer();
  const io = new Server(http, { parser, pingInterval: 300, pingTimeout: 120_000, upgradeTimeout: 120_000, maxHttpBufferSize: 1e6, cors: { origin: true, credentials: true } });

  // What every namespace has.
  function common(nsp) {
    nsp.on("connection", (socket) => {
      socket.on("whoami", (ack) => {
        const { EIO, transport, t, sid, b64, ...query } = socket.handshake.query;
        ack({ id: socket.id, namespace: socket.nsp.name, auth: socket.handshake.auth, query });
      });
      socket.on("echo", (...args) => socket.emit("echo", ...args));
      socket.on("ack", (...args) => args.pop()(...args));
      socket.on("shout", (text, ack) => {
        socket.nsp.emit("shouted", text);
        ack();
      });
      socket.on("bye", (n) => {
        for (let i = 0; i < n; i++) socket.emit("last words", i, Buffer.from([i]));
        socket.disconnect();
      });
    });
  }

  const main = io.of("/");
  const counts = new Map();
  main.on("connection", (socket) => {
    socket.emit("welcome", socket.id);
    let watchers;
    socket.on("disconnecting", (reason) => {
      const rooms = [...socket.rooms].sort();
      socket.on("disconnect", () => {
        if (watchers) main.to(watchers).emit("gone", socket.id, reason, rooms, [...socket.rooms]);
      });
    });
    socket.on("watch", (room, ack) => {
      watchers = room;
      ack();
    });
    for (const name of oddNames) socket.on(name, (...args) => args.pop()(name, ...args));
    socket.on("never", () => {});
    socket.on("twice", (ack) => {
      ack("first");
      ack("second");
    });
    socket.on("ask", (ms, ...args) => {
      const ack = args.pop();
      socket.timeout(ms).emit("question", ...args, (err, ...answers) => (err ? ack("timeout") : ack("answered", ...answers)));
    });
    socket.on("count", (key, n) => counts.set(key, [...(counts.get(key) ?? []), n]));
    socket.on("counted", (key, ack) => ack(counts.get(key) ?? []));
    socket.on("burst", (n) => {
      for (let i = 0; i < n; i++) socket.emit("tick", i);
    });
    socket.on("mixed burst", (n) => {
      for (let i = 0; i < n; i++) socket.emit("tick", i, ...(i % 3 === 1 ? [Buffer.from([i]), { deep: Buffer.from([i, i]) }] : []));
    });
    socket.on("volatile burst", (n) => {
      for (let i = 0; i < n; i++) socket.volatile.emit("tick", i);
      socket.emit("end");
    });
    socket.on("volatile", (i) => socket.volatile.emit("tick", i));
    socket.on("give", (n, binary, ack) => ack(binary ? Buffer.alloc(n, 7) : "é".repeat(n / 2)));
    socket.on("join", async (rooms, ack) => {
      await socket.join(rooms);
      ack([...socket.rooms].sort());
    });
    socket.on("leave", async (room, ack) => {
      await socket.leave(room);
      ack([...socket.rooms].sort());
    });
    socket.on("say", (to, except, text, ack) => {
      socket.to(to).except(except).emit("said", socket.id, text);
      ack();
    });
    socket.on("say to all", (to, except, text, ack) => {
      main.to(to).except(except).emit("said", socket.id, text);
      ack();
    });
    socket.on("close", () => {
      socket.emit("last words", 0);
      socket.disconnect(true);
    });
    socket.on("close transport", () => {
      socket.emit("last words", 0);
      socket.conn.close();
    });
  });
  common(main);
  for (let i = 1; i <= 20; i++) common(io.of("/ns-" + i));
  common(io.of("/ünï/cøde ✓"));
  common(io.of(/^\/dynamic-\d+$/));

  const guarded = io.of("/guarded");
  guarded.use((socket, next) => {
    if (socket.handshake.auth.token === "secret") return next();
    const err = new Error("not authorized");
    err.data = { code: 401, hint: ["ask", "nicely", null] };
    next(err);
  });
  guarded.use((socket, next) => next(socket.handshake.auth.name ? undefined : new Error("who are you?")));
  common(guarded);

  const slow = io.of("/slow");
  slow.use((socket, next) => setTimeout(next, 100));
  common(slow);

  return new Promise((resolve) => http.listen(0, "127.0.0.1", () => resolve("http://127.0.0.1:" + http.address().port)));
}

console.log(JSON.stringify({ json: await serve(), msgpack: await serve(msgpack) }));
process.on("SIGINT", () => process.exit(0)).stdin.on("end", () => process.exit(0)).resume();
