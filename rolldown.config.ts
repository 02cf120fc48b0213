import { fileURLToPath } from 'node:url';
import { defineConfig } from 'rolldown';
import { bundlePage } from './src/host/inspector/bundle.ts';

// What is shipped: the command line in one folder, with its libraries bundled in, because a service that starts in a tenth
// of a second must not open a thousand files. Commands stay in chunks of their own, loaded when they run. Only koffi stays
// outside: it finds its native binary beside its own package; and rolldown itself, which a package never needs, because the
// inspector's page is made here.
export default defineConfig({
  input: {
    main: 'src/host/main.ts',
    'forwarder.worker': 'src/adapters/kurrentdb/forwarder.worker.ts',
    'netcfg.child': 'src/adapters/windows/netcfg.child.ts',
    'remote-log.worker': 'src/adapters/kurrentdb/remote-log.worker.ts',
  },
  platform: 'node',
  external: ['koffi', '@kurrent/kurrentdb-client', 'rolldown'],
  plugins: [
    {
      name: 'inspector page',
      async generateBundle() {
        this.emitFile({ type: 'asset', fileName: 'inspector.html', source: await bundlePage() });
      },
    },
  ],
  // rxjs offers Node its CommonJS build, from which nothing can be left out.
  resolve: { alias: { rxjs: fileURLToPath(new URL('node_modules/rxjs/dist/esm/index.js', import.meta.url)) } },
  output: { dir: 'dist', format: 'esm', sourcemap: true, cleanDir: true, chunkFileNames: '[name]-[hash].js' },
});
