// The page: which picture it shows, what its buttons do, and how it keeps step with the server.

import * as api from "./api.js";
import { Mask } from "./mask.js";
import { drawStrip } from "./strip.js";
import { Tools, placeOf, sizeAt } from "./tools.js";
import { View, union } from "./view.js";

const TOOLS = [ // name, label, key, what it is for, icon
	["brush", "Brush", "B", "", "M20 4 10 14M4 20c0-4 2-6 4-6a3 3 0 0 1 3 3c0 2-3 3-7 3z"],
	["eraser", "Eraser", "E", "", "m4 15 9-9 7 7-7 7H8zM9 10l7 7M13 20h7"],
	["line", "Line", "L", ", for scratches", "M5 19 19 5M4 18l2 2M18 4l2 2"],
	["rectangle", "Box", "R", "", "M4 6h16v12H4z"],
	["lasso", "Lasso", "O", "", "M12 5c5 0 8 2 8 5s-3 5-8 5-8-2-8-5 3-5 8-5zM8 14c-2 1-2 4 0 4s3 1 2 3"],
	["fill", "Fill", "F", " an outline that was painted", "m11 3-7 8 7 7 8-7zM4 11h15M20 15c2 3 1 5 0 5s-2-2 0-5z"],
	["hand", "Move", "H", " the picture", "M12 3v18M3 12h18M9 6l3-3 3 3M9 18l3 3 3-3M6 9l-3 3 3 3M18 9l3 3-3 3"],
];
const AMOUNTS = { // of each task: name, least, most, step, value at first
	denoise: ["Strength", 0.1, 2, 0.1, 1],
	deblur: ["Width of the blur, pixels", 0.4, 4, 0.1, 1],
	upscale: ["Times wider and higher", 1.5, 4, 0.5, 2],
};
const [MOST_SEARCHED, MOST_TRIED] = [1500, 512]; // pixels, of a side
const $ = (id) => document.getElementById(id);
const on = (id, kind, call) => $(id).addEventListener(kind, call);
const chosen = (name) => document.querySelector(`input[name=${name}]:checked`).value;
$("tools").innerHTML += TOOLS.map(([name, label, key, purpose, icon], i) => `<label title="${label}${purpose} (${key})">
	<input type="radio" name="tool" value="${name}"${i ? "" : " checked"}><svg viewBox="0 0 24 24"><path d="${icon}"/></svg>${label}</label>`).join("");
const buttons = Object.fromEntries([...document.querySelectorAll("[data-do]")].map((one) => [one.dataset.do, one]));
const isUnkept = ({ state }) => state === "painted" || state === "restored";

const page = {
	pictures: [], toKeep: [], unkept: new Set(), number: 0, page: 0, mask: null, revision: 0, unsent: null, isThere: true,
	get tool() { return chosen("tool"); },

	say(text, isBad = false) {
		$("status").textContent = text;
		$("status").classList.toggle("bad", isBad);
	},

	// A change of the mask is complete.
	changed() { this.send(this.mask.commit()); },

	send(box) {
		if (box) {
			view.pending.push(box);
			this.unsent = union(this.unsent, box);
			this.isKept = false;
			view.showTrial(null);
			this.unkept.add(this.number);
			if ($("live").checked) this.say("Filling…");
		}
		view.redraw();
		this.refresh();
		flush();
	},

	resize(factor) {
		const size = view.size * factor;
		setSize(factor > 1 ? Math.max(Math.ceil(size), view.size + 1) : Math.min(Math.floor(size), view.size - 1));
	},

	toggle(candidates) {
		for (const one of candidates) one.taken ^= true;
		const taken = view.candidates.filter((one) => one.taken).length;
		buttons.take.disabled = !taken;
		buttons.drop.disabled = !view.candidates.length;
		$("found").textContent = view.candidates.length
			? `${taken} of ${view.candidates.length} chosen. Click one to drop or take it; a lasso does many.` : "";
		view.redraw();
	},

	flood: ({ x, y }, erase) => markAs("flooded", { x: Math.floor(x), y: Math.floor(y), erase }),

	// What depends on the mask, and on what was done with it.
	refresh() {
		const count = this.mask?.count() ?? 0;
		const share = this.mask ? count / (this.mask.width * this.mask.height) : 0;
		$("marked").textContent = count ? `${count.toLocaleString("en")} pixels marked, ${percent(share)}` : "Nothing is marked yet.";
		const isOff = {
			undo: !this.mask?.past.length, redo: !this.mask?.future.length, grow: !count, clear: !count, save: !count,
			restore: !count || this.isBusy, keep: !count || this.isBusy || this.isKept,
			keepAll: this.isBusy || !this.pictures.some(isUnkept),
			invert: !this.mask, find: !this.mask, try: !this.mask || this.isBusy, keepTask: !this.mask || this.isBusy, forget: !view.trial,
		};
		for (const name in isOff) buttons[name].disabled = isOff[name];
		buttons.cancel.hidden = $("progress").hidden = !this.isBusy;
		view.whole = this.tool === "eraser" || !$("live").checked;
	},
};

