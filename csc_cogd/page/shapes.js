// Shapes as runs of pixels: each calls `run(y, x0, x1)` with the first and last column of a row. A pixel belongs to a shape
// if its middle does.

// What a round brush of a diameter covers on its way from a to b.
export function stroke(a, b, diameter, run) {
	const r = Math.max(diameter / 2, 0.5);
	const [dx, dy] = [b.x - a.x, b.y - a.y];
	const length = Math.hypot(dx, dy) || 1;
	const [nx, ny] = [(-dy / length) * r, (dx / length) * r];
	const corners = [[a.x + nx, a.y + ny], [b.x + nx, b.y + ny], [b.x - nx, b.y - ny], [a.x - nx, a.y - ny]];
	for (let y = Math.floor(Math.min(a.y, b.y) - r); y <= Math.max(a.y, b.y) + r; y++) {
		const middle = y + 0.5;
		let [low, high] = [Infinity, -Infinity];
		const reach = (x0, x1) => { low = Math.min(low, x0); high = Math.max(high, x1); };
		for (const end of [a, b]) {
			const half = Math.sqrt(r * r - (middle - end.y) ** 2);
			if (half >= 0) reach(end.x - half, end.x + half);
		}
		for (const x of crossings(corners, middle)) reach(x, x);
		span(y, low, high, run);
	}
	if (diameter <= 1) run(Math.floor(b.y), Math.floor(b.x), Math.floor(b.x));
}

// The inside of a closed polygon of points {x, y}.
export function polygon(points, run) {
	const corners = points.map(({ x, y }) => [x, y]);
	const rows = corners.map(([, y]) => y);
	const [top, bottom] = [rows.reduce((a, b) => Math.min(a, b)), rows.reduce((a, b) => Math.max(a, b))];
	for (let y = Math.floor(top); y <= bottom; y++) {
		const found = crossings(corners, y + 0.5).sort((one, other) => one - other);
		for (let i = 0; i + 1 < found.length; i += 2) span(y, found[i], found[i + 1], run);
	}
}

function crossings(corners, y) {
	const found = [];
	for (let i = 0; i < corners.length; i++) {
		const [[x0, y0], [x1, y1]] = [corners[i], corners[(i + 1) % corners.length]];
		if (y0 <= y !== y1 <= y) found.push(x0 + ((y - y0) / (y1 - y0)) * (x1 - x0));
	}
	return found;
}

function span(y, low, high, run) {
	const [first, last] = [Math.ceil(low - 0.5), Math.floor(high - 0.5)];
	if (first <= last) run(y, first, last);
}
