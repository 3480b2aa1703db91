// The page's state, and what changes it: events of the server, and what the user does. Each change
// is drawn by view.js, which changes nothing.
import { Socket } from "./socket.js";
import { draw } from "./view.js";

const presets = ["lobby", "help", "random"];
const keep = 500; // messages of a room that the page keeps

const nobody = { total: 0, people: [], missing: [] };
const newRoom = () => ({ joined: false, messages: [], unread: 0, people: nobody });
const socket = new Socket(location.host);
const state = {
	status: "connecting", // or "connected", "offline"
	id: "", // the socket's
	name: sessionStorage.getItem("name") ?? "",
	asking: false, // for a name
	nameError: "",
	error: "",
	cluster: { version: -1, node: "", nodes: [], peers: [], broker: "", why: "", kill: false },
	rooms: new Map(presets.map((of) => [of, newRoom()])), // by name
	current: "", // the room that is shown; empty for none
};
const first = wanted(); // the room that the address of the page names

function change(properties = {}) {
	Object.assign(state, properties);
	draw(state, act);
}

// What the server says

socket.on("connect", () => {
	state.cluster.version = -1; // another node has versions of its own
	change({ status: "connected", id: socket.id });
	if (socket.recovered) back();
	else if (state.name) enter(state.name);
	else change({ asking: true });
});

socket.on("disconnect", () => {
	for (const [of, room] of state.rooms) {
		if (room.joined) note(of, `${state.cluster.node} has gone. Trying the next node …`);
	}
	change({ status: "offline", id: "" });
});

socket.on("cluster", (cluster) => {
	const before = state.cluster;
	if (cluster.node === before.node && cluster.version < before.version) return;
	change({ cluster: { ...cluster, nodes: cluster.nodes ?? [], peers: cluster.peers ?? [] } });
	socket.meet(state.cluster.peers, cluster.node);
	if (before.node) for (const text of news(before, state.cluster)) note(state.current, text);
});

socket.on("people", ({ room, total, people, missing }) => {
	if (state.rooms.has(room)) {
		state.rooms.get(room).people = { total, people, missing: missing ?? [] };
	}
	change();
});

socket.on("said", (m) => add({ kind: "said", ...m }));
socket.on("joined", (m) => add({ kind: "note", ...m, text: `${m.from} has joined` }));
socket.on("left", (m) => add({ kind: "note", ...m, text: `${m.from} has left` }));

// news says how one cluster differs from another.
function news(before, now) {
	const words = { suspect: "does not answer", gone: "is gone", back: "is back" };
	const texts = now.nodes
		.filter((n) => n.standing in words && n.name !== now.node)
		.filter((n) => n.standing !== before.nodes.find((b) => b.name === n.name)?.standing)
		.map((n) => `Node ${n.name} ${words[n.standing]}`);
	if (now.broker !== before.broker && before.broker) texts.push(`The broker: ${now.broker}`);
	return texts;
}

const note = (room, text) => add({ kind: "note", room, text, at: Date.now() });

// add puts a message into its room.
function add(message) {
	const room = state.rooms.get(message.room);
	if (!room?.joined) return;
	message.own = message.id !== undefined && message.id === state.id; // of this connection
	room.messages.push(message);
	if (room.messages.length > keep) room.messages.shift();
	if (message.kind === "said" && message.room !== state.current) room.unread++;
	change();
}

// What the page asks for

class Refusal extends Error {}

// ask is a request whose refusal is an error too.
async function ask(event, ...args) {
	const reply = await socket.request(event, ...args);
	if (reply.error) throw new Refusal(reply.error.message);
	return reply;
}

// tried shows why something has failed, and reports whether it has not.
async function tried(promise) {
	try {
		await promise;
		change({ error: "" });
		return true;
	} catch (error) {
		change({ error: error.message });
		return false;
	}
}

// back goes on where the last connection broke: the server knows the name and the rooms, and what was
// said meanwhile follows.
function back() {
	for (const [of, room] of state.rooms) if (room.joined) note(of, "Back. Nothing was missed.");
}

// enter says hello on a new connection, and joins the rooms that were joined before, or a first one.
async function enter(name) {
	try {
		({ name } = await ask("hello", { name }));
	} catch (error) {
		if (error instanceof Refusal) change({ asking: true, nameError: error.message });
		else change({ error: error.message });
		return;
	}
	sessionStorage.setItem("name", name);
	change({ name, asking: false, nameError: "", error: "" });
	const again = [...state.rooms].filter(([, room]) => room.joined).map(([of]) => of);
	const greeting = `Back, on ${state.cluster.node}. What was said meanwhile is lost.`;
	for (const of of again) await join(of, greeting, state.current);
	if (again.length === 0) await join(first || presets[0]);
}

async function join(of, greeting = "You have joined. Say something.", then = of) {
	if (!state.rooms.has(of)) state.rooms.set(of, newRoom());
	const room = state.rooms.get(of);
	room.joined = true; // messages may come before the acknowledgement
	if (await tried(ask("join", of))) {
		note(of, greeting);
		show(then);
	} else if (socket.id) {
		forget(of);
	}
}

// forget takes a room off the page; a preset one stays, as one that is not joined.
function forget(of) {
	if (presets.includes(of)) state.rooms.set(of, newRoom());
	else state.rooms.delete(of);
	change();
}

// show makes a room the current one; the empty name is none.
function show(current) {
	if (current) state.rooms.get(current).unread = 0;
	const hash = current ? "#" + encodeURIComponent(current) : location.pathname;
	history.replaceState(null, "", hash);
	change({ current });
}

function wanted() {
	try {
		return decodeURIComponent(location.hash.slice(1));
	} catch {
		return ""; // not something that this page has written
	}
}

// What the user does

const act = {
	hello: (name) => enter(name.trim()),
	rename: () => change({ asking: true }),
	closeName: () => change({ asking: false, nameError: "" }),

	async open(of) {
		if (state.rooms.get(of)?.joined) show(of);
		else if (of) await join(of);
	},

	async leave() {
		const of = state.current;
		if (!(await tried(ask("leave", of)))) return;
		forget(of);
		show([...state.rooms].find(([, room]) => room.joined)?.[0] ?? "");
	},

	say: (text) => tried(ask("say", { room: state.current, text })),

	// A node that kills itself does not answer.
	kill: (name) => ask("kill", name).catch((e) => e instanceof Refusal && change({ error: e.message })),
};

window.onpagehide = () => socket.leave(); // else the others would take it for a lost connection
window.onhashchange = () => state.name && socket.id && wanted() && act.open(wanted());

change();
socket.connect();
