// The application of recoverychecks.mjs on the reference server, npm's socket.io. recovery_app_test.go is the same on belfry: change both.
// Usage: node recoveryreference.mjs. It prints one line of JSON, {"json": URL, "msgpack": URL, "off": URL}, and ends as reference.mjs does.
import { createServer } from "node:http";
import { Server } from "socket.io";
import msgpack from "socket.io-msgpack-parser";

function serve(parser, connectionStateRecovery) {
  const http = createServer();
  const io = new Server(http, { parser, connectionStateRecovery, pingInterval: 300, pingTimeout: 120_000, upgradeTimeout: 120_000, cors: { origin: "*" } });
  const revoked = new Set();
  const counts = new Map();

  for (const name of ["/", "/other"]) {
    const nsp = io.of(name);
    nsp.use((socket, next) => {
      const { slow, token } = socket.handshake.auth;
      setTimeout(() => next(revoked.has(token) ? new Error("revoked") : undefined), slow ? 100 : 0);
    });
    nsp.on("connection", (socket) => {
      socket.on("join", async (rooms, ack) => (await socket.join(rooms), ack()));
      socket.on("set data", (data, ack) => ((socket.data = data), ack()));
      socket.on("whoami", (ack) => {
        const { id, recovered, handshake } = socket;
        ack({ id, recovered, rooms: [...socket.rooms].sort(), data: Object.keys(socket.data).length ? socket.data : null, auth: handshake.auth });
      });
      socket.on("ask me", async (n, ack) => ack(await socket.timeout(60_000).emitWithAck("question", n, "a string last")));
      socket.on("count", (key, n) => counts.set(key, [...(counts.get(key) ?? []), n]));
      socket.on("counted", (key, ack) => ack(counts.get(key) ?? []));
      socket.on("disconnect me", () => socket.disconnect());
    });
  }

  const main = io.of("/");
  io.of("/control").on("connection", (socket) => {
    socket.on("emit", ({ ns, to, except, volatile, event }, ...args) => {
      const ack = args.pop();
      let out = io.of(ns).to(to).except(except);
      if (volatile) out = out.volatile;
      out.emit(event, ...args);
      ack();
    });
    socket.on("join", (from, rooms, ack) => (main.in(from).socketsJoin(rooms), ack()));
    socket.on("leave", (from, rooms, ack) => (main.in(from).socketsLeave(rooms), ack()));
    socket.on("kick", (from, ack) => (main.in(from).disconnectSockets(), ack()));
    socket.on("sockets", async (from, ack) => {
      const found = await Promise.all([main, io.of("/other")].map((nsp) => nsp.in(from).fetchSockets()));
      ack(found.flat().map((s) => s.id));
    });
    socket.on("revoke", (token, on, ack) => ((on ? revoked.add(token) : revoked.delete(token)), ack()));
  });
  return new Promise((resolve) => http.listen(0, "127.0.0.1", () => resolve("http://127.0.0.1:" + http.address().port)));
}

const on = { maxDisconnectionDuration: 120_000, skipMiddlewares: false };
console.log(JSON.stringify({ json: await serve(undefined, on), msgpack: await serve(msgpack, on), off: await serve() }));
process.on("SIGINT", () => process.exit(0)).stdin.on("end", () => process.exit(0)).resume();
