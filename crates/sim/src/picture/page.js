"use strict";
// The story, as `picture/page.rs` writes it: times in nanoseconds, texts as indices into `texts`.
const story = JSON.parse(document.getElementById("story").textContent);
const say = (i) => story.texts[i];

const NO_TIME = -1;
const messages = story.messages.map(([from, to, sent, arrived, kind, fate, what, detail]) =>
  ({ is: "message", from, to, at: sent, sent, arrived, kind, fate, what: say(what), detail: say(detail) }));
const bands = story.bands.map(([lane, at, until, kind, what, detail]) =>
  ({ is: "band", lane, at, until: until === NO_TIME ? story.to : until, open: until === NO_TIME, kind, what: say(what), detail: say(detail) }));
const reigns = story.reigns.map(([lane, at, until, epoch]) =>
  ({ is: "reign", lane, at, until: until === NO_TIME ? story.to : until, open: until === NO_TIME, epoch, what: `leads, epoch ${epoch}`, detail: "" }));
const marks = story.marks.map(([lane, at, kind, what, detail]) =>
  ({ is: "mark", lane, at, kind, what: say(what), detail: say(detail) }));
const operations = story.operations.map(([lane, at, until, outcome, witness, what, detail]) =>
  ({ is: "operation", lane, at, until: until === NO_TIME ? story.to : until, open: until === NO_TIME, outcome, witness, what: say(what), detail: say(detail) }));
const phases = story.phases.map(([at, what]) => ({ is: "phase", at, what: say(what), detail: "" }));
const violation = story.violation === null ? null
  : { is: "violation", at: story.violation[0], what: say(story.violation[1]), detail: say(story.violation[2]) };

// Colours are told apart by people who do not see red or green (Okabe and Ito), and each has a
// shape or a text of its own beside it.
const dark = matchMedia("(prefers-color-scheme: dark)").matches;
const style = getComputedStyle(document.documentElement);
const colour = (name) => style.getPropertyValue(name).trim();
const PAPER = colour("--panel"), INK = colour("--ink"), SOFT = colour("--soft"), FAINT = colour("--faint");
const LANE = colour("--lane"), RED = colour("--red");
const MESSAGE = {
  append: ["Replication", dark ? "#6cb4ff" : "#0b63b5"],
  vote: ["Election", dark ? "#f3a6d4" : "#b8448c"],
  snapshot: ["Snapshot", dark ? "#5fd0c0" : "#00806c"],
  forward: ["Forwarding, barriers", dark ? "#f2c14e" : "#b06f00"],
  link: ["Links", dark ? "#8f98a8" : "#8a8f99"],
  request: ["Clients", dark ? "#b3a4ff" : "#6a55c2"],
  other: ["Other", dark ? "#8f98a8" : "#8a8f99"],
};
const OUTCOME = {
  done: ["done", dark ? "#1f7a58" : "#bfe5d3", dark ? "#d6f5e7" : "#0b4a33"],
  refused: ["refused", dark ? "#8a5a00" : "#fbe0ac", dark ? "#ffe9c2" : "#5d3b00"],
  unknown: ["unknown", dark ? "#5b4a86" : "#dcd2f5", dark ? "#e9e2ff" : "#3d2a75"],
};
const FAULT = {
  process: ["process or machine", dark ? "#d0605e" : "#c8504d"],
  link: ["link", dark ? "#e08a3c" : "#d9731a"],
  disk: ["disk", dark ? "#a98a6d" : "#8c6a4a"],
  clock: ["clock", dark ? "#4fb3d9" : "#2a8fb8"],
};
const MARK = {
  started: ["starts", "▶"], stopped: ["stops", "■"], applied: ["applies up to", "·"],
  snapshot: ["snapshot", "◆"], fault: ["fault of a moment", "⚡"], note: ["other", "●"],
};

// Lanes.

const LABEL = 118, AXIS = 40, STRIP = 26;
const BAND_ROW = 15, LINE_ROW = 22, OP_ROW = 19;

/** Gives each item the first row in which nothing overlaps it, of at most `max` rows. */
function stack(items, max) {
  const ends = [];
  for (const item of items) {
    let row = ends.findIndex((end) => end <= item.at);
    if (row < 0) row = ends.length < max ? ends.length : max - 1;
    ends[row] = Math.max(ends[row] ?? 0, item.until);
    item.row = row;
  }
  return ends.length;
}

