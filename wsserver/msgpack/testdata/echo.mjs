// Reads encoded packets from standard input, a line of hexadecimal digits each, decodes them with socket.io-msgpack-parser, and answers
// each with what that makes of it: a line with the packet encoded again as Node.js does, and as a browser does.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(new URL("../../../test/node/package.json", import.meta.url));
const { Encoder, Decoder } = require("socket.io-msgpack-parser");
const browser = {
  encode: require("notepack.io/browser/encode.js"),
  decode: require("notepack.io/browser/decode.js"),
};

const hex = (bytes) => Buffer.from(bytes).toString("hex");

for await (const line of createInterface({ input: process.stdin })) {
  const message = Buffer.from(line, "hex");
  const decoder = new Decoder();
  let packet;
  decoder.on("decoded", (decoded) => (packet = decoded));
  decoder.add(message); // throws what the parser does not accept
  const inBrowser = browser.decode(new Uint8Array(message).buffer);
  console.log(hex(new Encoder().encode(packet)[0]), hex(browser.encode(inBrowser)));
}
