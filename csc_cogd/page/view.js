// The canvas: the picture in tiles, before and after, what is marked of it, and the brush.

import * as api from "./api.js";
import { SIDE } from "./mask.js";

const MOST_TILES = 400;
const MOST_ZOOM = 40; // screen pixels to a pixel

export class View {
	constructor(canvas) {
		this.canvas = canvas;
		this.context = canvas.getContext("2d");
		this.show = "result"; // or "mask", "compare", "before"
		this.opacity = 0.6;
		this.split = 0.5;
		this.size = 24; // of the brush, in pixels of the picture
		this.brush = null; // where it is, in pixels of the picture
		this.draft = null; // points of a shape that is being drawn
		this.candidates = [];
		this.pending = []; // boxes that are marked, but not filled yet
		this.stroke = null; // box around what is being painted
		this.whole = false; // show all of the mask
		this.trial = null; // what was tried on a part, and its box
		new ResizeObserver(() => this.resize()).observe(canvas);
	}

	open(number, page, info, mask) {
		const isSame = this.info && this.info.width === info.width && this.info.height === info.height && this.number === number;
		Object.assign(this, { number, page, info, mask, candidates: [], pending: [], draft: null });
		this.tiles = new Map();
		this.overlays = new Map();
		this.stamp = 0;
		if (!isSame) this.fit();
		this.redraw();
	}

	resize() {
		const { clientWidth: width, clientHeight: height } = this.canvas;
		this.ratio = devicePixelRatio || 1;
		this.canvas.width = Math.round(width * this.ratio);
		this.canvas.height = Math.round(height * this.ratio);
		if (this.info && this.fitted) this.fit();
		this.draw();
	}

	fit() {
		if (!this.info) return;
		const { clientWidth: width, clientHeight: height } = this.canvas;
		this.fitted = true;
		this.scale = Math.min(width / this.info.width, height / this.info.height, MOST_ZOOM) * 0.96;
		this.x = (this.info.width - width / this.scale) / 2;
		this.y = (this.info.height - height / this.scale) / 2;
		this.redraw();
	}

	// Zooms by a factor about a place on the screen; by default the middle.
	zoom(factor, at = { x: this.canvas.clientWidth / 2, y: this.canvas.clientHeight / 2 }) {
		if (!this.info) return;
		const least = Math.min(1, 50 / Math.max(this.info.width, this.info.height));
		const scale = Math.min(Math.max(this.scale * factor, least), MOST_ZOOM);
		this.x += at.x / this.scale - at.x / scale;
		this.y += at.y / this.scale - at.y / scale;
		this.scale = scale;
		this.pan(0, 0);
	}

	pan(dx, dy) {
		this.x -= dx / this.scale;
		this.y -= dy / this.scale;
		this.fitted = false;
		this.redraw();
	}

	// Where a place on the screen is in the picture.
	locate(x, y) {
		return { x: this.x + x / this.scale, y: this.y + y / this.scale };
	}

	// The part of the picture that is on the screen: its middle, of `most` pixels a side at most.
	middle(most) {
		const part = (start, length, whole) => {
			const [first, last] = [Math.max(Math.floor(start), 0), Math.min(Math.ceil(start + length / this.scale), whole)];
			const spare = Math.max(Math.ceil((last - first - most) / 2), 0);
			return [first + spare, last - spare];
		};
		const [top, bottom] = part(this.y, this.canvas.clientHeight, this.info.height);
		const [left, right] = part(this.x, this.canvas.clientWidth, this.info.width);
		return { top, left, bottom, right };
	}

	// A part of the picture after is another one now; null: all of it.
	refresh(box) {
		this.stamp++;
		for (const tile of this.tiles.values()) {
			if (tile.layer === "after" && (!box || overlap(tile.box, box))) tile.stale = true;
		}
		this.pending = box ? this.pending.flatMap((one) => without(one, box)) : [];
		this.redraw();
	}

	// Shows what was tried on a part in place of the page after; null: nothing.
	showTrial(box) {
		this.trial = box && { box, picture: new Image() };
		if (box) {
			this.trial.picture.onload = () => this.redraw();
			this.trial.picture.src = api.trial(this.number, `${this.info.version}.${this.stamp++}`);
		}
		this.redraw();
	}

