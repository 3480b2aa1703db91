// Writes golden.json: packets as socket.io-msgpack-parser encodes them. Run it with `node golden.mjs`, after `npm ci` in test/node.
import { createRequire } from "node:module";
import { writeFileSync } from "node:fs";

const require = createRequire(new URL("../../../test/node/package.json", import.meta.url));
const { Encoder, Decoder } = require("socket.io-msgpack-parser");
const browserEncode = require("notepack.io/browser/encode.js");
const { version } = require("socket.io-msgpack-parser/package.json");

const hex = (bytes) => Buffer.from(bytes).toString("hex");

// json is what the default parser would send of data: the text, and what its placeholders stand for.
function json(data) {
  const attachments = [];
  const replace = (value) => {
    if (value instanceof ArrayBuffer || Buffer.isBuffer(value)) {
      attachments.push(hex(value));
      return { _placeholder: true, num: attachments.length - 1 };
    }
    if (Array.isArray(value)) return value.map(replace);
    if (value === null || typeof value !== "object" || typeof value.toJSON === "function") return value;
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, replace(v)]));
  };
  const text = JSON.stringify(replace(data));
  return { json: text, attachments };
}

const golden = [];

// add encodes a packet. How says which decoders and encoders must agree:
//   "both"    belfry decodes it, and writes the same bytes
//   "decode"  belfry decodes it, and would write it in another way
//   "refuse"  the official decoder refuses it, so that belfry has to
function add(name, how, packet, { browser = false } = {}) {
  const bytes = browser ? new Uint8Array(browserEncode(packet)) : new Encoder().encode(packet)[0];
  const entry = { name, how, hex: hex(bytes) };
  let refused;
  try {
    new Decoder().add(Buffer.from(bytes));
  } catch (e) {
    refused = e.message;
  }
  if (!!refused !== (how === "refuse")) throw new Error(`${name}: ${how}, but the official decoder says ${refused}`);
  if (refused) {
    entry.reason = refused;
  } else {
    const { type, nsp, id, data } = packet;
    Object.assign(entry, { type, nsp, id }, data === undefined ? {} : json(data));
  }
  golden.push(entry);
}

const event = (...data) => ({ type: 2, nsp: "/", data });
const times = (n, value) => Array.from({ length: n }, () => value);

add("connect", "both", { type: 0, nsp: "/" });
add("connect as a client sends it", "decode", { type: 0, data: undefined, nsp: "/" });
add("connect with credentials", "both", { type: 0, nsp: "/admin", data: { token: "123", n: [1, { a: null }] } });
add("connect granted", "both", { type: 0, nsp: "/", data: { sid: "wZX3oN0bSVIhsaknAAAI", pid: "x" } });
add("disconnect", "both", { type: 1, nsp: "/admin" });
add("connect error", "both", { type: 4, nsp: "/", data: { message: "Not authorized", data: { code: 1 } } });
add("connect error as a string", "both", { type: 4, nsp: "/", data: "Not authorized" });

add("event", "both", event("message", { room: "lobby", text: "hello, world", at: 1700000000000 }));
add("event as a client sends it", "decode", { type: 2, data: ["message", 1], options: { compress: true }, id: 7, nsp: "/admin" });
add("event as a server sends it", "decode", { type: 2, data: ["message", 1], nsp: "/" });
add("event with an id", "both", { ...event("ask"), id: 0 });
add("event with the highest id", "both", { ...event("ask", 1), id: 999999999999999 });
add("event without an id, said so", "decode", { ...event("ask"), id: undefined });
add("event whose name is a number", "both", event(12, "x"));
add("ack", "both", { type: 3, nsp: "/", data: [], id: 3 });
add("ack as a client sends it", "decode", { type: 3, id: 456, data: ["ok", { a: 1 }], options: { compress: true }, nsp: "/admin" });

