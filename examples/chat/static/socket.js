// A Socket speaks Socket.IO 5 over Engine.IO 4: the main namespace, WebSocket alone, text alone.
// Once told to connect it goes on for good: when it loses its server it tries the next one, and
// says there who it was and what it had last. Its events are "connect", "disconnect" and the
// server's own.
export class Socket {
	id = ""; // given by the server; empty while not connected
	recovered = false; // the server goes on where the last connection broke, with the same id
	#pid; // what the server gives for that, and the place of the last event
	#offset;
	#hosts; // host:port of each server
	#turn = 0; // the one of them to connect to
	#ws = null;
	#handlers = new Map(); // by event
	#requests = new Map(); // by the id of the acknowledgement: {resolve, reject, timer}
	#nextAck = 0;
	#patience = 20_000; // milliseconds to wait for the handshake, and then for the server's next ping
	#watch = 0; // the timer that does so
	#failures = 0; // in a row

	constructor(host) {
		this.#hosts = [host];
	}

	// meet tells the socket of all servers, and which of them it is connected to.
	meet(hosts, host) {
		if (!hosts.includes(host)) return;
		this.#hosts = hosts;
		this.#turn = hosts.indexOf(host);
	}

	on(event, handler) {
		this.#handlers.set(event, handler);
	}

	connect() {
		const scheme = location.protocol.replace("http", "ws");
		const host = this.#hosts[this.#turn % this.#hosts.length];
		this.#ws = new WebSocket(`${scheme}//${host}/socket.io/?EIO=4&transport=websocket`);
		this.#ws.onmessage = (message) => this.#receive(message.data);
		this.#ws.onclose = () => this.#lost();
		this.#expectPing();
	}

	// leave tells the server that nobody comes back.
	leave() {
		if (this.id) this.#ws.send("41");
	}

	// request sends an event and resolves with the first argument of its acknowledgement.
	request(event, ...args) {
		return new Promise((resolve, reject) => {
			if (!this.id) return reject(new Error("There is no connection."));
			const ack = this.#nextAck++;
			const late = new Error("The server does not answer.");
			const timer = setTimeout(() => this.#settle(ack, "reject", late), 10_000);
			this.#requests.set(ack, { resolve, reject, timer });
			this.#ws.send("42" + ack + JSON.stringify([event, ...args]));
		});
	}

	#receive(packet) {
		const [, type, ack, json] = /^(4?.)(\d*)(.*)$/s.exec(packet) ?? [];
		switch (type) {
			case "0": { // Engine.IO: open
				const { pingInterval, pingTimeout } = JSON.parse(json);
				this.#patience = pingInterval + pingTimeout;
				this.#expectPing();
				return this.#ws.send("40" + (this.#pid ? JSON.stringify({ pid: this.#pid, offset: this.#offset }) : ""));
			}
			case "2": // Engine.IO: ping
				this.#expectPing();
				return this.#ws.send("3");
			case "1": // Engine.IO: close
			case "41": // Socket.IO: disconnect
			case "44": // Socket.IO: connect error
				return this.#ws.close();
			case "40": { // Socket.IO: connect
				const { sid, pid } = JSON.parse(json);
				this.recovered = pid !== undefined && pid === this.#pid;
				[this.id, this.#pid, this.#failures] = [sid, pid, 0];
				return this.#call("connect");
			}
			case "42": { // Socket.IO: event
				const args = JSON.parse(json);
				if (this.#pid && typeof args.at(-1) === "string") this.#offset = args.at(-1);
				return this.#call(...args);
			}
			case "43": // Socket.IO: acknowledgement
				return this.#settle(Number(ack), "resolve", JSON.parse(json)[0]);
		}
	}

	#call(event, ...args) {
		this.#handlers.get(event)?.(...args);
	}

	#settle(ack, how, value) {
		const request = this.#requests.get(ack);
		if (!request) return;
		this.#requests.delete(ack);
		clearTimeout(request.timer);
		request[how](value);
	}

	#expectPing() {
		clearTimeout(this.#watch);
		this.#watch = setTimeout(() => this.#lost(), this.#patience);
	}

	// #lost tries the next server after a pause, which doubles up to ten seconds. It is longer or
	// shorter by chance, so that not all clients come at once.
	#lost() {
		clearTimeout(this.#watch);
		this.#ws.onmessage = this.#ws.onclose = null;
		this.#ws.close();
		const connected = this.id !== "";
		this.id = "";
		const lost = new Error("The connection was lost.");
		for (const ack of [...this.#requests.keys()]) this.#settle(ack, "reject", lost);
		this.#turn++;
		const pause = Math.min(250 * 2 ** this.#failures++, 10_000);
		setTimeout(() => this.connect(), pause * (0.5 + Math.random()));
		if (connected) this.#call("disconnect");
	}
}
