// Whether tests in network namespaces can run here, and if not, why: the words that their names then show.
import { spawnSync } from 'node:child_process';

/** What keeps these commands from working in a new namespace, null when nothing does. */
export const probe = (...commands: string[]): string | null => {
  const { error, status, stderr } = spawnSync('unshare', ['-mn', 'sh', '-c', commands.join(' && ')], { encoding: 'utf8' });
  return error === undefined && status === 0 ? null : (stderr?.trim().split('\n')[0] ?? String(error));
};

/** The same for a test that needs root, Linux, veths, and these commands. */
export const missing = (...commands: string[]): string | null => {
  if (process.platform !== 'linux') return 'this is not Linux';
  if (process.getuid?.() !== 0) return 'not root';
  const why = probe('ip link add v0 type veth peer name v1', ...commands);
  return why === null ? null : `no veth in a new namespace: ${why}`;
};
export const skipped = (reason: string | null): string => (reason === null ? '' : ` (skipped: ${reason})`);