const lanes = story.lanes.map(([kind, name], index) => ({
  index, kind, name,
  bands: bands.filter((b) => b.lane === index).sort((a, b) => a.at - b.at),
  operations: operations.filter((o) => o.lane === index).sort((a, b) => a.at - b.at),
  reigns: reigns.filter((r) => r.lane === index),
  marks: marks.filter((m) => m.lane === index),
}));
let height = AXIS + STRIP;
for (const lane of lanes) {
  lane.rows = stack(lane.bands, 5);
  lane.opRows = stack(lane.operations, 6);
  lane.y = height;
  lane.h = lane.kind === "member"
    ? 16 + lane.rows * BAND_ROW + LINE_ROW + 30
    : 6 + lane.rows * BAND_ROW + Math.max(1, lane.opRows) * OP_ROW + 8;
  lane.line = lane.kind === "member"
    ? lane.y + 14 + lane.rows * BAND_ROW + LINE_ROW / 2
    : lane.y + lane.h - 5;
  height += lane.h;
}
height += 6;

// What is shown.

const canvas = document.getElementById("diagram");
const draw2d = canvas.getContext("2d");
const find = document.getElementById("find");
const shown = {};
let width = 0, view = { from: story.from, to: story.to };
let hits = [], held = null, over = null, needle = "";

const x = (t) => LABEL + (t - view.from) / (view.to - view.from) * (width - LABEL);
const t = (px) => view.from + (px - LABEL) / (width - LABEL) * (view.to - view.from);

function laneNames(item) {
  const names = item.is === "message" ? [item.from, item.to] : item.lane === undefined ? [] : [item.lane];
  return names.map((i) => lanes[i].name).join(" ");
}
function matches(item) {
  if (needle === "") return true;
  item.words ??= `${item.what} ${item.detail} ${laneNames(item)} ${item.kind ?? ""} ${item.outcome ?? ""}`.toLowerCase();
  return needle.split(/\s+/).every((word) => item.words.includes(word));
}
const alpha = (item, full) => (matches(item) ? full : full * 0.1);

function time(ns, digits) {
  return `${(ns / 1e9).toFixed(digits)} s`;
}
function exact(ns) {
  return `${(ns / 1e9).toFixed(6)} s`;
}
function long(ns) {
  if (ns >= 1e9) return `${(ns / 1e9).toFixed(3)} s`;
  if (ns >= 1e6) return `${(ns / 1e6).toFixed(3)} ms`;
  return `${(ns / 1e3).toFixed(1)} µs`;
}

function look(from, to) {
  const least = 2_000, whole = story.to - story.from;
  let span = Math.min(Math.max(to - from, least), whole * 1.05);
  const middle = (from + to) / 2;
  from = Math.min(Math.max(middle - span / 2, story.from - whole * 0.02), story.to + whole * 0.02 - span);
  from = Math.max(from, story.from - whole * 0.03);
  view = { from, to: from + span };
  ask();
}
function zoom(factor, px = LABEL + (width - LABEL) / 2) {
  const centre = t(px);
  look(centre - (centre - view.from) * factor, centre + (view.to - centre) * factor);
}
function toViolation() {
  if (violation === null) return look(story.from, story.to);
  const witness = operations.filter((o) => o.witness);
  const begin = Math.min(violation.at, ...witness.map((o) => o.at));
  const span = Math.max((violation.at - begin) * 1.25, 20e6);
  look(violation.at - span, violation.at + span * 0.15);
}

let asked = false;
function ask() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => { asked = false; draw(); });
}

// Drawing.

const FONT = "system-ui, -apple-system, 'Segoe UI', 'Noto Sans', 'Open Sans', sans-serif";
const pen = draw2d;
function text(words, px, py, fill, { size = 11.5, bold = false, room = Infinity, align = "left" } = {}) {
  pen.font = `${bold ? "600 " : ""}${size}px ${FONT}`;
  pen.textAlign = align;
  pen.fillStyle = fill;
  if (room < 14) return;
  if (pen.measureText(words).width > room) {
    let low = 0, high = words.length;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (pen.measureText(words.slice(0, middle) + "…").width <= room) low = middle; else high = middle - 1;
    }
    if (low < 2) return;
    words = words.slice(0, low) + "…";
  }
  pen.fillText(words, px, py);
}
function box(px, py, w, h, r) {
  pen.beginPath();
  pen.roundRect(px, py, Math.max(w, 1.5), h, Math.min(r, Math.max(w, 1.5) / 2));
}
function hatch(px, py, w, h, stroke) {
  pen.save();
  pen.beginPath();
  pen.rect(px, py, w, h);
  pen.clip();
  pen.strokeStyle = stroke;
  pen.lineWidth = 1;
  pen.beginPath();
  const first = px - h - ((px - h) % 6);
  for (let at = first; at < px + w; at += 6) { pen.moveTo(at, py + h); pen.lineTo(at + h, py); }
  pen.stroke();
  pen.restore();
}
const visible = (item) => item.at <= view.to && (item.until ?? item.at) >= view.from;
/** Cuts a stretch of time to the view, so that texts stand where they can be read. */
function span(item) {
  const left = Math.max(x(item.at), LABEL), right = Math.min(x(item.until), width);
  return [left, Math.max(right - left, 1.5)];
}

