#!/usr/bin/env node
// The command line under the name of the original service’s tool. Plain JavaScript for the same reason as netkvm.mjs.
process.argv.splice(2, 0, 'netkvmp');
await import('./netkvm.mjs');
