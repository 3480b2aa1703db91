import { Socket } from "./socket.js";

const presets = ["lobby", "help", "music", "random"];
const keep = 500; // messages of a room that the page keeps

const $ = (id) => document.getElementById(id);
const socket = new Socket(location.origin);
const rooms = new Map(); // by name: {joined, messages, unread}; joined is true from the moment of asking
let name = sessionStorage.getItem("name") ?? "";
let current = ""; // the room that is shown
let nodes = []; // [{id, label, url}], as the server tells
let node = ""; // the id of the node that serves this page
let people = { version: -1 };
const first = wanted(); // the room that the address of the page names

// make builds an element. Whatever users wrote comes in as text, and never becomes markup.
function make(tag, properties = {}, ...children) {
	const { data = {}, ...rest } = properties;
	const element = Object.assign(document.createElement(tag), rest);
	Object.assign(element.dataset, data);
	element.append(...children);
	return element;
}

const label = (id) => nodes.find((n) => n.id === id)?.label ?? "node " + id.slice(0, 6);
const hue = (text) => "hue" + ([...text].reduce((sum, c) => (sum * 31 + c.codePointAt(0)) % 997, 7) % 6);

function room(of) {
	if (!rooms.has(of)) rooms.set(of, { joined: false, messages: [], unread: 0 });
	return rooms.get(of);
}

// Talking to the server

class Refusal extends Error {}

// ask is a request whose refusal is an error too.
async function ask(event, ...args) {
	const reply = await socket.request(event, ...args);
	if (reply.error) throw new Refusal(reply.error.message);
	return reply;
}

async function hello() {
	const welcome = await ask("hello", { name });
	({ node, nodes } = welcome);
	name = welcome.name;
	sessionStorage.setItem("name", name);
	$("welcome").close();
	drawNode();
}

// enter says hello on a new connection and joins the rooms again that were joined before, or a first one.
async function enter() {
	await hello();
	const again = [...rooms].filter(([, r]) => r.joined).map(([of]) => of);
	for (const of of again) await join(of, "Back again. What was said meanwhile is lost.", current);
	if (again.length === 0) await join(first || presets[0]);
}

async function join(of, greeting = "You have joined. Say something.", then = of) {
	const r = room(of);
	r.joined = true; // messages may come before the acknowledgement
	try {
		await ask("join", of);
		fail("");
		note(of, greeting);
		show(then);
	} catch (error) {
		if (socket.id) {
			r.joined = false;
			if (!presets.includes(of)) rooms.delete(of);
		}
		drawRooms();
		fail(error.message);
	}
}

async function leave(of) {
	try {
		await ask("leave", of);
	} catch (error) {
		return fail(error.message);
	}
	fail("");
	if (presets.includes(of)) Object.assign(room(of), { joined: false, messages: [], unread: 0 });
	else rooms.delete(of);
	if (of === current) show([...rooms.keys()].find((other) => rooms.get(other).joined) ?? "");
	else drawRooms();
}

async function say(text) {
	try {
		await ask("say", { room: current, text });
		fail("");
	} catch (error) {
		if (!$("text").value) $("text").value = text;
		fail(error.message);
	}
}

// Hearing from the server

socket.on("connect", () => {
	status("connected");
	people = { version: -1 }; // it may be another process by now
	if (!name) return askName();
	enter().catch((error) => (error instanceof Refusal ? askName(error.message) : fail(error.message)));
});

socket.on("disconnect", () => {
	status("offline");
	for (const [of, r] of rooms) if (r.joined) note(of, "The connection is lost. Trying again …");
});

socket.on("said", (m) => add({ kind: "said", ...m }));
socket.on("joined", (m) => add({ kind: "note", ...m, text: `${m.from} has joined` }));
socket.on("left", (m) => add({ kind: "note", ...m, text: `${m.from} has left` }));

socket.on("people", (list) => {
	if (list.version < people.version) return; // an older list that was overtaken
	people = list;
	$("people-total").textContent = list.total;
	$("people").replaceChildren(
		...list.people.map((p) => {
			const bdi = make("bdi", { textContent: p.name });
			return make("li", { data: { name: p.name } }, avatar(p.name), bdi, p.id === socket.id ? make("span", { className: "light", textContent: "you" }) : "");
		}),
	);
	if (list.total > list.people.length) $("people").append(make("li", { className: "light", textContent: `and ${list.total - list.people.length} more` }));
});

const note = (of, text) => add({ kind: "note", room: of, text, at: Date.now() });

// add puts a message into its room, and on the screen if that is the room shown.
function add(message) {
	const r = rooms.get(message.room);
	if (!r?.joined) return;
	message.own = message.id === socket.id; // the id is another one after the connection was lost
	r.messages.push(message);
	if (r.messages.length > keep) r.messages.shift();
	if (message.room === current) {
		const list = $("messages");
		const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
		if (list.childElementCount >= keep) list.firstElementChild.remove();
		list.append(line(message));
		if (atEnd || message.own) list.scrollTop = list.scrollHeight;
	} else if (message.kind === "said") {
		r.unread++;
		drawRooms();
	}
}

// Drawing

function avatar(of) {
	return make("span", { className: "avatar " + hue(of), ariaHidden: "true", textContent: [...of][0]?.toUpperCase() ?? "" });
}

