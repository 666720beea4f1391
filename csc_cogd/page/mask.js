// What is marked of a page, in tiles, and everything that was changed of it, to be undone and redone.

export const SIDE = 256; // of a tile, in pixels

export class Mask {
	constructor(width, height, packed) {
		Object.assign(this, { width, height, columns: Math.ceil(width / SIDE) });
		this.tiles = new Map(); // by number: a byte for each pixel, 0 or 1
		this.dirty = new Set(); // numbers of tiles that must be drawn anew
		this.before = new Map(); // tiles as they were before the change that is being made
		this.write(packed);
		this.before.clear();
		this.past = [];
		this.future = [];
	}

	has(x, y) {
		const tile = this.tiles.get(this.number(x, y));
		return tile !== undefined && tile[(y % SIDE) * SIDE + (x % SIDE)] === 1;
	}

	number(x, y) {
		return Math.floor(y / SIDE) * this.columns + Math.floor(x / SIDE);
	}

	// Marks a run of pixels, or takes its marks away.
	run(y, first, last, value) {
		if (y < 0 || y >= this.height) return;
		last = Math.min(last, this.width - 1);
		for (let x = Math.max(first, 0); x <= last; ) {
			const end = Math.min(last, (Math.floor(x / SIDE) + 1) * SIDE - 1);
			const row = (y % SIDE) * SIDE;
			this.change(this.number(x, y)).fill(value, row + (x % SIDE), row + (end % SIDE) + 1);
			x = end + 1;
		}
	}

	// Marks exactly what is packed: eight pixels a byte, the first one in the highest bit.
	write(packed) {
		for (const number of this.tiles.keys()) this.change(number).fill(0);
		each(packed, (i) => {
			const [x, y] = [i % this.width, Math.floor(i / this.width)];
			this.change(this.number(x, y))[(y % SIDE) * SIDE + (x % SIDE)] = 1;
		});
	}

	// The marks of a part of the page, packed.
	pack({ top, left, bottom, right }) {
		const packed = new Uint8Array(Math.ceil(((bottom - top) * (right - left)) / 8));
		let i = 0;
		for (let y = top; y < bottom; y++) {
			for (let x = left; x < right; x++, i++) if (this.has(x, y)) packed[i >> 3] |= 128 >> (i & 7);
		}
		return packed;
	}

	// Ends a change, so that it can be undone; the box around what is different now, or null.
	commit() {
		const differences = new Map();
		for (const [number, before] of this.before) {
			const after = this.tiles.get(number);
			const flips = new Uint8Array((SIDE * SIDE) / 8);
			for (let i = 0; i < SIDE * SIDE; i++) if (before[i] !== after[i]) flips[i >> 3] |= 128 >> (i & 7);
			if (flips.some(Boolean)) differences.set(number, flips);
		}
		this.before.clear();
		if (!differences.size) return null;
		this.past.push(differences);
		this.future = [];
		return this.box(differences);
	}

	// Takes back the change that is being made.
	abandon() {
		for (const [number, before] of this.before) { this.tiles.set(number, before); this.dirty.add(number); }
		this.before.clear();
	}

	undo() { return this.flip(this.past, this.future); }
	redo() { return this.flip(this.future, this.past); }

	flip(from, to) {
		const differences = from.pop();
		if (!differences) return null;
		for (const [number, flips] of differences) {
			const tile = this.change(number);
			each(flips, (i) => { tile[i] ^= 1; });
		}
		this.before.clear();
		to.push(differences);
		return this.box(differences);
	}

	// A tile that is about to be changed.
	change(number) {
		let tile = this.tiles.get(number);
		if (!tile) this.tiles.set(number, (tile = new Uint8Array(SIDE * SIDE)));
		if (!this.before.has(number)) this.before.set(number, tile.slice());
		this.dirty.add(number);
		return tile;
	}

	box(differences) {
		const box = { top: Infinity, left: Infinity, bottom: 0, right: 0 };
		for (const [number, flips] of differences) {
			const [left, top] = [(number % this.columns) * SIDE, Math.floor(number / this.columns) * SIDE];
			each(flips, (i) => {
				const [x, y] = [left + (i % SIDE), top + Math.floor(i / SIDE)];
				box.top = Math.min(box.top, y);
				box.left = Math.min(box.left, x);
				box.bottom = Math.max(box.bottom, y + 1);
				box.right = Math.max(box.right, x + 1);
			});
		}
		return box;
	}

	count() {
		let sum = 0;
		for (const tile of this.tiles.values()) for (const value of tile) sum += value;
		return sum;
	}
}

// Calls with the number of each bit that is set.
function each(packed, call) {
	for (let byte = 0; byte < packed.length; byte++) {
		for (let bits = packed[byte], i = 8 * byte; bits; bits = (bits << 1) & 255, i++) if (bits & 128) call(i);
	}
}
