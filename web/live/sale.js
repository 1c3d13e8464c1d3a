// The sale on the page at /: free places of a show, as they go. The show is named behind the # of the address, beside the token.
const given = new URLSearchParams(location.hash.slice(1));
const show = given.get('show');
const token = given.get('token');
const $ = (id) => document.getElementById(id);

async function get(path) {
  const reply = await fetch(`/v1/boxoffice/${path}`, { headers: { Authorization: `Bearer ${token}` } });
  if (!reply.ok) throw new Error((await reply.json()).detail);
  return reply.json();
}

function draw({ zones }) {
  $('zones').replaceChildren(
    ...zones.map((zone) => {
      const row = document.createElement('div');
      const name = document.createElement('span');
      const meter = document.createElement('meter');
      const free = document.createElement('output');
      name.textContent = zone.name;
      meter.max = Math.max(1, zone.capacity);
      meter.value = zone.free;
      meter.low = zone.capacity / 10;
      free.textContent = `${zone.free.toLocaleString('en')} of ${zone.capacity.toLocaleString('en')} free`;
      row.append(name, meter, free);
      return row;
    })
  );
  const all = zones.reduce((sum, zone) => sum + zone.free, 0);
  if (drawn.at(-1) !== all) drawn.push(all);
  $('zones').dataset.free = drawn.slice(-100).join(' ');
}

const drawn = []; // how many were free, as it changed

function follow(wait = 500) {
  const socket = new WebSocket(`${location.origin.replace(/^http/, 'ws')}/v1/ws`, 'usher.v1');
  socket.onopen = () => socket.send(JSON.stringify({ op: 'auth', token, ref: 1 }));
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.op === 'welcome')
      socket.send(JSON.stringify({ op: 'subscribe', sub: 'sale', types: [`show.${show}.availability`], ref: 2 }));
    else if (message.op === 'signal') draw(message.data);
    else if (message.op === 'error') $('problem').textContent = message.problem.detail;
  };
  socket.onclose = ({ code }) => {
    if (code < 4400 || code === 4503) setTimeout(() => follow(Math.min(10000, wait * 2)), wait * (0.5 + Math.random()));
  };
}

if (show && token) {
  $('sale').hidden = false;
  get(`shows/${show}`)
    .then(async ({ event, starts_local }) => {
      const { title, venue } = await get(`events/${event}`);
      $('title').textContent = [title, venue, starts_local.replace('T', ' ').slice(0, 16)].filter(Boolean).join(' · ');
    })
    .catch((error) => ($('problem').textContent = error.message));
  follow();
}
