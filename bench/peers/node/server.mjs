// A Socket.IO server with the adapter that it is asked for: a side of belfry's benchmark (see ../README.md).
//
//	node server.mjs --adapter memory|redis|sharded|streams|nats [--broker URL] [--deflate] [--msgpack] [--tls DIR]
//
// DIR has cert.pem and key.pem.
// It prints its address when it serves, and ends when its standard input does, or on SIGTERM.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createSecure } from "node:https";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createAdapter as createNATS } from "@mickl/socket.io-nats-adapter";
import { createAdapter as createRedis, createShardedAdapter } from "@socket.io/redis-adapter";
import { createAdapter as createStreams } from "@socket.io/redis-streams-adapter";
import { connect } from "nats";
import { createClient } from "redis";
import { Server } from "socket.io";
import parser from "socket.io-msgpack-parser";

// adapters begin with the address of a broker. Each gives what socket.io takes as its adapter, and a promise
// of the broker's answer to what the adapter has asked until then: its first subscriptions hold after it.
const adapters = {
	memory: async () => ({}),
	redis: pubSub(createRedis),
	sharded: pubSub(createShardedAdapter),
	streams: async (url) => ({ adapter: createStreams(await redis(url)) }),
	nats: async (url) => {
		const connection = await connect({ servers: url });
		connection.closed().then((err) => fail(err ?? new Error("the connection to NATS was closed")));
		return { adapter: createNATS(connection), subscribed: () => connection.flush() };
	},
};

// pubSub is an adapter that has a connection to publish on, and one for what it subscribes to.
function pubSub(create) {
	return async (url) => {
		const [pub, sub] = await Promise.all([redis(url), redis(url)]);
		return { adapter: create(pub, sub), subscribed: () => sub.ping() };
	};
}

async function redis(url) {
	const client = createClient({ url });
	client.on("error", (err) => console.error("redis:", err.message)); // it connects again by itself
	await client.connect();
	return client;
}

function fail(err) {
	console.error("server.mjs:", err.message);
	process.exit(1);
}

async function serve() {
	const { values } = parseArgs({
		options: {
			adapter: { type: "string", default: "memory" }, broker: { type: "string" },
			deflate: { type: "boolean" }, msgpack: { type: "boolean" }, tls: { type: "string" },
		},
	});
	if (!Object.hasOwn(adapters, values.adapter)) {
		throw new Error(`no adapter "${values.adapter}": want one of ${Object.keys(adapters).join(", ")}`);
	}
	if ((values.adapter === "memory") === (values.broker !== undefined)) {
		throw new Error("every adapter but memory needs --broker, the URL of its broker");
	}
	const { adapter, subscribed } = await adapters[values.adapter](values.broker);
	const file = (name) => readFileSync(join(values.tls, name));
	const http = values.tls ? createSecure({ cert: file("cert.pem"), key: file("key.pem") }) : createServer();
	const io = new Server(http, {
		cors: { origin: "*" },
		...(adapter && { adapter }), ...(values.deflate && { perMessageDeflate: true }), ...(values.msgpack && { parser }),
	});
	io.engine.on("connection", (raw) => (raw.request = null)); // the page "Memory usage" says so
	io.on("connection", (socket) => {
		socket.on("join", async (...args) => {
			const ack = args.pop();
			try {
				await socket.join(args);
				ack("");
			} catch (err) {
				ack(err.message);
			}
		});
		socket.on("publish", (room, data) => io.to(room).emit("message", data));
		socket.on("echo", (data, ack) => ack(data));
	});
	await subscribed?.();
	http.on("error", fail);
	http.listen(0, "127.0.0.1", () => {
		const { address, port } = http.address();
		console.log(JSON.stringify({ address: `${address}:${port}` }));
	});
}

process.stdin.resume().on("end", () => process.exit(0));
process.on("SIGTERM", () => process.exit(0));
serve().catch(fail);
