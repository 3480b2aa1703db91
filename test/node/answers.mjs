// Official clients on several nodes, which answer what they are asked, for TestClientsAnswer. Usage: node answers.mjs json|msgpack URL...
// It prints "ready", and when all clients are disconnected, a line of JSON for each: {"name", "heard", "reason"}.
import { io } from "socket.io-client";
import msgpack from "socket.io-msgpack-parser";

const [parser, ...urls] = process.argv.slice(2);
const clients = [];
for (const [i, url] of urls.entries()) {
  for (const transports of [["websocket"], ["polling"], ["polling", "websocket"]]) {
    const name = `${i} ${transports.join(" ")}`;
    const options = { transports, auth: { name }, reconnection: false, forceNew: true };
    if (parser === "msgpack") options.parser = msgpack;
    const client = { name, socket: io(url, options), heard: [] };
    client.socket.on("question", (text, bytes, answer) => answer(name, text.length, Buffer.concat([bytes, Buffer.from([i])])));
    client.socket.on("who are you", (answer) => name.endsWith("polling") || answer(name));
    client.socket.on("last words", (n) => client.heard.push(n));
    client.ended = new Promise((resolve) => client.socket.on("disconnect", resolve));
    clients.push(client);
  }
}
await Promise.all(clients.map(({ socket }) => new Promise((resolve, reject) => {
  socket.on("connect", resolve);
  socket.on("connect_error", reject);
})));
console.log("ready");
for (const { name, ended, heard } of clients) {
  const reason = await ended;
  console.log(JSON.stringify({ name, heard, reason }));
}
process.exit(0);
