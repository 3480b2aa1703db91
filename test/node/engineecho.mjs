// An Engine.IO echo on the reference, npm's engine.io, with the flags of wsserver/internal/engineecho.
// It prints its address when it listens, and ends with its standard input or by a signal.
import { createServer } from "node:http";
import { parseArgs } from "node:util";
import { Server } from "engine.io";

const { values } = parseArgs({
  options: Object.fromEntries(
    Object.entries({
      addr: "127.0.0.1:3000",
      path: "/engine.io/",
      "ping-interval": "300ms",
      "ping-timeout": "200ms",
      "upgrade-timeout": "10s",
      "max-payload": "1000000",
      cors: "*",
      "connect-timeout": "1s", // Socket.IO's: nothing here
    }).map(([name, value]) => [name, { type: "string", default: value }]),
  ),
  // Go's flags have one dash.
  args: process.argv.slice(2).map((a) => a.replace(/^-(?=[a-z])/, "--")),
});

const milliseconds = (text) => {
  const [, n, unit] = /^([\d.]+)(ms|s|m)$/.exec(text);
  return n * { ms: 1, s: 1000, m: 60_000 }[unit];
};

const engine = new Server({
  pingInterval: milliseconds(values["ping-interval"]),
  pingTimeout: milliseconds(values["ping-timeout"]),
  upgradeTimeout: milliseconds(values["upgrade-timeout"]),
  maxHttpBufferSize: Number(values["max-payload"]),
  cors: values.cors && { origin: values.cors },
});
engine.on("connection", (socket) => socket.on("message", (message) => socket.send(message)));
const http = createServer();
engine.attach(http, { path: values.path });

function end() {
  engine.close();
  process.exit(0);
}
process.on("SIGINT", end).on("SIGTERM", end);
process.stdin.on("end", end).resume();

const [, host, port] = /^(.*):(\d+)$/.exec(values.addr);
http.listen(Number(port), host || undefined, () => console.log(`listening on ${http.address().address}:${http.address().port}`));
