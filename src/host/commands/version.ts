// `netkvm version`: what is running, for bug reports.
import { readFileSync } from 'node:fs';
import { EXIT } from '../../events/errors.ts';
import type { Run } from '../commands.ts';

/** The package's version, from the package.json above this file (one folder higher up when built into dist/). */
export const packageVersion = (): string => {
  for (const up of ['../../../package.json', '../../../../package.json']) {
    try {
      const { name, version } = JSON.parse(readFileSync(new URL(up, import.meta.url), 'utf8')) as Record<string, unknown>;
      if (name === 'netkvm-failover' && typeof version === 'string') return version;
    } catch {
      // Not there: the next place.
    }
  }
  return 'unknown';
};

export const run: Run = async (args, io) => {
  const { node, sqlite = null } = process.versions;
  const version = packageVersion();
  const { platform, arch } = process;
  io.stdout.write(
    args.flag('json')
      ? `${JSON.stringify({ schemaVersion: 1, version, node, sqlite, platform, arch })}\n`
      : `netkvm-failover ${version}, Node ${node}, SQLite ${sqlite ?? 'none'}, ${platform} ${arch}\n`,
  );
  return EXIT.done;
};