function draw() {
  const ratio = devicePixelRatio || 1;
  width = canvas.parentElement.clientWidth;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.height = `${height}px`;
  }
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.textBaseline = "middle";
  hits = [];
  drawGround();
  pen.save();
  pen.beginPath();
  pen.rect(LABEL, 0, width - LABEL, height);
  pen.clip();
  drawTime();
  for (const lane of lanes) drawTints(lane);
  drawMessages();
  for (const lane of lanes) if (lane.kind === "member") drawLine(lane);
  for (const lane of lanes) drawStrips(lane);
  for (const lane of lanes) drawOperations(lane);
  for (const lane of lanes) drawMarks(lane);
  drawViolation();
  pen.restore();
  drawLabels();
  drawStrip();
  if (over) outline(over);
}

function drawGround() {
  for (const lane of lanes) {
    if (lane.index % 2 === 0) continue;
    pen.fillStyle = LANE;
    pen.globalAlpha = 0.55;
    pen.fillRect(0, lane.y, width, lane.h);
    pen.globalAlpha = 1;
  }
  // Clients and members are two worlds: a line stands between them.
  const border = lanes.find((lane, i) => i > 0 && lanes[i - 1].kind !== lane.kind);
  if (border) { pen.fillStyle = FAINT; pen.fillRect(0, border.y, width, 1); }
}

function drawLabels() {
  for (const lane of lanes) {
    const client = lane.kind !== "member";
    const py = client ? lane.y + lane.h / 2 : lane.line;
    text(lane.name, 14, py, INK, { size: 12.5, bold: true, room: LABEL - 24 });
  }
  pen.fillStyle = FAINT;
  pen.fillRect(LABEL - 1, STRIP, 1, height - STRIP);
}

function drawTime() {
  const step = [1, 2, 5].flatMap((m) => [...Array(13).keys()].map((e) => m * 10 ** e)).sort((a, b) => a - b)
    .find((s) => s / (view.to - view.from) * (width - LABEL) >= 84) ?? 1e9;
  const digits = Math.max(0, 9 - Math.floor(Math.log10(step)));
  for (let at = Math.ceil(view.from / step) * step; at <= view.to; at += step) {
    pen.fillStyle = FAINT;
    pen.globalAlpha = 0.6;
    pen.fillRect(Math.round(x(at)), STRIP + 16, 1, height);
    pen.globalAlpha = 1;
    text(time(at, digits), x(at) + 4, STRIP + 10, SOFT, { size: 11 });
  }
  let end = -Infinity;
  for (const phase of phases) {
    if (phase.at > view.to) continue;
    const next = phases.find((p) => p.at > phase.at)?.at ?? story.to;
    if (next < view.from) continue;
    const left = Math.max(x(phase.at), LABEL);
    pen.strokeStyle = SOFT;
    pen.setLineDash([2, 3]);
    pen.beginPath(); pen.moveTo(x(phase.at), STRIP + 18); pen.lineTo(x(phase.at), height); pen.stroke();
    pen.setLineDash([]);
    if (left < end) continue;
    text(phase.what, left + 5, STRIP + 25, SOFT, { size: 11, bold: true, room: x(next) - left - 8 });
    end = left + 6;
  }
}

/** The whole lane is tinted while something is wrong; a labelled strip says what. */
function drawTints(lane) {
  for (const band of lane.bands) {
    if (!visible(band) || shown[`fault-${band.kind}`] === false) continue;
    const [left, wide] = span(band), [, ink] = FAULT[band.kind];
    const py = lane.y + 5 + band.row * BAND_ROW;
    pen.globalAlpha = alpha(band, dark ? 0.16 : 0.1);
    pen.fillStyle = ink;
    pen.fillRect(left, py, wide, lane.y + lane.h - py - 2);
    pen.globalAlpha = alpha(band, 0.8);
    if (band.kind === "process") hatch(left, lane.line - 7, wide, 14, ink);
    pen.globalAlpha = 1;
  }
}

