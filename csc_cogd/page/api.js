// What the page asks the server for, and what the server tells it. Addresses are relative: the token is in the page's own.

export class Refusal extends Error {
	constructor(status, answer) {
		super(answer.error ?? answer.conflict ?? answer.exists ?? `the server answered ${status}`);
		Object.assign(this, answer, { status }); // 0: there was no answer
	}
}

// Values that are null or false are left out, and true ones have no content.
async function ask(path, values = {}, options) {
	const given = Object.entries(values).filter(([, value]) => value !== null && value !== false);
	const query = new URLSearchParams(given.map(([name, value]) => [name, value === true ? "" : value]));
	let response;
	try {
		response = await fetch(`api/${path}?${query}`, options);
	} catch {
		throw new Refusal(0, { error: "the server doesn't answer: is csc-cogd paint still running?" });
	}
	if (!response.ok) throw new Refusal(response.status, await response.json().catch(() => ({})));
	return response;
}

const post = (path, values, body) => ask(path, values, { method: "POST", body });
const json = async (response) => (await response).json();
const bits = async (response) => new Uint8Array(await (await response).arrayBuffer());
const of = (number, page) => `pictures/${number}/${page}`;

export const overview = () => json(ask("overview"));
export const describe = (number, page) => json(ask(of(number, page)));
// What is marked: "mask" is so now, and "grown", "inverted" or "flooded" would be.
export const marked = (number, page, how, values) => bits(ask(`${of(number, page)}/${how}`, values));
export const readMask = (number, page, file) => bits(post(`${of(number, page)}/read`, { name: file.name }, file));
export const changeMask = async (number, page, revision, box, packed, fill) =>
	(await json(post(`${of(number, page)}/mask`, { revision, ...box, fill }, packed))).revision;
export const candidates = (number, page, box, kind, sensitivity) =>
	json(ask(`${of(number, page)}/candidates`, { ...box, kind, sensitivity }));
export const tryPart = (number, page, box, asked) => post(`${of(number, page)}/try`, { ...box, ...asked });
// Has something done with a picture: "restore", "keep", "mask" (saves it), "channel" (shows one) or "drop" (what was tried).
export const have = (number, what, values) => post(of(number, what), values);
export const cancel = () => post("cancel");
export const thumbnail = (number) => `api/pictures/${number}/thumbnail`;
export const trial = (number, stamp) => `api/pictures/${number}/trial?${stamp}`;
export const tile = (number, page, layer, level, row, column, version) =>
	`api/${of(number, page)}/${layer}/${level}/${row}/${column}?v=${version}`;

// Calls `heard` with every event, and `connected` with whether the server is there.
export function listen(heard, connected) {
	const source = new EventSource("api/events");
	source.onmessage = (event) => heard(JSON.parse(event.data));
	source.onopen = () => connected(true);
	source.onerror = () => connected(false);
}
