// What the page asks the server for, and what the server tells it. Addresses are relative: the token is in the page's own.

export class Refusal extends Error {
  constructor(status, answer) {
    super(answer.error ?? answer.conflict ?? answer.exists ?? `the server answered ${status}`);
    Object.assign(this, answer, { status }); // 0: there was no answer
  }
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(`api/${path}`, options);
  } catch {
    throw new Refusal(0, { error: "the server doesn't answer: is csc-cogd paint still running?" });
  }
  if (!response.ok) throw new Refusal(response.status, await response.json().catch(() => ({})));
  return response;
}

const json = async (path, options) => (await ask(path, options)).json();
const bits = async (path, options) => new Uint8Array(await (await ask(path, options)).arrayBuffer());
const place = (box) => ["top", "left", "bottom", "right"].map((side) => `${side}=${box[side]}`).join("&");
const post = (body) => ({ method: "POST", body });

export const overview = () => json("overview");
export const describe = (number, page) => json(`pictures/${number}/${page}`);
export const mask = (number, page) => bits(`pictures/${number}/${page}/mask`);
export const grown = (number, page, by) => bits(`pictures/${number}/${page}/grown?by=${by}`);
export const candidates = (number, page, box, kinds, sensitivity) =>
  json(`pictures/${number}/${page}/candidates?${place(box)}&kinds=${kinds}&sensitivity=${sensitivity}`);
export const readMask = (number, page, file) =>
  bits(`pictures/${number}/${page}/read?name=${encodeURIComponent(file.name)}`, post(file));
export const restore = (number, effort) => ask(`pictures/${number}/restore?effort=${effort}`, post());
export const keep = (number, effort, overwrite) =>
  ask(`pictures/${number}/keep?effort=${effort}${overwrite ? "&overwrite" : ""}`, post());
export const saveMask = async (number, overwrite) =>
  (await json(`pictures/${number}/mask${overwrite ? "?overwrite" : ""}`, post())).name;
export const cancel = () => ask("cancel", post());
export const thumbnail = (number) => `api/pictures/${number}/thumbnail`;
export const tile = (number, page, layer, level, row, column, version) =>
  `api/pictures/${number}/${page}/${layer}/${level}/${row}/${column}?v=${version}`;

export async function changeMask(number, page, revision, box, packed, fills) {
  return (await json(`pictures/${number}/${page}/mask?revision=${revision}&${place(box)}${fills ? "&fill" : ""}`, post(packed))).revision;
}

// Calls `heard` with every event, and `connected` with whether the server is there.
export function listen(heard, connected) {
  const source = new EventSource("api/events");
  source.onmessage = (event) => heard(JSON.parse(event.data));
  source.onopen = () => connected(true);
  source.onerror = () => connected(false);
}
