// test/integration/src/match_vectors.mjs: clients/js/match.js on the vectors of test/vectors/match.json; prints what differs.
import { readFileSync } from 'node:fs';
import { filterMatch, globMatch, wants } from '../../../clients/js/match.js';

const vectors = JSON.parse(readFileSync(new URL('../../vectors/match.json', import.meta.url), 'utf8'));
const functions = { patterns: globMatch, filters: filterMatch, subscriptions: wants };
let tried = 0;

for (const [name, judge] of Object.entries(functions))
  for (const [left, right, expected] of vectors[name]) {
    tried++;
    if (Boolean(judge(left, right)) !== expected) console.log(`${name}: ${JSON.stringify([left, right])} is not ${expected}`);
  }
console.log(`${tried} tried`);
