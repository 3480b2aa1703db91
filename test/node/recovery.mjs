// All checks of recoverychecks.mjs with the official client in Node.js. Usage: node recovery.mjs PLAN MODE [NAME...]
// PLAN is JSON, as run of recoverychecks.mjs takes it. The rest, and the output, are as with interop.mjs.
import { io } from "socket.io-client";
import msgpack from "socket.io-msgpack-parser";
import { run } from "./recoverychecks.mjs";

const [plan, mode, ...only] = process.argv.slice(2);
let failed = 0;
await run({ io, plan: JSON.parse(plan), mode, parser: mode.endsWith("-msgpack") ? msgpack : undefined, only }, (result) => {
  if (!result.ok) failed++;
  console.log(JSON.stringify(result));
});
process.exitCode = failed ? 1 : 0;
setTimeout(() => process.exit(), 2000).unref(); // what clients have still to say is said