const view = new View($("canvas"));
new Tools(view, page);

// -- pictures --

async function open(number, sheet) {
	await flush();
	await sent();
	if (page.unsent) return;
	try {
		page.say("Reading…");
		const info = await api.describe(number, sheet);
		const isSame = page.mask && page.number === number && page.page === sheet && page.revision === info.revision;
		const mask = isSame ? page.mask : new Mask(info.width, info.height, await api.marked(number, sheet, "mask"));
		Object.assign(page, { number, page: sheet, mask, revision: info.revision, isKept: info.state === "kept" });
		view.open(number, sheet, info, mask);
		view.showTrial(info.trial);
		history.replaceState(null, "", `#${number}/${sheet}`);
		$("name").textContent = info.name;
		document.title = `${info.name} - csc-cogd paint`;
		$("about").textContent = info.about;
		$("page").max = info.pages;
		$("page").value = sheet + 1;
		$("pageno").textContent = `${sheet + 1} of ${info.pages}`;
		$("pages").hidden = info.pages < 2;
		showChannels(info);
		page.say([...info.notes, info.state === "kept" ? `${info.target} is there.` : "Paint over what is damaged."].join(" "));
	} catch (error) {
		Object.assign(page, { number, mask: null });
		view.info = null;
		view.redraw();
		$("name").textContent = page.pictures[number]?.name ?? "";
		page.say(error.message, true);
	}
	page.toggle([]);
	page.refresh();
	showPictures();
}

function showChannels({ channels, channel }) {
	const names = channels === 3 ? ["Red", "Green", "Blue"] : Array.from({ length: channels }, (_, i) => i + 1);
	$("channel").replaceChildren(new Option("All", ""), ...names.map((name, i) => new Option(name, i)));
	$("channel").value = channel ?? "";
	$("channels").hidden = channels < 2;
}

function showPictures() {
	const { pictures, number } = page;
	const several = pictures.length > 1;
	for (const one of document.querySelectorAll(".several")) one.hidden = !several;
	if (!several) return;
	$("place").textContent = `${number + 1} of ${pictures.length}`;
	buttons.previous.disabled = number === 0;
	buttons.next.disabled = number === pictures.length - 1;
	drawStrip($("strip"), pictures, number, (other) => open(other, 0));
}

// -- the server --

// Sends what was changed, one change at a time; what can't be sent now is sent when the server is there again.
async function flush() {
	if (page.isSending || !page.unsent) return;
	page.isSending = true;
	const { number, page: sheet, mask } = page;
	while (page.unsent) {
		const box = page.unsent;
		page.unsent = null;
		try {
			page.revision = await api.changeMask(number, sheet, page.revision, box, mask.pack(box), $("live").checked);
		} catch (error) {
			if (error.conflict) {
				Object.assign(page, { isSending: false, unsent: null });
				await open(number, sheet);
				page.say("Painted in another window, or changed: this is how it is now.", true);
				return;
			}
			page.say(error.message, true);
			if (error.status) continue; // it will never be taken
			page.unsent = union(page.unsent, box);
			break;
		}
	}
	page.isSending = false;
}

// Waits until nothing is being sent.
async function sent() {
	while (page.isSending) await new Promise((resolve) => setTimeout(resolve, 20));
}

const tell = (warnings, text) => page.say([text, ...warnings].join(" "));
const heard = {
	mask({ page: sheet, revision }) {
		if (page.isSending || page.unsent || revision <= page.revision) return; // our own
		if (sheet === page.page) open(page.number, sheet);
		else page.revision = revision;
	},
	filled({ page: sheet, box: [top, left, bottom, right], preview }) {
		if (sheet !== page.page) return;
		view.refresh({ top, left, bottom, right });
		if (!view.pending.length && !page.isBusy) page.say(preview ? "Filled, as a preview." : "Filled. Keep writes the whole picture.");
	},
	progress({ stage, done, total }) {
		$("progress").max = total || 1;
		$("progress").value = done;
		page.say(`Restoring: ${stage}`);
	},
	restored({ seconds, warnings }) {
		view.refresh(null);
		tell(warnings, `Restored in ${seconds.toFixed(1)} s.`);
	},
	tried({ page: sheet, box, seconds, warnings }) {
		if (sheet !== page.page) return;
		view.showTrial(box);
		choose("show", "compare");
		tell(warnings, `Tried in ${seconds.toFixed(1)} s: after is on the right.`);
	},
	channel: () => open(page.number, page.page),
	kept({ files, warnings }) {
		page.isKept = page.pictures[page.number].state === "kept";
		tell(warnings, `Kept: ${files.join(" and ")}.`);
	},
	canceled: () => page.say("Canceled."),
	unfilled: ({ error }) => page.say(error, true),
	failed: ({ error }) => page.say(error, true),
};