function drawStrips(lane) {
  for (const band of lane.bands) {
    if (!visible(band) || shown[`fault-${band.kind}`] === false) continue;
    const [left, wide] = span(band), [, ink] = FAULT[band.kind];
    const py = lane.y + 5 + band.row * BAND_ROW;
    pen.globalAlpha = alpha(band, 0.85);
    pen.fillStyle = PAPER;
    box(left, py, wide, BAND_ROW - 2, 3);
    pen.fill();
    pen.globalAlpha = alpha(band, dark ? 0.5 : 0.34);
    pen.fillStyle = ink;
    pen.fill();
    pen.globalAlpha = alpha(band, 1);
    pen.fillRect(left, py, Math.min(2.5, wide), BAND_ROW - 2);
    text(band.what, left + 7, py + 7, INK, { size: 10.5, room: wide - 10 });
    pen.globalAlpha = 1;
    hits.push({ item: band, left, right: left + wide, top: py, bottom: py + BAND_ROW - 2 });
  }
}

/** The life of a member: thin while it follows, thick while it leads, away while it is down. */
function drawLine(lane) {
  const down = lane.marks.filter((m) => m.kind === "started" || m.kind === "stopped").sort((a, b) => a.at - b.at);
  let up = down.length === 0 || down[0].kind === "stopped", since = story.from;
  const stretch = (from, to, alive) => {
    if (to < view.from || from > view.to) return;
    pen.strokeStyle = alive ? SOFT : FAINT;
    pen.lineWidth = alive ? 1.6 : 1;
    pen.setLineDash(alive ? [] : [2, 5]);
    pen.beginPath(); pen.moveTo(x(from), lane.line); pen.lineTo(x(to), lane.line); pen.stroke();
    pen.setLineDash([]);
  };
  for (const mark of down) {
    stretch(since, mark.at, up);
    up = mark.kind === "started";
    since = mark.at;
  }
  stretch(since, story.to, up);
  for (const reign of lane.reigns) {
    if (!visible(reign)) continue;
    const [left, wide] = span(reign);
    pen.globalAlpha = alpha(reign, 1);
    pen.fillStyle = INK;
    box(left, lane.line - 4, wide, 8, 4);
    pen.fill();
    pen.fillStyle = PAPER;
    if (wide > 70) {
      pen.font = `600 10px ${FONT}`;
      const label = `leads ${reign.epoch}`;
      const w = pen.measureText(label).width + 12;
      box(left + 12, lane.line - 8, w, 16, 8);
      pen.fill();
      pen.strokeStyle = INK; pen.lineWidth = 1.4; pen.stroke();
      text(label, left + 18, lane.line + 0.5, INK, { size: 10, bold: true });
    }
    pen.globalAlpha = 1;
    hits.push({ item: reign, left, right: left + wide, top: lane.line - 8, bottom: lane.line + 8 });
  }
}

function arrow(px, py, qx, qy, size) {
  const angle = Math.atan2(qy - py, qx - px);
  pen.beginPath();
  pen.moveTo(qx, qy);
  pen.lineTo(qx - size * Math.cos(angle - 0.4), qy - size * Math.sin(angle - 0.4));
  pen.lineTo(qx - size * Math.cos(angle + 0.4), qy - size * Math.sin(angle + 0.4));
  pen.closePath();
  pen.fill();
}

/** Where a message leaves or reaches a lane: at a client, the operation that it belongs to. */
function foot(index, at) {
  const lane = lanes[index];
  if (lane.kind === "member") return lane.line;
  const op = lane.operations.findLast((o) => o.at <= at && o.until >= at) ?? null;
  return op === null ? lane.line : opTop(lane, op) + OP_ROW - 3;
}

/** From where to where a message is drawn; one that never arrives ends on its way, in a cross. */
function course(message) {
  message.foot ??= foot(message.from, message.sent);
  message.head ??= foot(message.to, message.arrived);
  const from = message.foot, to = message.head;
  const px = x(message.sent), py = from;
  if (message.arrived !== NO_TIME) return [px, py, x(message.arrived), to];
  const reach = Math.min(Math.abs(to - from), 34), slant = Math.min(14, Math.max(4, (width - LABEL) / 120));
  return [px, py, px + slant, from + Math.sign(to - from) * reach];
}