function line(m) {
	const at = new Date(m.at);
	const time = make("time", { dateTime: at.toISOString(), textContent: at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }) });
	if (m.kind === "note") return make("li", { className: "note", data: { kind: "note", room: m.room } }, make("bdi", { textContent: m.text }), " ", time);
	const via = make("span", { className: "via", data: { here: m.node === node }, textContent: label(m.node) });
	const head = make("div", { className: "head" }, make("bdi", { className: "from", textContent: m.own ? "You" : m.from }), " ", via, " ", time);
	const text = make("p", { className: "text", dir: "auto", textContent: m.text });
	const data = { kind: "said", room: m.room, from: m.from, node: m.node, own: m.own };
	return make("li", { className: "said", data }, avatar(m.from), make("div", { className: "body" }, head, text));
}

// show makes a room the current one; the empty name is none.
function show(of) {
	current = of;
	if (of) room(of).unread = 0;
	history.replaceState(null, "", of ? "#" + encodeURIComponent(of) : location.pathname);
	$("room-title").textContent = of ? "# " + of : "No room";
	document.title = of ? `${of} · belfry chat` : "belfry chat";
	$("leave").hidden = $("say-form").hidden = !of;
	const list = $("messages");
	list.ariaBusy = "true"; // old messages are not news
	list.replaceChildren(...(of ? room(of).messages.map(line) : [make("li", { className: "note", textContent: "Join a room to hear and to speak." })]));
	list.ariaBusy = "false";
	list.scrollTop = list.scrollHeight;
	menu(false);
	drawRooms();
	drawNode();
	if (of && matchMedia("(hover: hover)").matches) $("text").focus();
}

function drawRooms() {
	for (const preset of presets) room(preset);
	const focused = document.activeElement?.dataset?.room;
	$("rooms").replaceChildren(
		...[...rooms].map(([of, r]) => {
			const button = make("button", { type: "button", className: "room", onclick: () => (r.joined ? show(of) : join(of)), data: { room: of, joined: r.joined } });
			button.append("# ", make("bdi", { textContent: of }));
			if (r.unread) button.append(make("span", { className: "count", ariaLabel: `${r.unread} unread`, textContent: r.unread }));
			else if (!r.joined) button.append(make("span", { className: "light", textContent: "join" }));
			if (of === current) button.ariaCurrent = "true";
			return make("li", {}, button);
		}),
	);
	if (focused) [...$("rooms").querySelectorAll("button")].find((b) => b.dataset.room === focused)?.focus();
}

function drawNode() {
	$("node").hidden = !node;
	$("node").dataset.node = node;
	$("node").replaceChildren(label(node), make("span", { className: "light", textContent: " · " + location.host }));
	$("node").title = `node id ${node}`;
	$("me").textContent = name;
	$("nodes").replaceChildren(
		...nodes.map((n) => {
			const host = make("span", { className: "light", textContent: new URL(n.url).host });
			if (n.id === node) return make("li", { data: { node: n.id, here: true } }, make("b", { textContent: n.label }), " ", host, make("span", { className: "light", textContent: "(here)" }));
			const link = make("a", { href: n.url + "/#" + encodeURIComponent(current), target: "_blank", rel: "noopener", textContent: n.label });
			return make("li", { data: { node: n.id, here: false } }, link, " ", host);
		}),
	);
}

function status(state) {
	$("status").textContent = $("status").dataset.state = state;
	$("send").disabled = $("join").disabled = $("leave").disabled = state !== "connected";
}

function fail(text) {
	$("error").textContent = text;
	$("error").hidden = !text;
}

function askName(error = "") {
	$("name").value = name;
	$("name-error").textContent = error;
	$("name-error").hidden = !error;
	if (!$("welcome").open) $("welcome").showModal();
	$("name").select();
}

function menu(open) {
	document.body.classList.toggle("open", open);
	$("menu").ariaExpanded = open;
}

function wanted() {
	try {
		return decodeURIComponent(location.hash.slice(1));
	} catch {
		return ""; // not something that this page has written
	}
}

// What the user does

$("name-form").onsubmit = (event) => {
	event.preventDefault();
	const before = name;
	name = $("name").value.trim();
	(node ? hello() : enter()).catch((error) => {
		askName(error.message);
		name = before;
	});
};

$("welcome").oncancel = (event) => {
	if (!node) event.preventDefault(); // nobody is here without a name
};

$("room-form").onsubmit = (event) => {
	event.preventDefault();
	const of = $("room").value.trim().replace(/^#\s*/, "");
	if (!of) return $("room").focus();
	$("room").value = "";
	if (rooms.get(of)?.joined) show(of);
	else join(of);
};

$("say-form").onsubmit = (event) => {
	event.preventDefault();
	const text = $("text").value.trim();
	if (!text || $("send").disabled) return;
	$("text").value = "";
	say(text);
};

$("text").onkeydown = (event) => {
	if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
	event.preventDefault();
	$("say-form").requestSubmit();
};

$("leave").onclick = () => leave(current);
$("rename").onclick = () => askName();
$("menu").onclick = () => menu(!document.body.classList.contains("open"));
window.onhashchange = () => {
	const of = wanted();
	if (of && of !== current && socket.id && name) rooms.get(of)?.joined ? show(of) : join(of);
};

status("connecting");
show("");
socket.connect();