function hear({ kind, picture, state, ...about }) {
	if (kind === "kept") page.unkept.delete(picture);
	if (page.pictures[picture]) page.pictures[picture].state = state;
	if (!["filled", "unfilled", "mask", "channel"].includes(kind)) page.isBusy = kind === "progress";
	if (picture === page.number) heard[kind](about);
	if (["kept", "failed"].includes(kind)) keepNext();
	page.refresh();
	showPictures();
}

async function connected(isThere) {
	if (isThere === page.isThere) return;
	page.isThere = isThere;
	if (!isThere) return page.say("The server doesn't answer. Strokes are sent when it is back.", true);
	await flush();
	const info = await api.describe(page.number, page.page).catch(() => null);
	if (info && info.revision !== page.revision) await open(page.number, page.page);
	page.say("The server is back.");
}

const attempt = (action) => action().catch((error) => page.say(error.message, true));

// -- buttons --

// Marks what the server says should be marked, as a change that can be undone.
const mark = (asked) => attempt(async () => {
	await sent();
	page.mask.write(await asked());
	page.changed();
});
const markAs = (how, values) => mark(() => api.marked(page.number, page.page, how, values));

// Writes files by a call, and asks first whether those that are there may be replaced.
async function write(call) {
	await sent();
	try {
		await call(false);
	} catch (error) {
		if (!error.exists) throw error;
		$("question").textContent = `Replace ${error.exists}?`;
		$("ask").returnValue = "";
		$("ask").onclose = () => { if ($("ask").returnValue) attempt(() => call(true)); };
		$("ask").showModal();
	}
}

// Begins a restoration; its end is told as an event, perhaps before the answer is there.
async function begin(call) {
	page.isBusy = true;
	try {
		await call();
	} catch (error) {
		page.isBusy = false;
		throw error;
	}
}

// Begins to keep the result of filling, or of another task.
const keep = (number, overwrite, asked = { effort: chosen("effort") }) => begin(() => api.have(number, "keep", { ...asked, overwrite }));

// The task that is chosen besides filling.
const asked = () => ({ task: chosen("task"), amount: $("amount").value, effort: chosen("effort") });

// Keeps the next of many pictures; results that are there already stay.
async function keepNext() {
	const number = page.toKeep.shift();
	if (number === undefined) return;
	try {
		await keep(number, false);
	} catch (error) {
		page.say(error.exists ? `${error.exists}: there already, not replaced.` : error.message, true);
		await keepNext();
	}
}

const actions = {
	previous: () => open(page.number - 1, 0),
	next: () => open(page.number + 1, 0),
	undo: () => page.send(page.mask.undo()),
	redo: () => page.send(page.mask.redo()),
	restore: async () => { await sent(); await begin(() => api.have(page.number, "restore", { effort: chosen("effort") })); },
	keep: () => write((overwrite) => keep(page.number, overwrite)),
	keepAll: async () => {
		await sent();
		page.toKeep = [...page.pictures.keys()].filter((number) => isUnkept(page.pictures[number]));
		await keepNext();
	},
	save: () => write(async (overwrite) => {
		const { name } = await (await api.have(page.number, "mask", { overwrite })).json();
		page.say(`Saved: ${name}.`);
		page.unkept.delete(page.number);
	}),
	cancel: () => { page.toKeep = []; return api.cancel(); },
	grow: () => markAs("grown", { by: 1 }),
	invert: () => markAs("inverted"),
	clear: () => { page.mask.write(new Uint8Array()); page.changed(); },
	find: async () => {
		page.say("Looking…");
		const part = view.middle(MOST_SEARCHED);
		const { places, summary } = await api.candidates(page.number, page.page, part, chosen("kind"), $("sensitivity").value);
		view.candidates = places.map((one) => ({ ...one, taken: true }));
		page.say(`Found: ${summary}.`);
		page.toggle([]);
	},
	take: () => {
		for (const { runs } of view.candidates.filter((one) => one.taken)) {
			for (let i = 0; i < runs.length; i += 3) page.mask.run(...runs.slice(i, i + 3), 1);
		}
		actions.drop();
		page.changed();
	},
	drop: () => { view.candidates = []; page.toggle([]); },
	try: async () => {
		await sent();
		await begin(() => api.tryPart(page.number, page.page, view.middle(MOST_TRIED), asked()));
	},
	forget: () => { view.showTrial(null); choose("show", "result"); return api.have(page.number, "drop"); },
	keepTask: () => write((overwrite) => keep(page.number, overwrite, asked())),
	smaller: () => view.zoom(1 / 1.4),
	larger: () => view.zoom(1.4),
	fit: () => view.fit(),
};

