// A server for bench's load test: npm's socket.io. Usage: node loaded.mjs. It prints one line of JSON,
// {"address": "host:port"}, and ends with its standard input. url_test.go of bench has the same on belfry.
import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer();
const io = new Server(http);
function app(socket) {
  socket.on("join", async (room, ack) => {
    await socket.join(room);
    ack("");
  });
  socket.on("publish", (room, data) => socket.nsp.to(room).emit("message", data));
  socket.on("say", (room, data) => socket.to(room).emit("said", { by: socket.id, text: data }));
  socket.on("echo", (data, ack) => ack(data));
}
io.on("connection", app);
io.of("/closed").use((socket, next) => {
  next(socket.handshake.auth.token === "secret" ? undefined : new Error("no token"));
});
io.of("/closed").on("connection", app);

http.listen(0, "127.0.0.1", () => {
  console.log(JSON.stringify({ address: `127.0.0.1:${http.address().port}` }));
});
process.stdin.on("end", () => process.exit(0)).resume();
