import { defineConfig } from 'vitest/config';

// One project a kind of test; `npm test` runs what needs no VM, no Wine and no browser.
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/{unit,property,e2e/netns}/**/*.test.ts'],
          testTimeout: 30_000,
        },
      },
      {
        test: {
          name: 'browser',
          include: ['test/e2e/browser/**/*.e2e.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'systemd',
          include: ['test/e2e/systemd/**/*.e2e.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'machine',
          include: ['test/e2e/machine/**/*.e2e.test.ts'],
          globalSetup: 'test/e2e/machine/setup.ts',
          // A guest has one processor, and its systemd waits most of the time.
          maxWorkers: 2,
          testTimeout: 400_000,
          hookTimeout: 300_000,
        },
      },
      {
        test: {
          name: 'qemu',
          include: ['test/e2e/qemu/**/*.e2e.test.ts'],
          globalSetup: 'test/e2e/qemu/setup.ts',
          // Guests are heavy, and every one has the host’s whole attention.
          fileParallelism: false,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'wine',
          include: ['test/e2e/wine/**/*.e2e.test.ts'],
          globalSetup: 'test/e2e/wine/setup.ts',
          // All have one place for their prefixes, each file a new one.
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      {
        test: {
          name: 'kurrentdb',
          include: ['test/kurrentdb/**/*.e2e.test.ts'],
          testTimeout: 60_000,
        },
      },
    ],
  },
});
