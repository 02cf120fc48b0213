// `netkvm version`: what is running, for bug reports.
import { readFileSync } from 'node:fs';
import { EXIT } from '../../events/errors.ts';
import type { Run } from '../command.ts';

const NAME = 'netkvm-failover';
/** How many folders up the package.json may be: the source lies deeper than the built files. */
const UP = 5;

/** The version of the package that this file belongs to. */
export const packageVersion = (): string => {
  for (let up = 1; up <= UP; up += 1) {
    try {
      const text = readFileSync(new URL(`${'../'.repeat(up)}package.json`, import.meta.url), 'utf8');
      const { name, version } = JSON.parse(text) as Record<string, unknown>;
      if (name === NAME && typeof version === 'string') return version;
    } catch {
      // Not there: one folder further up.
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