	redraw() {
		this.frame ??= requestAnimationFrame(() => { this.frame = null; this.draw(); });
	}

	draw() {
		const { context, canvas, ratio } = this;
		context.resetTransform();
		context.clearRect(0, 0, canvas.width, canvas.height);
		if (!this.info) return;
		const scale = this.scale * ratio;
		context.setTransform(scale, 0, 0, scale, -this.x * scale, -this.y * scale);
		context.imageSmoothingEnabled = scale < 2;
		if (this.show === "compare") {
			const edge = this.x + (this.split * canvas.width) / scale;
			this.clipped([{ top: 0, left: -Infinity, bottom: this.info.height, right: edge }], () => this.drawLayer("before"));
			this.clipped([{ top: 0, left: edge, bottom: this.info.height, right: Infinity }], () => this.drawLayer("after"));
			context.fillStyle = "#fff";
			context.fillRect(edge - 1 / scale, this.y, 2 / scale, canvas.height / scale);
		} else {
			this.drawLayer(this.show === "result" ? "after" : "before");
			if (this.show === "mask" || this.whole) this.drawMask();
			else if (this.show === "result") this.clipped([...this.pending, this.stroke ?? []].flat(), () => this.drawMask());
		}
		this.onDraw?.();
		this.drawCandidates(scale);
		this.drawDraft(scale);
	}

	clipped(boxes, draw) {
		const { context, info } = this;
		context.save();
		context.beginPath();
		for (const { top, left, bottom, right } of boxes) {
			const [x, end] = [Math.max(left, 0), Math.min(right, info.width)];
			if (x < end) context.rect(x, top, end - x, bottom - top);
		}
		context.clip();
		draw();
		context.restore();
	}

	// Numbers of the rows and columns of squares that are on the screen.
	*visible(side) {
		const { width, height } = this.info;
		const [right, bottom] = [this.x + this.canvas.clientWidth / this.scale, this.y + this.canvas.clientHeight / this.scale];
		const last = (end, length) => Math.min(Math.ceil(end / side), Math.ceil(length / side));
		for (let row = Math.max(Math.floor(this.y / side), 0); row < last(bottom, height); row++) {
			for (let column = Math.max(Math.floor(this.x / side), 0); column < last(right, width); column++) yield [row, column];
		}
	}

	drawLayer(layer) {
		const { tile: side, levels } = this.info;
		const level = Math.min(Math.max(Math.floor(Math.log2(1 / (this.scale * this.ratio))), 0), levels - 1);
		for (const [row, column] of this.visible(side * 2 ** level)) {
			const tile = this.tile(layer, level, row, column);
			if (tile.picture) this.drawTile(tile, tile.box);
			else this.drawCoarser(tile, level, row, column);
		}
		if (layer === "after" && this.trial?.picture.naturalWidth) this.context.drawImage(this.trial.picture, ...sides(this.trial.box));
	}

	drawTile(tile, { top, left, bottom, right }) {
		const step = 2 ** tile.level;
		const [x, y] = [(left - tile.box.left) / step, (top - tile.box.top) / step];
		const [width, height] = [(right - left) / step, (bottom - top) / step];
		this.context.drawImage(tile.picture, x, y, width, height, left, top, right - left, bottom - top);
	}

	// What is there already of a tile that isn't: a part of a coarser one.
	drawCoarser(tile, level, row, column) {
		for (let up = level + 1; up < this.info.levels; up++) {
			const found = this.tiles.get(`${tile.layer}/${up}/${row >> (up - level)}/${column >> (up - level)}`);
			if (found?.picture) return this.drawTile(found, tile.box);
		}
	}

