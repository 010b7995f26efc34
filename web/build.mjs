// SPDX-License-Identifier: MIT
// Bundles the page: node build.mjs FOLDER. What comes out is committed in dist/, so that a build of
// lethe needs neither npm nor network; tests/web/bundle.sh checks that it is what the sources give.
import { copyFileSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2];
if (!out) throw new Error('usage: node build.mjs FOLDER');
mkdirSync(out, { recursive: true });
const common = { absWorkingDir: here, bundle: true, minify: true, charset: 'utf8', legalComments: 'none', logLevel: 'warning' };
await build({ ...common, entryPoints: ['src/main.ts'], outfile: join(process.cwd(), out, 'app.js'), format: 'esm', target: 'es2022' });
await build({ ...common, entryPoints: ['src/style.css'], outfile: join(process.cwd(), out, 'style.css') });
for (const name of ['index.html', 'icon.svg']) copyFileSync(join(here, 'src', name), join(out, name));
