// The application on the reference's socket.io. It prints "listening on ADDRESS".
import { createRequire } from "node:module";
import { createServer } from "node:http";

const { Server } = createRequire(new URL("../../node/", import.meta.url))("socket.io");

const http = createServer((req, res) => res.writeHead(404).end());
const io = new Server(http, { ...JSON.parse(process.argv[2]), serveClient: false });
io.on("connection", (socket) => {
  socket.emit("auth", socket.handshake.auth);
  socket.on("message", (...args) => socket.emit("message-back", ...args));
  socket.on("message-with-ack", (...args) => {
    const ack = args.pop();
    if (typeof ack === "function") ack(...args);
  });
});
io.of("/custom").on("connection", (socket) => socket.emit("auth", socket.handshake.auth));
http.listen(0, "127.0.0.1", () => console.log(`listening on 127.0.0.1:${http.address().port}`));