function drawMessages() {
  const visibles = messages.filter((m) =>
    shown[`message-${m.kind}`] !== false && m.sent <= view.to && Math.max(m.arrived, m.sent) >= view.from
    && (m.fate !== "lost" || shown.lost !== false));
  const dense = visibles.length / (width - LABEL);
  const full = Math.max(0.1, Math.min(0.85, 0.14 / dense));
  for (const message of visibles) {
    const [, ink] = MESSAGE[message.kind] ?? MESSAGE.other;
    const lost = message.arrived === NO_TIME, odd = message.fate === "altered";
    const [px, py, qx, qy] = course(message);
    pen.globalAlpha = alpha(message, lost || odd ? Math.min(1, full * 1.6) : full);
    pen.strokeStyle = pen.fillStyle = odd ? RED : ink;
    pen.lineWidth = message === over || message === held ? 2.4 : 1.1;
    if (message.fate === "again") pen.setLineDash([5, 3]);
    pen.beginPath(); pen.moveTo(px, py); pen.lineTo(qx, qy); pen.stroke();
    pen.setLineDash([]);
    if (lost) {
      pen.strokeStyle = RED;
      pen.lineWidth = 1.5;
      pen.beginPath();
      pen.moveTo(qx - 3, qy - 3); pen.lineTo(qx + 3, qy + 3);
      pen.moveTo(qx + 3, qy - 3); pen.lineTo(qx - 3, qy + 3);
      pen.stroke();
    } else if (full > 0.4) {
      arrow(px, py, qx, qy, 6);
    }
    pen.globalAlpha = 1;
    hits.push({ item: message, line: [px, py, qx, qy] });
  }
  // Words stand along an arrow only where it leans enough to be read and there is room.
  if (visibles.length > 80) return;
  for (const message of visibles) drawMessageText(message, ...course(message));
}

function drawMessageText(message, px, py, qx, qy) {
  const angle = Math.atan2(qy - py, qx - px), room = Math.hypot(qx - px, qy - py) - 26;
  if (room < 40 || Math.abs(qx - px) < 40 || !matches(message)) return;
  const [, ink] = MESSAGE[message.kind] ?? MESSAGE.other;
  const back = Math.abs(angle) > Math.PI / 2;
  pen.save();
  pen.translate((px + qx) / 2, (py + qy) / 2);
  pen.rotate(back ? angle + Math.PI : angle);
  text(message.what, 0, -7, ink, { size: 10, room, align: "center" });
  pen.restore();
}

const opTop = (lane, op) => lane.y + 5 + lane.rows * BAND_ROW + op.row * OP_ROW;

function drawOperations(lane) {
  for (const op of lane.operations) {
    if (!visible(op) || shown[`outcome-${op.outcome}`] === false) continue;
    const [left, wide] = span(op);
    const [, fill, ink] = OUTCOME[op.outcome];
    const py = opTop(lane, op);
    pen.globalAlpha = alpha(op, 1);
    pen.fillStyle = fill;
    box(left, py, wide, OP_ROW - 3, 4);
    pen.fill();
    if (op.outcome === "unknown") {
      pen.save(); pen.clip();
      pen.globalAlpha *= 0.35;
      hatch(left, py, wide, OP_ROW - 3, ink);
      pen.restore();
    }
    if (op.witness) { pen.strokeStyle = RED; pen.lineWidth = 2; box(left, py, wide, OP_ROW - 3, 4); pen.stroke(); }
    text(op.what, left + 5, py + 8.5, ink, { size: 11, room: wide - 8, bold: op.witness === 1 });
    pen.globalAlpha = 1;
    hits.push({ item: op, left, right: left + wide, top: py, bottom: py + OP_ROW - 3 });
  }
}

function drawMarks(lane) {
  let free = -Infinity;
  const busy = lane.marks.filter(visible).length / (width - LABEL) > 0.12;
  for (const mark of lane.marks) {
    if (!visible(mark) || shown[`mark-${mark.kind}`] === false) continue;
    const px = x(mark.at);
    pen.globalAlpha = alpha(mark, 1);
    if (mark.kind === "applied") {
      pen.fillStyle = SOFT;
      if (px >= free || !busy) pen.fillRect(px, lane.line + 5, 1, 5);
      if (px >= free) {
        text(mark.what, px + 3, lane.line + 15, SOFT, { size: 9.5 });
        free = px + pen.measureText(mark.what).width + (busy ? 40 : 10);
      }
      hits.push({ item: mark, left: px - 3, right: px + 6, top: lane.line + 6, bottom: lane.line + 22 });
    } else {
      const ink = mark.kind === "fault" || mark.kind === "stopped" ? RED : INK;
      pen.fillStyle = PAPER;
      pen.beginPath(); pen.arc(px, lane.line, 8, 0, 7); pen.fill();
      pen.strokeStyle = ink; pen.lineWidth = 1.2; pen.stroke();
      text(MARK[mark.kind][1], px, lane.line + 0.5, ink, { size: mark.kind === "snapshot" ? 10 : 9, align: "center" });
      hits.push({ item: mark, left: px - 8, right: px + 8, top: lane.line - 8, bottom: lane.line + 8 });
    }
    pen.globalAlpha = 1;
  }
}

