// The arena: sends where this player stands, draws where everybody stands, goes dark when the session ends.
const SESSION_ENDED = 4401;
const canvas = document.getElementById("arena");
const brush = canvas.getContext("2d");
const status = document.getElementById("status");
const socketState = document.getElementById("socket-state");
const me = { x: 0.5, y: 0.5 };
const shown = new Map(); // number -> where its dot is drawn, which glides towards where the player is
let world = { you: 0, players: [] };
let socket;
let dark = false;
let waiting = false;

function connect() {
  socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}/arena`);
  socket.onopen = () => setSocket("open", "socket open");
  socket.onmessage = (event) => { world = JSON.parse(event.data); };
  socket.onclose = (event) => {
    setSocket("closed", `socket closed (${event.code})`);
    // The code says that our session may be over, or that the app cannot know: it is asked at once, and again otherwise.
    setTimeout(connectAgain, event.code === SESSION_ENDED ? 0 : 1000);
  };
}

// A socket can be lost for many reasons, and a refused handshake does not say which: the app is asked.
async function connectAgain() {
  try {
    const answer = await fetch("/me", { cache: "no-store" });
    if (answer.ok && !(await answer.json()).signed_in) return goDark();
  } catch {
    // not reachable: try again below
  }
  if (!dark) connect();
}

function setSocket(state, text) {
  socketState.dataset.state = state;
  socketState.textContent = text;
}

function goDark() {
  dark = true;
  world = { you: 0, players: [] };
  document.body.classList.add("dark");
  document.getElementById("signed-in-as").textContent = "nobody";
  document.getElementById("sign-out-everywhere").hidden = true;
  document.getElementById("signed-out").hidden = false;
  status.dataset.state = "out";
  status.textContent = "Your session ended";
}

function move(x, y) {
  me.x = Math.min(Math.max(x, 0), 1);
  me.y = Math.min(Math.max(y, 0), 1);
  if (waiting) return;
  waiting = true; // at most one message each 40 ms
  setTimeout(() => {
    waiting = false;
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify([+me.x.toFixed(4), +me.y.toFixed(4)]));
  }, 40);
}

canvas.addEventListener("pointermove", (event) => {
  const field = canvas.getBoundingClientRect();
  move((event.clientX - field.left) / field.width, (event.clientY - field.top) / field.height);
});

window.addEventListener("keydown", (event) => {
  const steps = { ArrowLeft: [-0.03, 0], ArrowRight: [0.03, 0], ArrowUp: [0, -0.05], ArrowDown: [0, 0.05] };
  const step = steps[event.key];
  if (!step || dark) return;
  event.preventDefault();
  move(me.x + step[0], me.y + step[1]);
});

function draw() {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  brush.setTransform(ratio, 0, 0, ratio, 0, 0);
  brush.clearRect(0, 0, width, height);
  const style = getComputedStyle(document.body);
  brush.strokeStyle = style.getPropertyValue("--grid");
  brush.lineWidth = 1;
  brush.beginPath();
  for (let x = 32; x < width; x += 32) { brush.moveTo(x + 0.5, 0); brush.lineTo(x + 0.5, height); }
  for (let y = 32; y < height; y += 32) { brush.moveTo(0, y + 0.5); brush.lineTo(width, y + 0.5); }
  brush.stroke();
  const present = new Set();
  for (const [number, name, x, y] of world.players) {
    present.add(number);
    const dot = shown.get(number) ?? { x, y };
    dot.x += (x - dot.x) * 0.35;
    dot.y += (y - dot.y) * 0.35;
    shown.set(number, dot);
    paint(number, name, dot.x * width, dot.y * height, style);
  }
  for (const number of shown.keys()) if (!present.has(number)) shown.delete(number);
  if (!dark || present.size || shown.size) requestAnimationFrame(draw);
}

function paint(number, name, x, y, style) {
  const mine = number === world.you;
  brush.fillStyle = `hsl(${(number * 137) % 360} 75% 55%)`;
  brush.beginPath();
  brush.arc(x, y, mine ? 13 : 10, 0, 2 * Math.PI);
  brush.fill();
  brush.fillStyle = style.getPropertyValue("--ink");
  if (mine) {
    brush.lineWidth = 2.5;
    brush.strokeStyle = brush.fillStyle;
    brush.stroke();
  }
  brush.font = "600 13px system-ui, sans-serif";
  brush.textAlign = "center";
  brush.fillText(name, x, y > 40 ? y - 20 : y + 32);
}

connect();
requestAnimationFrame(draw);
window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
