// All checks of checks.mjs with the official client in Node.js. Usage: node interop.mjs URL MODE [NAME...]
// MODE is websocket, polling or default, or one of these with -msgpack behind it. With names, only those checks are made.
// It prints one line of JSON for each check, {"name", "ok", "detail", "ms"}, and fails if any failed.
import { io } from "socket.io-client";
import msgpack from "socket.io-msgpack-parser";
import { run } from "./checks.mjs";

const [url, mode, ...only] = process.argv.slice(2);
let failed = 0;
await run({ io, url, mode, parser: mode.endsWith("-msgpack") ? msgpack : undefined, only }, (result) => {
  if (!result.ok) failed++;
  console.log(JSON.stringify(result));
});
process.exit(failed ? 1 : 0);
