// A QEMU's monitor, played: the container has no QEMU. It answers what `netkvm host` asks, as a guest that runs on its primary
// does, and as one that is being migrated while the file `migrating` is there. Run as somebody who is not root.
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';

const folder = process.argv[2];
process.umask(0o077);
let hasMigrated = false;
const migration = () => {
  const isMigrating = existsSync(join(folder, 'migrating'));
  hasMigrated ||= isMigrating;
  if (isMigrating) return { status: 'active', 'total-time': 1 };
  return hasMigrated ? { status: 'cancelled' } : {};
};
const answers = {
  'query-status': () => ({ status: 'running', running: true }),
  'query-migrate': migration,
  'query-migrate-capabilities': () => [],
  'qom-list': () => [{ name: 's' }, { name: 'p' }],
  'qom-get': () => true,
};

createServer((socket) => {
  socket.on('error', () => {});
  socket.write('{"QMP":{"version":{"qemu":{"major":7,"minor":2,"micro":22}},"capabilities":[]}}\r\n');
  let torn = '';
  socket.setEncoding('utf8').on('data', (text) => {
    const lines = (torn + text).split('\n');
    torn = lines.pop();
    for (const line of lines.filter((one) => one.trim() !== '')) {
      const { execute, id } = JSON.parse(line);
      socket.write(`${JSON.stringify({ return: answers[execute]?.() ?? {}, id })}\r\n`);
    }
  });
}).listen(join(folder, 'qmp'));
