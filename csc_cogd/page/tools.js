// What mouse, pen, fingers and keys do on the canvas.

import { polygon, stroke } from "./shapes.js";
import { union } from "./view.js";

const LARGEST = 1000; // brush, in pixels
const SHAPES = new Set(["line", "rectangle", "lasso"]);

// The brush's size for a place of its slider, 0 to 100; and back.
export const sizeAt = (place) => Math.max(Math.round(LARGEST ** (place / 100)), 1);
export const placeOf = (size) => (100 * Math.log(size)) / Math.log(LARGEST);

// `page` has `mask`, `tool`, `changed()`, `flood(place, erases)`, `resize(factor)` and `toggle(candidates)`.
export class Tools {
	constructor(view, page) {
		Object.assign(this, { view, page, pointers: new Map(), spacebar: false });
		const { canvas } = view;
		const on = (kind, call) => canvas.addEventListener(kind, call, { passive: false });
		for (const kind of ["down", "move", "up", "cancel"]) on(`pointer${kind}`, (event) => this[kind](event));
		on("pointerleave", () => { if (!this.pointers.size) this.place(null); });
		on("contextmenu", (event) => event.preventDefault());
		on("wheel", (event) => this.wheel(event));
		on("keydown", (event) => this.key(event));
		for (const kind of ["keyup", "blur"]) on(kind, ({ key }) => { if (key !== "Shift") this.spacebar = false; });
	}

	point(event) {
		const frame = this.view.canvas.getBoundingClientRect();
		return { x: event.clientX - frame.left, y: event.clientY - frame.top };
	}

	down(event) {
		if (!this.page.mask) return;
		this.view.canvas.setPointerCapture(event.pointerId);
		const at = this.point(event);
		this.pointers.set(event.pointerId, at);
		if (this.pointers.size > 1) return this.abandon("pinch");
		if (event.button === 1 || this.spacebar || this.page.tool === "hand") { this.doing = "pan"; return; }
		if (event.button !== 0) return;
		const place = this.view.locate(at.x, at.y);
		if (this.page.tool === "lasso" || !this.pick(place)) this.begin(place, event.altKey);
	}

	begin(place, erases = false) {
		this.doing = this.page.tool;
		this.marks = Number(!erases && this.doing !== "eraser");
		this.last = place;
		if (SHAPES.has(this.doing)) this.view.draft = [place];
		else if (this.doing === "fill") { this.doing = null; this.page.flood(place, erases); }
		else this.dab(place);
	}

	move(event) {
		const at = this.point(event);
		const before = this.pointers.get(event.pointerId);
		if (before) this.pointers.set(event.pointerId, at);
		if (this.doing === "pinch") return this.pinch(event.pointerId, before, at);
		if (this.doing === "pan") return before && this.view.pan(at.x - before.x, at.y - before.y);
		this.place(this.view.locate(at.x, at.y));
		if (!before || !this.doing) return;
		for (const each of event.getCoalescedEvents?.() ?? [event]) {
			const on = this.point(each);
			this.drag(this.view.locate(on.x, on.y));
		}
	}

	drag(place) {
		if (this.doing === "lasso") this.view.draft.push(place);
		else if (this.doing === "line") this.view.draft = [this.last, place];
		else if (this.doing === "rectangle") this.view.draft = corners(this.last, place);
		else if (this.doing === "brush" || this.doing === "eraser") this.dab(place);
		this.view.redraw();
	}

	dab(place) {
		stroke(this.last, place, this.view.size, (y, first, last) => this.page.mask.run(y, first, last, this.marks));
		this.last = place;
		const [{ x, y }, r] = [place, this.view.size / 2 + 1];
		this.view.stroke = union(this.view.stroke, { top: y - r, left: x - r, bottom: y + r, right: x + r });
		this.view.redraw();
	}

	up(event) {
		this.pointers.delete(event.pointerId);
		if (this.doing === "pinch") { if (!this.pointers.size) this.doing = null; return; }
		this.finish();
	}

	finish() {
		const { doing, view, page } = this;
		const { draft } = view;
		this.doing = view.draft = view.stroke = null;
		const run = (y, first, last) => page.mask.run(y, first, last, this.marks);
		if (doing === "lasso" && view.candidates.length) {
			this.pickMany(draft);
		} else if (doing === "lasso" || doing === "rectangle") {
			polygon(draft, run);
		} else if (doing === "line") {
			stroke(draft[0], draft.at(-1), view.size, run);
		}
		if (doing && doing !== "pan") page.changed();
		view.redraw();
	}

