import { io } from "/socket.io/socket.io.esm.min.js";

const keep = 200; // notifications on the page
const toastFor = 6_000; // milliseconds

const $ = (id) => document.getElementById(id);
const list = new Map(); // by id: {notification, unread}; the newest is the last
let nodes = [location.origin]; // addresses of nodes, as the server tells

// The token comes behind the # of the address, which browsers send to nobody. It stays in this tab.
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
	sessionStorage.setItem("token", given);
	history.replaceState(null, "", location.pathname);
}

const socket = io({
	auth: { token: sessionStorage.getItem("token") ?? "" },
	transports: ["websocket"], // polls would need a load balancer that sends a client to the same node
	reconnectionDelay: 300,
	reconnectionDelayMax: 5_000,
});

// Without a load balancer in front of the nodes, the page goes to the next one itself.
socket.io.on("reconnect_attempt", (attempt) => (socket.io.uri = nodes[attempt % nodes.length]));

socket.on("connect", () => status("connected"));
socket.on("disconnect", (reason) => {
	status("offline");
	if (reason === "io server disconnect") socket.connect(); // the server says why, if not for a moment
});
socket.on("connect_error", (error) => {
	status("offline");
	if (socket.active) return; // it tries again by itself
	fail(error.data?.code === "token_missing" ? "Open one of the links that the program has printed." : error.message + " Open a new link.");
});

socket.on("welcome", (w) => {
	fail("");
	show("user", w.user);
	show("node", new URL(w.node).host);
	$("node").dataset.node = w.node;
	know(w.nodes);
	for (const n of w.unread ?? []) add(n);
	clear(w.read ?? []); // on another device, meanwhile
});
socket.on("nodes", know);

socket.on("notification", (n) => {
	if (!add(n)) return; // a double: the backend has repeated its request
	toast(n);
	draw();
});

socket.on("read", clear);

// know puts those first that live; one that is away may return.
function know(now) {
	nodes = [...new Set([...now, ...nodes])].slice(0, 16);
}

// add returns false if the notification is there already. One that a NATS client sent may have no id.
function add(n) {
	const id = n.id ?? crypto.randomUUID();
	if (list.has(id)) return false;
	list.set(id, { ...n, id, at: n.at ?? Date.now(), unread: true });
	if (list.size > keep) list.delete(list.keys().next().value);
	return true;
}

// read takes notifications off the unread ones here, and the server does so on the user's other devices.
function read(ids) {
	clear(ids);
	socket.emit("read", ids); // without a connection, when there is one again
}

function clear(ids) {
	for (const id of ids) if (list.has(id)) list.get(id).unread = false;
	draw();
}

// make builds an element. What others wrote comes in as text, and never becomes markup.
function make(tag, properties = {}, ...children) {
	const { data = {}, ...rest } = properties;
	const element = Object.assign(document.createElement(tag), rest);
	Object.assign(element.dataset, data);
	element.append(...children);
	return element;
}

function draw() {
	const all = [...list.values()].sort((a, b) => b.at - a.at);
	const unread = all.filter((n) => n.unread);
	$("count").textContent = unread.length;
	$("count").dataset.unread = unread.length > 0;
	document.title = unread.length ? `(${unread.length}) belfry notify` : "belfry notify";
	$("read-all").disabled = !unread.length;
	$("empty").hidden = all.length > 0;
	$("list").replaceChildren(
		...all.map((n) => {
			const at = new Date(n.at);
			const time = make("time", { dateTime: at.toISOString(), textContent: at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }) });
			const head = make("div", { className: "row" }, make("b", { textContent: n.title, dir: "auto" }), make("span", { className: "grow" }), make("span", { className: "light", textContent: n.room ?? "" }), time);
			const li = make("li", { data: { id: n.id, unread: n.unread } }, head, make("p", { textContent: n.text ?? "", dir: "auto" }));
			if (n.unread) li.append(make("button", { type: "button", className: "quiet", textContent: "Mark as read", onclick: () => read([n.id]) }));
			return li;
		}),
	);
}

function toast(n) {
	const t = make("div", { className: "toast" }, make("b", { textContent: n.title, dir: "auto" }), make("p", { textContent: n.text ?? "", dir: "auto" }));
	$("toasts").append(t);
	while ($("toasts").childElementCount > 4) $("toasts").firstElementChild.remove();
	setTimeout(() => t.remove(), toastFor);
}

function show(id, text) {
	$(id).textContent = text;
	$(id).hidden = !text;
}

function status(state) {
	$("status").textContent = $("status").dataset.state = state;
}

function fail(text) {
	$("error").textContent = text;
	$("error").hidden = !text;
}

$("read-all").onclick = () => read([...list.values()].filter((n) => n.unread).map((n) => n.id));
window.onhashchange = () => location.reload(); // another user's link in the same tab
