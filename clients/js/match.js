// clients/js/match.js: patterns and filters, as the server has them.
//
// Test vectors in test/vectors are shared with the server's C code.

const star = /\*+/;

/** One segment of a pattern against one of a name; `*` is any run of characters. */
function segmentMatch(pattern, name) {
  const parts = pattern.split(star);
  if (parts.length === 1) return pattern === name;
  const first = parts[0];
  const last = parts[parts.length - 1];
  if (name.length < first.length + last.length || !name.startsWith(first) || !name.endsWith(last)) return false;
  let at = first.length;
  const end = name.length - last.length;
  for (const part of parts.slice(1, -1)) {
    const found = name.indexOf(part, at);
    if (found < 0 || found + part.length > end) return false;
    at = found + part.length;
  }
  return true;
}

/**
 * Does the name match the pattern? Segments are separated by dots; `*` stands for any characters inside one
 * segment, `**` as a segment for any number of segments (also none), a lone `*` for everything.
 * @param {string} pattern
 * @param {string} name
 */
export function globMatch(pattern, name) {
  if (pattern === '*') return true;
  const p = pattern.split('.');
  const n = name.split('.');
  let pi = 0;
  let ni = 0;
  let starAt = -1;
  let starName = 0;
  while (ni < n.length) {
    if (pi < p.length && p[pi] === '**') {
      starAt = ++pi;
      starName = ni;
      if (pi === p.length) return true;
    } else if (pi < p.length && segmentMatch(p[pi], n[ni])) {
      pi++;
      ni++;
    } else if (starAt >= 0) {
      ni = ++starName;
      pi = starAt;
    } else return false;
  }
  while (pi < p.length && p[pi] === '**') pi++;
  return pi === p.length;
}

function member(event, path) {
  let value = event;
  for (const name of path.split('.')) {
    if (value === null || typeof value !== 'object' || Array.isArray(value) || !Object.hasOwn(value, name)) return undefined;
    value = value[name];
  }
  return value;
}

/**
 * Does the event have all these values? `{"data.show": 7, "metadata.user_id": ["a", "b"]}`: the names are paths
 * into the event; a list means one of its values.
 * @param {Record<string, unknown> | null | undefined} filter
 * @param {object} event
 */
export function filterMatch(filter, event) {
  if (!filter) return true;
  return Object.entries(filter).every(([path, wanted]) => {
    const value = member(event, path);
    return Array.isArray(wanted) ? wanted.includes(value) : value === wanted;
  });
}

/**
 * Does a subscription want the event? Any of its types and any of its streams (none: all), and its filter.
 * The first {user} in a pattern stands for the user.
 */
export function wants(subscription, event, user = '') {
  const { types, streams, filter } = subscription;
  const matches = (pattern, name) => globMatch(pattern.replace('{user}', () => user), name);
  return (
    (!types?.length || types.some((pattern) => matches(pattern, event.type) || (event.topic && matches(pattern, event.topic)))) &&
    (!streams?.length || (event.stream != null && streams.some((pattern) => matches(pattern, event.stream)))) &&
    filterMatch(filter, event)
  );
}