	cancel(event) {
		this.pointers.delete(event.pointerId);
		this.abandon(this.pointers.size ? "pinch" : null);
	}

	// Leaves what was begun, for something else.
	abandon(doing) {
		if (this.doing && !["pinch", "pan"].includes(this.doing)) this.page.mask.abandon();
		this.view.draft = this.view.stroke = null;
		this.doing = doing;
		this.view.redraw();
	}

	pinch(moved, before, at) {
		const other = [...this.pointers].find(([id]) => id !== moved)?.[1];
		if (!other || !before) return;
		const distance = (a) => Math.hypot(a.x - other.x, a.y - other.y);
		const middle = (a) => ({ x: (a.x + other.x) / 2, y: (a.y + other.y) / 2 });
		const [from, to] = [middle(before), middle(at)];
		this.view.pan(to.x - from.x, to.y - from.y);
		this.view.zoom(distance(at) / Math.max(distance(before), 1), to);
	}

	// Takes or drops the candidate at a place; false where there is none.
	pick(place) {
		const reach = 9 / this.view.scale;
		const near = ({ box: [top, left, bottom, right] }) =>
			place.x > left - reach && place.x < right + reach && place.y > top - reach && place.y < bottom + reach;
		const found = this.view.candidates.find(near);
		if (found) this.page.toggle([found]);
		return Boolean(found);
	}

	pickMany(draft) {
		const { candidates, context } = this.view;
		const outline = new Path2D();
		for (const { x, y } of draft) outline.lineTo(x, y);
		context.resetTransform();
		this.page.toggle(candidates.filter(({ box: [top, left, bottom, right] }) =>
			context.isPointInPath(outline, (left + right) / 2, (top + bottom) / 2)));
	}

	place(brush) {
		this.view.brush = ["brush", "eraser", "line"].includes(this.page.tool) ? brush : null;
		this.view.redraw();
	}

	// The wheel zooms; with Alt or Shift, it sizes the brush; sideways, it moves the picture.
	wheel(event) {
		event.preventDefault();
		if (!this.page.mask) return;
		const [dx, dy] = [event.deltaX, event.deltaY].map((delta) => delta * (event.deltaMode ? 30 : 1));
		if (event.altKey || event.shiftKey) this.page.resize((dy || dx) < 0 ? 1.12 : 1 / 1.12);
		else if (Math.abs(dx) > Math.abs(dy)) this.view.pan(-dx, -dy);
		else this.view.zoom(Math.exp(-dy * (event.ctrlKey ? 0.01 : 0.002)), this.point(event));
	}

	key(event) {
		if (event.ctrlKey || event.metaKey || !this.page.mask) return;
		const { view } = this;
		const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
		if (step) {
			const by = event.shiftKey ? 1 : Math.max(view.size / 2, 4 / view.scale);
			const from = view.brush ?? view.locate(view.canvas.clientWidth / 2, view.canvas.clientHeight / 2);
			const clamp = (value, most) => Math.min(Math.max(value, 0), most);
			const { width, height } = this.page.mask;
			view.brush = { x: clamp(from.x + by * step[0], width - 0.5), y: clamp(from.y + by * step[1], height - 0.5) };
			if (this.doing && !this.pointers.size) this.drag(view.brush);
			view.redraw();
		} else if (event.key === "Enter" || (event.key === " " && !this.pointers.size && view.brush && !this.hovers())) {
			this.press();
		} else if (event.key === " ") {
			this.spacebar = true;
		} else if (event.key === "Escape") {
			this.abandon(null);
			view.candidates = [];
			this.page.toggle([]);
		} else {
			return;
		}
		event.preventDefault();
	}

	hovers() { return this.view.canvas.matches(":hover"); }

	// Paints where the brush is; shapes begin by the first press, and end by the next.
	press() {
		const place = this.view.brush;
		if (!place) return;
		if (this.doing) return this.finish();
		if (this.pick(place)) return;
		this.begin(place);
		if (!SHAPES.has(this.doing)) this.finish();
	}
}

const corners = (a, b) => [a, { x: b.x, y: a.y }, b, { x: a.x, y: b.y }, a];