function drawViolation() {
  if (violation === null) return;
  const px = x(violation.at);
  if (px < LABEL - 4 || px > width + 4) return;
  pen.strokeStyle = RED;
  pen.lineWidth = 2;
  pen.beginPath(); pen.moveTo(px, STRIP + 2); pen.lineTo(px, height); pen.stroke();
  pen.font = `600 11px ${FONT}`;
  const label = `✗ ${violation.what}`;
  const wide = pen.measureText(label).width + 14;
  const left = Math.min(px, width - wide);
  pen.fillStyle = RED;
  box(left, STRIP + 17, wide, 18, 4);
  pen.fill();
  text(label, left + 7, STRIP + 26.5, PAPER, { size: 11, bold: true });
  hits.push({ item: violation, left, right: left + wide, top: STRIP + 17, bottom: STRIP + 35 });
}

/** The whole window in small: faults by kind, the violation, and what is in view. */
function drawStrip() {
  const place = (at) => LABEL + (at - story.from) / (story.to - story.from) * (width - LABEL);
  pen.fillStyle = LANE;
  pen.fillRect(0, 0, width, STRIP);
  text("whole window", 14, STRIP / 2, SOFT, { size: 11 });
  const kinds = Object.keys(FAULT);
  for (const band of bands) {
    const row = kinds.indexOf(band.kind);
    pen.fillStyle = FAULT[kinds[Math.max(row, 0)]][1];
    pen.globalAlpha = 0.55;
    const left = Math.max(place(band.at), LABEL);
    pen.fillRect(left, 3 + Math.max(row, 0) * 5, Math.max(place(band.until) - left, 2), 4);
  }
  pen.globalAlpha = 1;
  if (violation) { pen.fillStyle = RED; pen.fillRect(place(violation.at) - 1, 0, 2, STRIP); }
  const left = place(view.from), right = place(view.to);
  pen.strokeStyle = INK;
  pen.lineWidth = 1.3;
  box(Math.max(left, LABEL), 1, Math.min(right, width - 1) - Math.max(left, LABEL), STRIP - 2, 3);
  pen.globalAlpha = 0.07;
  pen.fillStyle = INK; pen.fill();
  pen.globalAlpha = 0.8;
  pen.stroke();
  pen.globalAlpha = 1;
}

function outline(item) {
  const hit = hits.find((h) => h.item === item);
  if (!hit) return;
  pen.strokeStyle = INK;
  pen.lineWidth = 2;
  if (hit.line) {
    const [px, py, qx, qy] = hit.line;
    pen.beginPath(); pen.moveTo(px, py); pen.lineTo(qx, qy); pen.stroke();
    pen.fillStyle = INK;
    if (item.arrived !== NO_TIME) arrow(px, py, qx, qy, 8);
  } else {
    box(hit.left - 1, hit.top - 1, hit.right - hit.left + 2, hit.bottom - hit.top + 2, 4);
    pen.stroke();
  }
}

// Hovering.

function distance([px, py, qx, qy], mx, my) {
  const dx = qx - px, dy = qy - py, length = dx * dx + dy * dy || 1;
  const at = Math.max(0, Math.min(1, ((mx - px) * dx + (my - py) * dy) / length));
  return Math.hypot(px + at * dx - mx, py + at * dy - my);
}
function under(mx, my) {
  if (mx < LABEL || my < STRIP) return null;
  for (let i = hits.length - 1; i >= 0; i -= 1) {
    const hit = hits[i];
    if (!hit.line && mx >= hit.left - 1 && mx <= hit.right + 1 && my >= hit.top && my <= hit.bottom) return hit.item;
  }
  let best = null, nearest = 6;
  for (const hit of hits) {
    if (!hit.line) continue;
    const far = distance(hit.line, mx, my) + (matches(hit.item) ? 0 : 4);
    if (far < nearest) { nearest = far; best = hit.item; }
  }
  return best;
}

const tip = document.createElement("div");
tip.className = "tip";
tip.hidden = true;
document.body.append(tip);
const when = (item) => item.open ? `from ${exact(item.at)} until after the end of this window`
  : `${exact(item.at)} to ${exact(item.until)} (${long(item.until - item.at)})`;
