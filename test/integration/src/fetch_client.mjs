// test/integration/src/fetch_client.mjs: usherd through the fetch of Node and of browsers; the same code in both.
//
// run(base, token, stream) returns a list of [name, what is wrong or null].

async function attempt(findings, name, check) {
  try {
    findings.push([name, (await check()) || null]);
  } catch (error) {
    findings.push([name, String(error && error.cause ? `${error}: ${error.cause}` : error)]);
  }
}

export async function run(base, token, stream) {
  const findings = [];
  const url = `${base}/v1/streams/${stream}/events`;
  const authorized = { Authorization: `Bearer ${token}` };
  const append = (body, headers = {}) =>
    fetch(url, {
      method: 'POST',
      headers: { ...authorized, 'Content-Type': 'application/json', ...headers },
      body: JSON.stringify(body),
    });

  await attempt(findings, 'append', async () => {
    const reply = await append({ type: 'order.placed', data: { text: 'Grüße, 世界 🙂' } });
    const { events } = await reply.json();
    if (reply.status !== 201 || events[0].version !== 1) return `${reply.status} ${JSON.stringify(events)}`;
    return Number(reply.headers.get('Usher-Position')) === events[0].position
      ? null
      : `Usher-Position is ${reply.headers.get('Usher-Position')}, the event's position ${events[0].position}`;
  });

  await attempt(findings, 'forty appends at once', async () => {
    const replies = await Promise.all(
      Array.from({ length: 40 }, (_, n) => append({ type: 'order.changed', data: { n } })),
    );
    const versions = new Set();
    for (const reply of replies) {
      if (reply.status !== 201) return `${reply.status} ${await reply.text()}`;
      versions.add((await reply.json()).events[0].version);
    }
    return versions.size === 40 && Math.max(...versions) === 41 ? null : `versions ${[...versions]}`;
  });

  await attempt(findings, 'an append that is repeated', async () => {
    const body = { type: 'order.paid', data: {} };
    const headers = { 'Idempotency-Key': `${stream}-paid` };
    const first = await append(body, headers);
    const second = await append(body, headers);
    const [one, two] = [await first.json(), await second.json()];
    if (second.headers.get('Idempotency-Replayed') !== 'true') return `the second is no repeat: ${second.status}`;
    return one.events[0].position === two.events[0].position ? null : 'it was appended twice';
  });

  await attempt(findings, 'a version that is wrong', async () => {
    const reply = await append({ type: 'order.paid', data: {} }, { 'Expected-Version': '7' });
    const problem = await reply.json();
    return reply.status === 412 && problem.status === 412 ? null : `${reply.status} ${JSON.stringify(problem)}`;
  });

  await attempt(findings, 'read', async () => {
    const reply = await fetch(`${url}?max=10`, { headers: authorized });
    const page = await reply.json();
    if (reply.status !== 200 || page.items.length !== 10 || !page.has_more) return `${reply.status} ${page.items.length} items`;
    return page.items[0].data.text === 'Grüße, 世界 🙂' ? null : `the text came back as ${page.items[0].data.text}`;
  });

  await attempt(findings, 'read on', async () => {
    let from = 1;
    let count = 0;
    for (let pages = 0; pages < 10; pages++) {
      const page = await (await fetch(`${url}?max=20&from=${from}`, { headers: authorized })).json();
      count += page.items.length;
      if (!page.has_more) return count === 42 ? null : `${count} events instead of 42`;
      from = page.next;
    }
    return 'the pages have no end';
  });

  await attempt(findings, 'a token that is none', async () => {
    const reply = await fetch(url, { headers: { Authorization: 'Bearer none' } });
    await reply.text();
    return reply.status === 401 ? null : `${reply.status}`;
  });

  await attempt(findings, 'a long poll that is woken', async () => {
    const here = Number((await append({ type: 'order.polled', data: {} })).headers.get('Usher-Position'));
    const waiting = fetch(`${base}/v1/log?after=${here}&wait=20`, { headers: authorized });
    const written = await append({ type: 'order.sent', data: {} });
    const reply = await waiting;
    const page = await reply.json();
    return reply.status === 200 && written.status === 201 && page.items.length === 1 && page.items[0].type === 'order.sent'
      ? null
      : `${reply.status} ${JSON.stringify(page).slice(0, 200)}`;
  });

  return findings;
}