for (const [name, button] of Object.entries(buttons)) {
	button.addEventListener("click", () => attempt(async () => { await actions[name](); page.refresh(); }));
}

function setSize(size) {
	view.size = Math.min(Math.max(size, 1), sizeAt(100));
	$("size").value = placeOf(view.size);
	$("sizeno").textContent = `${view.size} px`;
	view.redraw();
}

function show(name) {
	view.show = name;
	$("split").hidden = name !== "compare";
	view.redraw();
}

on("size", "input", () => setSize(sizeAt($("size").value)));
for (const name of ["opacity", "split"]) on(name, "input", () => { view[name] = Number($(name).value); view.redraw(); });
on("page", "change", () => open(page.number, $("page").value - 1));
on("channel", "change", () => attempt(() => api.have(page.number, "channel", { channel: $("channel").value || null })));
const say = (name) => { $(`${name}no`).textContent = $(name).value; };
for (const name of ["sensitivity", "amount"]) on(name, "input", () => say(name));
on("sensitivity", "change", () => { if (view.candidates.length) buttons.find.click(); });
on("live", "change", () => { page.refresh(); view.redraw(); });
on("file", "change", () => {
	const [file] = $("file").files;
	if (file) mark(() => api.readMask(page.number, page.page, file));
	$("file").value = "";
});
on("more", "click", () => $("more").setAttribute("aria-expanded", $("panel").classList.toggle("open")));
document.addEventListener("change", ({ target: { name } }) => chose[name]?.());

const chose = { show: () => show(chosen("show")), tool: chooseTool, task: chooseTask };

// Chooses one of several, as a click on it does.
function choose(name, value) {
	document.querySelector(`input[name=${name}][value=${value}]`).checked = true;
	chose[name]();
}

function chooseTask() {
	const [name, min, max, step, value] = AMOUNTS[chosen("task")];
	$("amountname").textContent = name;
	Object.assign($("amount"), { min, max, step, value });
	say("amount");
}

function chooseTool() {
	const pointing = ["line", "rectangle", "lasso", "fill"].includes(page.tool);
	view.canvas.className = page.tool === "hand" ? "moving" : pointing ? "pointing" : "";
	view.brush = null;
	page.refresh();
	view.redraw();
}


const hold = (isHeld) => show(isHeld ? "before" : chosen("show"));
on("hold", "pointerdown", () => hold(true));
for (const end of ["pointerup", "pointercancel", "pointerleave", "blur", "keyup"]) on("hold", end, () => hold(false));
on("hold", "keydown", ({ key }) => { if (key === " ") hold(true); });

// -- keys --

const KEYS = {
	"[": () => page.resize(1 / 1.2), "]": () => page.resize(1.2), "+": actions.larger, "=": actions.larger, "-": actions.smaller,
	0: actions.fit, x: () => hold(true),
};
const CHORDS = { z: "undo", y: "redo", s: "keep", Z: "redo" };

document.addEventListener("keydown", (event) => {
	if ($("ask").open || event.altKey) return;
	const { key } = event;
	const name = event.ctrlKey || event.metaKey ? CHORDS[key] : { PageUp: "previous", PageDown: "next" }[key];
	if (name) {
		event.preventDefault();
		if (!buttons[name].disabled) buttons[name].click();
	} else if (!event.ctrlKey && [view.canvas, document.body].includes(event.target)) {
		const [tool] = TOOLS.find(([, , letter]) => letter === key.toUpperCase()) ?? [];
		if (tool) choose("tool", tool);
		else KEYS[key]?.();
	}
});
document.addEventListener("keyup", ({ key }) => { if (key === "x") hold(false); });
addEventListener("beforeunload", (event) => { if (page.unsent || page.unkept.size) event.preventDefault(); });

// -- how it begins --

const percent = (share) => `${(100 * share).toPrecision(2)} %`;

view.onDraw = () => { $("scale").textContent = `${Math.round(100 * view.scale * devicePixelRatio)} %`; };
setSize(sizeAt($("size").value));
chooseTask();
say("sensitivity");
await attempt(async () => {
	const { pictures, busy } = await api.overview();
	Object.assign(page, { pictures, isBusy: busy });
	const [, number, sheet] = /^#(\d+)\/(\d+)$/.exec(location.hash) ?? [null, 0, 0];
	await open(Math.min(Number(number), pictures.length - 1), Number(sheet));
});
api.listen(hear, connected);