function tell(item) {
  const fate = { lost: "lost on its way", altered: "altered on its way", again: "arrives a second time", refused: "nobody was there to take it" };
  switch (item.is) {
    case "message": {
      const route = `${lanes[item.from].name} → ${lanes[item.to].name}`;
      const came = item.arrived === NO_TIME ? fate[item.fate] ?? "still under way at the end of this window"
        : `arrived ${exact(item.arrived)}, after ${long(item.arrived - item.sent)}${fate[item.fate] ? `; ${fate[item.fate]}` : ""}`;
      return [`${route}: ${item.what}`, `sent ${exact(item.sent)}; ${came}\n${item.detail}`];
    }
    case "band": return [`${lanes[item.lane].name}: ${item.what}`, `${when(item)}\n${item.detail}`];
    case "reign": return [`${lanes[item.lane].name} ${item.what}`, when(item)];
    case "operation": return [`${lanes[item.lane].name}: ${item.what}`,
      `${OUTCOME[item.outcome][0]}${item.witness ? ", part of the violation" : ""}; ${when(item)}\n${item.detail}`];
    case "mark": return [`${lanes[item.lane].name}: ${MARK[item.kind][0]} ${item.what}`, `${exact(item.at)}\n${item.detail}`];
    case "violation": return [item.what, `${exact(item.at)}\n${item.detail}`];
    default: return [item.what, exact(item.at)];
  }
}
function showTip(item, cx, cy) {
  tip.hidden = item === null;
  if (item === null) return;
  const [head, body] = tell(item);
  const b = document.createElement("b"), div = document.createElement("div");
  b.textContent = head;
  div.textContent = body.trim();
  tip.replaceChildren(b, div);
  const { width: w, height: h } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(8, Math.min(cx + 14, innerWidth - w - 8))}px`;
  tip.style.top = `${cy + h + 24 > innerHeight ? Math.max(8, cy - h - 12) : cy + 16}px`;
}

let drag = null;
canvas.addEventListener("pointerdown", (e) => {
  const strip = e.offsetY < STRIP;
  drag = { px: e.clientX, from: view.from, to: view.to, moved: false, strip };
  canvas.setPointerCapture(e.pointerId);
  if (strip) centre(e.offsetX);
});
function centre(px) {
  const at = story.from + (px - LABEL) / (width - LABEL) * (story.to - story.from), half = (view.to - view.from) / 2;
  look(at - half, at + half);
}
canvas.addEventListener("pointermove", (e) => {
  if (drag?.strip) return centre(e.offsetX);
  if (drag) {
    const by = (drag.px - e.clientX) / (width - LABEL) * (drag.to - drag.from);
    if (Math.abs(drag.px - e.clientX) > 3) { drag.moved = true; canvas.classList.add("held"); }
    if (drag.moved) look(drag.from + by, drag.to + by);
    return;
  }
  if (held) return;
  const item = under(e.offsetX, e.offsetY);
  if (item !== over) { over = item; ask(); }
  showTip(item, e.clientX, e.clientY);
});
canvas.addEventListener("pointerup", (e) => {
  canvas.classList.remove("held");
  if (drag && !drag.moved && !drag.strip) {
    const item = under(e.offsetX, e.offsetY);
    held = held === item ? null : item;
    over = item;
    showTip(item, e.clientX, e.clientY);
    ask();
  }
  drag = null;
});
canvas.addEventListener("pointerleave", () => { if (!held) { over = null; showTip(null); ask(); } });
canvas.addEventListener("wheel", (e) => {
  e.preventDefault();
  const across = e.shiftKey || Math.abs(e.deltaX) > Math.abs(e.deltaY);
  if (across) {
    const by = (e.deltaX || e.deltaY) / (width - LABEL) * (view.to - view.from);
    look(view.from + by, view.to + by);
  } else {
    zoom(Math.exp(Math.max(-60, Math.min(60, e.deltaY)) / 220), Math.max(e.offsetX, LABEL));
  }
}, { passive: false });
canvas.addEventListener("dblclick", (e) => zoom(0.4, e.offsetX));
addEventListener("keydown", (e) => {
  if (e.target === find || e.ctrlKey || e.metaKey || e.altKey) return;
  const by = (view.to - view.from) * 0.2;
  const keys = {
    ArrowLeft: () => look(view.from - by, view.to - by), ArrowRight: () => look(view.from + by, view.to + by),
    "+": () => zoom(0.6), "=": () => zoom(0.6), "-": () => zoom(1.6),
    0: () => look(story.from, story.to), v: toViolation, Escape: () => { held = over = null; showTip(null); ask(); },
  };
  if (keys[e.key]) { e.preventDefault(); keys[e.key](); }
});
addEventListener("resize", ask);
document.getElementById("to-violation").onclick = toViolation;
document.getElementById("to-violation").hidden = violation === null;
document.getElementById("whole").onclick = () => look(story.from, story.to);
document.getElementById("closer").onclick = () => zoom(0.5);
document.getElementById("farther").onclick = () => zoom(2);
find.addEventListener("input", () => { needle = find.value.trim().toLowerCase(); ask(); fillList(); });

// The legend, which also chooses what is shown.

function swatch(inner) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("width", 26);
  svg.setAttribute("height", 12);
  svg.innerHTML = inner;
  return svg;
}
function legend() {
  const place = document.getElementById("legend");
  const row = (title, entries) => {
    if (entries.length === 0) return;
    const group = document.createElement("div"), h = document.createElement("h2");
    group.className = "group";
    h.textContent = title;
    group.append(h);
    for (const [key, sign, words] of entries) {
      const entry = document.createElement(key ? "label" : "span");
      if (key) {
        const tick = document.createElement("input");
        tick.type = "checkbox";
        tick.checked = true;
        tick.onchange = () => { shown[key] = tick.checked; ask(); };
        entry.append(tick);
      }
      entry.append(swatch(sign), words);
      group.append(entry);
    }
    place.append(group);
  };
  const used = (table, items, by) => Object.entries(table).filter(([key]) => items.some((item) => item[by] === key));
  const line = (ink, more = "") => `<path d="M2 6H20" stroke="${ink}" stroke-width="1.6" ${more}/>`;
  row("Clients", used(OUTCOME, operations, "outcome").map(([key, [words, fill]]) =>
    [`outcome-${key}`, `<rect y="1" width="24" height="10" rx="3" fill="${fill}"/>`, words])
    .concat([[null, `<rect x="1" y="1" width="22" height="10" rx="3" fill="none" stroke="${RED}" stroke-width="2"/>`, "part of the violation"]]));
  row("Members", [
    [null, line(SOFT), "follows"], [null, `<rect y="3" width="24" height="7" rx="3" fill="${INK}"/>`, "leads, with its epoch"],
    [null, line(FAINT, 'stroke-dasharray="2 4"'), "down"],
    ...used(MARK, marks, "kind").map(([key, [words, sign]]) =>
      [`mark-${key}`, `<text x="8" y="10" font-size="11" fill="${key === "fault" || key === "stopped" ? RED : INK}">${sign}</text>`, key === "applied" ? "applied index" : words]),
  ]);
  row("Faults", used(FAULT, bands, "kind").map(([key, [words, ink]]) =>
    [`fault-${key}`, `<rect y="1" width="24" height="10" rx="2" fill="${ink}" fill-opacity=".3"/><rect y="1" width="2.5" height="10" fill="${ink}"/>`, words]));
  row("Messages", used(MESSAGE, messages, "kind").map(([key, [words, ink]]) =>
    [`message-${key}`, `${line(ink)}<path d="M24 6l-6-3v6z" fill="${ink}"/>`, words]).concat([
    ["lost", `${line(SOFT)}<path d="M18 3l6 6m0-6l-6 6" stroke="${RED}" stroke-width="1.6"/>`, "lost or refused"],
    [null, `${line(SOFT, 'stroke-dasharray="5 3"')}`, "arrives again"], [null, line(RED), "altered"]]));
}

// The same as text.

const LIST_MAX = 1_500;
function fillList() {
  const items = [...bands, ...reigns, ...operations, ...marks.filter((m) => m.kind !== "applied"), ...phases, ...(violation ? [violation] : [])]
    .filter(matches).sort((a, b) => a.at - b.at);
  const rows = document.createDocumentFragment();
  for (const item of items.slice(0, LIST_MAX)) {
    const row = document.createElement("tr");
    const words = {
      band: "fault", reign: "leads", operation: item.outcome, mark: item.is === "mark" ? MARK[item.kind][0] : "", phase: "phase", violation: "violation",
    }[item.is];
    const who = item.lane === undefined ? "" : lanes[item.lane].name;
    for (const cell of [time(item.at, 6), who, words, `${item.what}${item.detail ? `  ${item.detail}` : ""}`]) {
      row.insertCell().textContent = cell;
    }
    if (item.is === "violation" || item.witness) row.className = "bad";
    row.onclick = () => {
      const half = Math.min((view.to - view.from) / 2, 50e6);
      look(item.at - half, item.at + half);
      over = item;
      canvas.scrollIntoView({ block: "nearest" });
    };
    rows.append(row);
  }
  if (items.length > LIST_MAX) {
    const row = document.createElement("tr");
    row.insertCell().textContent = "…";
    row.insertCell().textContent = `${items.length - LIST_MAX} more`;
    rows.append(row);
  }
  document.getElementById("list").replaceChildren(rows);
}

legend();
fillList();
draw();
toViolation();
