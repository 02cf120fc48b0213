// `netkvmp`: the tool of the original service, with its words and lines: installs and removes the protocol, says whether
// service and protocol are there, and asks the service for a dump. Its exit code is always 0. The original's own service and
// program are left alone; `netkvm install --take-over` is the way to run in their place.
import { existsSync } from 'node:fs';
import type { ProtocolChange } from '../../adapters/windows/protocol.ts';
import { EXIT, NetkvmError } from '../../events/errors.ts';
import type { Io, Run } from '../command.ts';

const INF = 'vioprot.inf';
const USAGE = 'i(nstall)|u(ninstall)|q(uery)\n';

const load = async () => ({
  ...(await import('../../adapters/windows/protocol.ts')),
  ...(await import('../../adapters/windows/scm.ts')),
  ...(await import('../../adapters/windows/service.ts')),
});
type Windows = Awaited<ReturnType<typeof load>>;

const reboot = ({ rebootRequired }: ProtocolChange): string => (rebootRequired ? 'Reboot required\n' : '');

const install = async ({ isProtocolInstalled, installProtocol }: Windows, out: (text: string) => void): Promise<void> => {
  if (await isProtocolInstalled()) return out('Already installed\n');
  if (!existsSync(INF)) return out('ERROR: File VIOPROT.INF is not in the current directory.\n');
  out('Installing VIOPROT\n');
  const change = await installProtocol(INF);
  out(`Protocol installed\n${reboot(change)}`);
};

const uninstall = async (windows: Windows, out: (text: string) => void): Promise<void> => {
  if (windows.serviceState(windows.ORIGINAL_NAME) === null) out('Service is not installed\n');
  out('Uninstalling VIOPROT\n');
  out(reboot(await windows.removeProtocol()));
  out('Scan for protocol INF file...\n');
  for (const { name, error } of windows.removeProtocolInfs())
    out(`Uninstalling ${name}... ${error === 0 ? 'Done' : `Not done, error, error ${error}`}\n`);
};

const query = async (windows: Windows, out: (text: string) => void): Promise<void> => {
  const states = [windows.ORIGINAL_NAME, windows.SERVICE_NAME].map(windows.serviceState);
  out(states.some((state) => state !== null) ? 'Service installed\n' : 'Service not installed\n');
  out((await windows.isProtocolInstalled()) ? 'VIOPROT installed\n' : 'VIOPROT not installed\n');
};

const DUMP_CONTROL = 128;
const dump = ({ SERVICE_NAME, controlService }: Windows): void => controlService(SERVICE_NAME, DUMP_CONTROL);

const obey = async (word: string, io: Io): Promise<void> => {
  const out = (text: string): void => void io.stdout.write(text);
  const verb = ['install', 'uninstall', 'query', 'dump'].find((name) => name === word || name[0] === word);
  if (verb === undefined) return out(USAGE);
  if (process.platform !== 'win32') throw new NetkvmError('platform.unsupported', 'netkvmp is for Windows.');
  const windows = await load();
  if (verb === 'install') await install(windows, out);
  else if (verb === 'uninstall') await uninstall(windows, out);
  else if (verb === 'query') await query(windows, out);
  else dump(windows);
};

export const run: Run = async ({ positionals }, io) => {
  try {
    await obey(positionals[0]?.toLowerCase() ?? '', io);
  } catch (error) {
    if (!(error instanceof NetkvmError)) throw error;
    io.stdout.write(`ERROR: ${error.message}\n`);
  }
  return EXIT.done;
};
