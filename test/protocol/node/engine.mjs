// An echo on the reference's engine.io. Usage: node engine.mjs PORT
import { createRequire } from "node:module";
import { createServer } from "node:http";

const { Server } = createRequire(new URL("../../node/", import.meta.url))("engine.io");

const http = createServer((req, res) => res.writeHead(404).end());
const engine = new Server({ pingInterval: 300, pingTimeout: 200, upgradeTimeout: 3000, maxHttpBufferSize: 1_000_000, cors: { origin: "http://pages.example" } });
engine.attach(http, { path: "/engine.io/" });
engine.on("connection", (socket) => socket.on("message", (data) => socket.send(data)));
http.listen(Number(process.argv[2]), "127.0.0.1");
