// The page's elements. draw shows a state; what the user does calls a function of act.

const $ = (id) => document.getElementById(id);

// make builds an element. Whatever users wrote comes in as text, and never becomes markup.
function make(tag, properties = {}, ...children) {
	const { data = {}, ...rest } = properties;
	const element = Object.assign(document.createElement(tag), rest);
	Object.assign(element.dataset, data);
	element.append(...children);
	return element;
}

const light = (text) => make("span", { className: "light", textContent: text });
const bdi = (text, className = "") => make("bdi", { className, textContent: text });

// fill makes a list show items, and leaves it alone if it does: no click and no focus is lost.
function fill(list, items, build) {
	const drawn = JSON.stringify(items);
	if (list.drawn === drawn) return;
	list.drawn = drawn;
	const focused = list.contains(document.activeElement) && document.activeElement.dataset.key;
	list.replaceChildren(...items.map(build));
	if (focused) list.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

let shown = { room: "", messages: null, last: null }; // in the list of messages
let act;

// draw shows a state.
export function draw(state, actions) {
	act = actions;
	const { cluster, current, status } = state;
	$("status").textContent = $("status").dataset.state = status;
	$("node").hidden = !cluster.node;
	$("node").textContent = $("node").dataset.node = cluster.node;
	$("me").textContent = state.name;
	$("error").textContent = state.error;
	$("error").hidden = !state.error;
	for (const id of ["send", "join", "leave"]) $(id).disabled = status !== "connected";
	$("room-title").textContent = current ? "# " + current : "No room";
	document.title = current ? `${current} · belfry chat` : "belfry chat";
	$("leave").hidden = $("say-form").hidden = !current;
	drawName(state);
	fill($("rooms"), roomItems(state), roomLine);
	drawPeople(state);
	drawCluster(cluster, status);
	drawMessages(state);
}

function drawName({ asking, name, nameError, current }) {
	$("name-error").textContent = nameError;
	$("name-error").hidden = !nameError;
	$("welcome").dataset.must = !current; // nobody is here without a name
	if (asking && !$("welcome").open) {
		$("name").value = name;
		$("welcome").showModal();
		$("name").select();
	} else if (!asking && $("welcome").open) {
		$("welcome").close();
	}
}

// label is a node's name without the host, if the page's node has the same.
function label(name, cluster) {
	const host = cluster.node.slice(0, cluster.node.lastIndexOf(":") + 1);
	return host && name.startsWith(host) ? name.slice(host.length - 1) : name;
}

// Rooms and people

const roomItems = ({ rooms, current }) =>
	[...rooms].map(([of, r]) => ({ of, joined: r.joined, unread: r.unread, current: of === current }));

function roomLine({ of, joined, unread, current }) {
	const button = make("button", { type: "button", className: "room", onclick: () => act.open(of) });
	Object.assign(button.dataset, { room: of, key: of, joined });
	button.append("# ", bdi(of));
	const count = { className: "count", ariaLabel: `${unread} unread`, textContent: unread };
	if (unread) button.append(make("span", count));
	else if (!joined) button.append(light("join"));
	if (current) button.ariaCurrent = "true";
	return make("li", {}, button);
}

function drawPeople({ rooms, current, id, cluster }) {
	const { total, people, missing } = rooms.get(current)?.people ?? { total: 0, people: [], missing: [] };
	$("people-total").textContent = total;
	const items = people.map((p) => ({ ...p, own: p.id === id, label: label(p.node, cluster) }));
	fill($("people"), items, ({ name, node, own, label }) => {
		const via = make("span", { className: "via", data: { here: node === cluster.node } }, label);
		return make("li", { data: { name, node } }, avatar(name), bdi(name), own ? light("you") : "", via);
	});
	const texts = [];
	if (total > people.length) texts.push(`And ${total - people.length} more.`);
	if (missing.length) texts.push(`Who is on ${missing.join(", ")} is not known now.`);
	$("people-hint").textContent = texts.join(" ");
}

// The cluster

function drawCluster({ node, nodes, peers, broker, why, kill }, status) {
	const items = nodes.map((n) => ({ ...n, own: n.name === node, link: peers.includes(n.name) }));
	const offline = status !== "connected";
	fill($("nodes"), [...items.map((n) => ({ ...n, kill, offline }))], nodeLine);
	fill($("broker"), broker ? [{ broker, why, kill, offline }] : [], brokerLine);
}

function nodeLine({ name, standing, own, link, kill, offline }) {
	const properties = { href: `http://${name}/`, target: "_blank", rel: "noopener", textContent: name };
	const title = link && !own ? make("a", properties) : make("b", { textContent: name });
	const word = own ? "yours" : standing;
	const button = kill && ["here", "back"].includes(standing) ? killButton(name, offline) : "";
	return make("li", { data: { node: name, standing } }, title, light(word), button);
}

function brokerLine({ broker, why, kill, offline }) {
	const button = kill && broker === "connected" ? killButton("NATS", offline) : "";
	const title = make("b", { textContent: kill ? "NATS" : "Broker" });
	return make("li", { title: why, data: { standing: broker } }, title, light(broker), button);
}

function killButton(name, disabled) {
	const properties = { type: "button", className: "quiet small", textContent: "Kill", disabled };
	const title = `kill -9 ${name}: it is started again after a few seconds`;
	const button = make("button", { ...properties, title, ariaLabel: title, data: { key: name, kill: name } });
	button.onclick = () => act.kill(name);
	return button;
}

// Messages

function avatar(of) {
	const hue = [...of].reduce((sum, c) => (sum * 31 + c.codePointAt(0)) % 997, 7) % 6;
	const text = [...of][0]?.toUpperCase() ?? "";
	return make("span", { className: "avatar hue" + hue, ariaHidden: "true", textContent: text });
}

function line(m, cluster) {
	const at = new Date(m.at);
	const clock = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
	const time = make("time", { dateTime: at.toISOString(), textContent: clock });
	const data = { kind: m.kind, room: m.room, from: m.from ?? "", node: m.node ?? "", own: m.own };
	if (m.kind === "note") return make("li", { className: "note", data }, bdi(m.text), " ", time);
	const here = m.node === cluster.node;
	const via = make("span", { className: "via", data: { here }, textContent: label(m.node, cluster) });
	const from = bdi(m.own ? "You" : m.from, "from");
	const head = make("div", { className: "head" }, from, " ", via, " ", time);
	const text = make("p", { className: "text", dir: "auto", textContent: m.text });
	const body = make("div", { className: "body" }, head, text);
	return make("li", { className: "said", data }, avatar(m.from), body);
}

// drawMessages appends what is new, or shows another room.
function drawMessages({ rooms, current, cluster }) {
	const list = $("messages");
	const messages = rooms.get(current)?.messages;
	if (messages && messages === shown.messages) {
		const fresh = messages.slice(messages.lastIndexOf(shown.last) + 1);
		const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
		list.append(...fresh.map((m) => line(m, cluster)));
		while (list.childElementCount > messages.length) list.firstElementChild.remove();
		if (fresh.length && (atEnd || fresh.some((m) => m.own))) list.scrollTop = list.scrollHeight;
	} else {
		const empty = make("li", { className: "note", textContent: "Join a room to hear and to speak." });
		list.ariaBusy = "true"; // old messages are not news
		list.replaceChildren(...(messages ? messages.map((m) => line(m, cluster)) : [empty]));
		list.ariaBusy = "false";
		list.scrollTop = list.scrollHeight;
		menu(false);
		if (messages && matchMedia("(hover: hover)").matches) $("text").focus();
	}
	shown = { messages, last: messages?.at(-1) };
}

function menu(open) {
	document.body.classList.toggle("open", open);
	$("menu").ariaExpanded = open;
}

// What the user does

$("name-form").onsubmit = (event) => {
	event.preventDefault();
	act.hello($("name").value);
};

$("welcome").oncancel = (event) => {
	event.preventDefault();
	if ($("welcome").dataset.must === "false") act.closeName();
};

$("room-form").onsubmit = (event) => {
	event.preventDefault();
	const of = $("room").value.trim().replace(/^#\s*/, "");
	if (!of) return $("room").focus();
	$("room").value = "";
	act.open(of);
};

$("say-form").onsubmit = async (event) => {
	event.preventDefault();
	const text = $("text").value.trim();
	if (!text || $("send").disabled) return;
	$("text").value = "";
	if (!(await act.say(text)) && !$("text").value) $("text").value = text;
};

$("text").onkeydown = (event) => {
	if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
	event.preventDefault();
	$("say-form").requestSubmit();
};

$("leave").onclick = () => act.leave();
$("rename").onclick = () => act.rename();
$("menu").onclick = () => menu(!document.body.classList.contains("open"));
