import { fileURLToPath } from 'node:url';
import { defineConfig } from 'rolldown';

// What is shipped: the command line in one folder, with its libraries bundled in, because a service that starts in a tenth
// of a second must not open a thousand files. Commands stay in chunks of their own, loaded when they run. Only koffi stays
// outside: it finds its native binary beside its own package.
export default defineConfig({
  input: { main: 'src/host/main.ts' },
  platform: 'node',
  external: ['koffi'],
  // rxjs offers Node its CommonJS build, from which nothing can be left out.
  resolve: { alias: { rxjs: fileURLToPath(new URL('node_modules/rxjs/dist/esm/index.js', import.meta.url)) } },
  output: { dir: 'dist', format: 'esm', sourcemap: true, cleanDir: true, chunkFileNames: '[name]-[hash].js' },
});