add("scalars", "both", event("x", null, true, false, "", 0));
for (const n of [127, 128, 255, 256, 65535, 65536, 4294967295, 4294967296, Number.MAX_SAFE_INTEGER, 1e17]) add(`integer ${n}`, "both", event("x", n));
for (const n of [-1, -32, -33, -128, -129, -32768, -32769, -2147483648, -2147483649, Number.MIN_SAFE_INTEGER, -1e17]) add(`integer ${n}`, "both", event("x", n));
for (const n of [0.5, -0.1, 1e-6, 1e-7, -1.5e-300, 5e-324, 123456.789]) add(`float ${n}`, "both", event("x", n));
add("minus zero", "both", event("x", -0));
add("numbers that are not finite", "decode", event("x", NaN, Infinity, -Infinity, { a: NaN }));
for (const n of [31, 32, 255, 256]) add(`string of ${n}`, "both", event("x", "s".repeat(n)));
add("string of all kinds", "both", event("x", "\u0000\b\t\n\f\r\u001f\"\\/\u007f é \u2028 \ufffd 😀"));
for (const n of [0, 1, 15, 16, 300]) add(`array of ${n}`, "both", event("x", times(n, 1)));
for (const n of [0, 1, 15, 16, 300]) add(`object of ${n}`, "both", event("x", Object.fromEntries(times(n, 0).map((_, i) => ["k" + i, i]))));
add("nested", "both", event("x", [[], {}, [{ a: [{}] }]], { a: { b: [[[1]]] } }));
add("keys to escape", "both", event("x", { "": 1, 'a"\n': 2, 7: 3 }));
add("placeholder that is none", "both", event("x", { _placeholder: true, num: 0 }));

for (const n of [0, 1, 8, 255, 256]) add(`buffer of ${n}`, "both", event("x", Buffer.alloc(n, 7)));
add("buffers", "both", { ...event("x", Buffer.from([1]), { a: [Buffer.from([2, 3])] }, Buffer.alloc(0)), id: 1 });
for (const n of [0, 1, 4, 8, 16, 256]) add(`ArrayBuffer of ${n} from Node.js`, "decode", event("x", new Uint8Array(n).fill(9).buffer));
for (const n of [0, 8, 256]) add(`ArrayBuffer of ${n} from a browser`, "both", event("x", new Uint8Array(n).fill(9).buffer), { browser: true });
add("ack with a buffer", "both", { type: 3, nsp: "/", data: [Buffer.from("ok")], id: 1 });
add("from a browser", "both", event("message", { a: "é 😀", b: [1.5, -3, null] }), { browser: true });

for (const ms of [0, 1, -1, 1769860800123, -62167219200000, -62167219200001, 253402300799999, 253402300800000, 8640000000000000, -8640000000000000]) {
  add(`date ${ms}`, "decode", event("x", new Date(ms), { at: new Date(ms) }));
}
add("undefined", "decode", event("x", undefined, [undefined], { a: undefined, b: 1, c: undefined }, { a: undefined }));
add("toJSON", "decode", event("x", { toJSON: () => ({ a: 1 }) }));

add("no type", "refuse", { nsp: "/", data: ["x"] });
add("type that is no number", "refuse", { type: "2", nsp: "/", data: ["x"] });
add("type with a fraction", "refuse", { type: 2.5, nsp: "/", data: ["x"] });
add("negative type", "refuse", { type: -1, nsp: "/", data: ["x"] });
add("type 5", "refuse", { type: 5, nsp: "/", data: ["x"] });
add("no namespace", "refuse", { type: 2, data: ["x"] });
add("namespace that is no string", "refuse", { type: 2, nsp: 1, data: ["x"] });
add("connect with null", "refuse", { type: 0, nsp: "/", data: null });
add("connect with an array", "refuse", { type: 0, nsp: "/", data: [] });
add("connect with a string", "refuse", { type: 0, nsp: "/", data: "x" });
add("disconnect with data", "refuse", { type: 1, nsp: "/", data: {} });
add("disconnect with null", "refuse", { type: 1, nsp: "/", data: null });
add("event without data", "refuse", { type: 2, nsp: "/" });
add("event with undefined", "refuse", { type: 2, nsp: "/", data: undefined });
add("event with an object", "refuse", { type: 2, nsp: "/", data: { 0: "x" } });
add("event with a buffer for data", "refuse", { type: 2, nsp: "/", data: Buffer.from("x") });
add("ack without data", "refuse", { type: 3, nsp: "/", id: 1 });
add("connect error without data", "refuse", { type: 4, nsp: "/" });
add("connect error with a number", "refuse", { type: 4, nsp: "/", data: 1 });
add("id that is a string", "refuse", { ...event("x"), id: "1" });
add("id with a fraction", "refuse", { ...event("x"), id: 1.5 });
add("id that is null", "refuse", { ...event("x"), id: null });

const head = JSON.stringify(`socket.io-msgpack-parser ${version}`);
const lines = golden.map((entry) => "    " + JSON.stringify(entry));
writeFileSync(new URL("golden.json", import.meta.url), `{\n  "by": ${head},\n  "packets": [\n${lines.join(",\n")}\n  ]\n}\n`);
console.log(`${golden.length} packets`);