	tile(layer, level, row, column) {
		const key = `${layer}/${level}/${row}/${column}`;
		const side = this.info.tile * 2 ** level;
		const [top, left] = [row * side, column * side];
		const box = { top, left, bottom: Math.min(top + side, this.info.height), right: Math.min(left + side, this.info.width) };
		const tile = this.tiles.get(key) ?? { layer, level, box, stale: true };
		this.tiles.delete(key);
		this.tiles.set(key, tile); // as the newest
		if (this.tiles.size > MOST_TILES) this.tiles.delete(this.tiles.keys().next().value);
		if (tile.stale) {
			tile.stale = false;
			const picture = new Image();
			tile.asked = picture;
			picture.onload = () => { if (tile.asked === picture) { tile.picture = picture; this.redraw(); } };
			picture.onerror = () => { if (tile.asked === picture) setTimeout(() => { tile.stale = true; this.redraw(); }, 1000); };
			const version = `${this.info.version}.${this.info.channel}.${layer === "after" ? `${this.info.revision}.${this.stamp}` : 0}`;
			picture.src = api.tile(this.number, this.page, layer, level, row, column, version);
		}
		return tile;
	}

	drawMask() {
		const { context, mask } = this;
		context.globalAlpha = this.opacity;
		for (const [row, column] of this.visible(SIDE)) {
			const number = row * mask.columns + column;
			if (mask.tiles.has(number)) context.drawImage(this.overlay(number), column * SIDE, row * SIDE);
		}
		context.globalAlpha = 1;
	}

	overlay(number) {
		let overlay = this.overlays.get(number);
		if (overlay && !this.mask.dirty.has(number)) return overlay;
		this.mask.dirty.delete(number);
		if (!overlay) {
			overlay = Object.assign(document.createElement("canvas"), { width: SIDE, height: SIDE });
			this.overlays.set(number, overlay);
		}
		const picture = new ImageData(SIDE, SIDE);
		const pixels = new Uint32Array(picture.data.buffer);
		const [color] = new Uint32Array(new Uint8Array([255, 0, 200, 255]).buffer);
		this.mask.tiles.get(number).forEach((value, i) => { if (value) pixels[i] = color; });
		overlay.getContext("2d").putImageData(picture, 0, 0);
		return overlay;
	}

	drawCandidates(scale) {
		for (const { box: [top, left, bottom, right], runs, taken } of this.candidates) {
			const [radius, pixel] = [Math.hypot(bottom - top, right - left) / 2 + 2, this.ratio / scale];
			const path = new Path2D();
			if (radius < 30 * pixel) path.arc((left + right) / 2, (top + bottom) / 2, Math.max(radius, 7 * pixel), 0, 2 * Math.PI);
			for (let i = 0; i < runs.length; i += 3) path.rect(runs[i + 1], runs[i], runs[i + 2] - runs[i + 1] + 1, 1);
			this.outline(path, scale, taken ? "#ff00c8" : "#fff");
		}
	}

	drawDraft(scale) {
		const path = new Path2D();
		if (this.trial) path.rect(...sides(this.trial.box));
		if (this.draft) {
			this.draft.forEach(({ x, y }, i) => (i ? path.lineTo(x, y) : path.moveTo(x, y)));
		} else if (this.brush) {
			path.moveTo(this.brush.x + this.size / 2, this.brush.y);
			path.arc(this.brush.x, this.brush.y, this.size / 2, 0, 2 * Math.PI);
		}
		this.outline(path, scale, "#fff");
	}

	outline(path, scale, color) {
		const { context, ratio } = this;
		for (const [width, style] of [[3, "#000a"], [1.5, color]]) {
			context.lineWidth = (width * ratio) / scale;
			context.strokeStyle = style;
			context.stroke(path);
		}
	}
}

// The smallest box around two, of which the first may be null.
export function union(a, b) {
	return a ? {
		top: Math.min(a.top, b.top), left: Math.min(a.left, b.left),
		bottom: Math.max(a.bottom, b.bottom), right: Math.max(a.right, b.right),
	} : b;
}

const sides = ([top, left, bottom, right]) => [left, top, right - left, bottom - top];

function overlap(a, b) {
	return a.top < b.bottom && b.top < a.bottom && a.left < b.right && b.left < a.right;
}

// What is left of a box without another one, in up to four boxes.
function without(a, b) {
	if (!overlap(a, b)) return [a];
	const [top, bottom] = [Math.max(a.top, b.top), Math.min(a.bottom, b.bottom)];
	return [
		{ ...a, bottom: top }, { ...a, top: bottom }, { top, bottom, left: a.left, right: b.left },
		{ top, bottom, left: b.right, right: a.right },
	].filter((one) => one.top < one.bottom && one.left < one.right);
}
