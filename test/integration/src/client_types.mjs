// test/integration/src/client_types.mjs: what clients/js exports is what its types say, name by name.
import { readFileSync } from 'node:fs';

const directory = new URL('../../../clients/js/', import.meta.url);
const { files } = JSON.parse(readFileSync(new URL('package.json', directory)));
let wrong = 0;

function compare(what, there, typed) {
  for (const name of new Set([...there, ...typed])) {
    if (there.has(name) && typed.has(name)) continue;
    console.log(`# ${what}: ${name} is only in the ${there.has(name) ? 'code' : 'types'}`);
    wrong++;
  }
}

for (const file of files.filter((name) => name.endsWith('.js'))) {
  const types = readFileSync(new URL(file.replace(/\.js$/, '.d.ts'), directory), 'utf8');
  const module = await import(new URL(file, directory));
  compare(file, new Set(Object.keys(module)), new Set([...types.matchAll(/^export (?:class|function) (\w+)/gm)].map((m) => m[1])));
  for (const [name, value] of Object.entries(module)) {
    if (!/^class/.test(String(value))) continue;
    const body = new RegExp(`^export class ${name} \\{\\n(.*?)^\\}`, 'ms').exec(types)[1];
    const typed = new Set([...body.matchAll(/^ {2}(?:readonly )?(\w+)\??[(:<]/gm)].map((m) => m[1]));
    const code = String(value);
    const there = new Set(Object.getOwnPropertyNames(value.prototype));
    for (const [, property] of code.matchAll(/^ {4}this\.(\w+) = /gm)) there.add(property);
    for (const [, property] of code.matchAll(/^ {2}(\w+) = /gm)) there.add(property);
    for (const each of [...there]) if (each.startsWith('_')) there.delete(each);
    for (const each of ['WebSocket', 'EventSource', 'sseToken', 'constructor']) there.delete(each); // of its own
    compare(`${file} ${name}`, there, new Set([...typed].filter((each) => !['private', 'constructor'].includes(each))));
  }
}
console.log(`${wrong ? 'not ok' : 'ok'} 1 - types name what the code has`);
process.exitCode = wrong ? 1 : 0;
