// An echo on the reference's engine.io. It prints "listening on ADDRESS".
import { createRequire } from "node:module";
import { createServer } from "node:http";

const { Server } = createRequire(new URL("../../node/", import.meta.url))("engine.io");

const http = createServer((req, res) => res.writeHead(404).end());
const engine = new Server({ ...JSON.parse(process.argv[2]), cors: { origin: "http://pages.example" } });
engine.attach(http, { path: "/engine.io/" });
engine.on("connection", (socket) => socket.on("message", (data) => socket.send(data)));
http.listen(0, "127.0.0.1", () => console.log(`listening on 127.0.0.1:${http.address().port}`));
