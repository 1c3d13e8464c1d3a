// The page at /: events as they are committed. The token stays in this page: it is taken out of the address at once.
import { EventWebSocket } from './event-websocket.js';

const ROWS = 200;
const SECONDS = 120;
const $ = (id) => document.getElementById(id);
const list = (text) => text.split(',').map((part) => part.trim()).filter(Boolean);

let live = null;
let subscription = null;
let paused = false;
let count = 0;
let lag = null;
let position = null;
let arrived = []; // not shown yet
const seconds = new Array(SECONDS).fill(0); // the last is now

function follow() {
  live?.close();
  $('problem').textContent = '';
  lag = null;
  const token = $('token').value.trim();
  const after = $('after').value.trim();
  live = new EventWebSocket(location.origin, token ? { token } : {});
  live.on('state', (state) => {
    $('state').textContent = state;
    $('state').className = state;
  });
  live.on('error', (error) => ($('problem').textContent = error.message));
  live.on('gone', ({ oldest }) => ($('problem').textContent = `events before ${oldest} were removed by retention`));
  const types = list($('types').value);
  subscription = live.subscribe(types.includes('*') ? [] : types, {
    streams: list($('streams').value),
    ...(/^\d+$/.test(after) ? { after: Number(after) } : {}),
    handler: take,
  });
  live.connect();
}

function take(event) {
  count++;
  seconds[SECONDS - 1]++;
  position = event.position;
  // of what was recorded before anybody followed it tells nothing
  if (subscription.live) lag = Date.now() - Date.parse(event.recorded_at.replace(' ', 'T').replace(/([+-]\d\d)$/, '$1:00'));
  if (paused) return;
  arrived.push(event);
  if (arrived.length === 1) requestAnimationFrame(show);
  if (arrived.length > 2 * ROWS) arrived.splice(0, arrived.length - ROWS);
}

function row(event) {
  const tr = document.createElement('tr');
  const time = event.recorded_at.slice(11, 23);
  for (const text of [event.position, time, event.type, event.stream ?? event.topic ?? '', JSON.stringify(event.data)])
    tr.insertCell().textContent = text;
  tr.title = JSON.stringify(event.metadata);
  return tr;
}

function show() {
  const rows = arrived.slice(-ROWS).reverse().map(row);
  arrived = [];
  $('events').prepend(...rows);
  while ($('events').rows.length > ROWS) $('events').deleteRow(-1);
}

function draw() {
  const canvas = $('chart');
  const context = canvas.getContext('2d');
  const most = Math.max(1, ...seconds);
  const width = canvas.width / SECONDS;
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = '#2a6fb0';
  seconds.forEach((n, i) => context.fillRect(i * width, canvas.height * (1 - n / most), width - 1, (canvas.height * n) / most));
}

// The last whole second is the rate; a lag tells nothing about a log in which nothing happens.
setInterval(() => {
  $('count').textContent = count.toLocaleString('en');
  $('rate').textContent = seconds[SECONDS - 1].toLocaleString('en');
  $('lag').textContent = seconds[SECONDS - 1] && lag !== null ? `${Math.max(0, lag).toLocaleString('en')} ms` : '–';
  $('position').textContent = position ?? '–';
  draw();
  seconds.shift();
  seconds.push(0);
}, 1000);

$('wish').addEventListener('submit', (submit) => {
  submit.preventDefault();
  follow();
});
$('pause').addEventListener('click', () => {
  paused = !paused;
  $('pause').textContent = paused ? 'Go on' : 'Pause';
});

const given = new URLSearchParams(location.hash.slice(1));
for (const name of ['token', 'types', 'streams', 'after']) if (given.has(name)) $(name).value = given.get(name);
if (location.hash) history.replaceState(null, '', location.pathname);
if (given.has('token')) follow();
