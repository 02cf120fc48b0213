// The service under systemd: systemctl(1) with a time limit, and a unit file that is written whole or not at all. Asking
// changes nothing; doing what is done already changes nothing either.
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { NetkvmError } from '../../events/errors.ts';
import type { Change, Installation, InstallationState, RunState } from '../installation.ts';
import { UNIT, unitText, type UnitOptions } from './systemd-unit.ts';

/** Longer than the unit's own limits for start and stop, which systemctl waits for. */
const LIMIT_MS = 150_000;
const OUTPUT_BYTES = 65_536;
const WRITTEN_BY_US = '/etc/systemd/system';
const PROPERTIES = 'LoadState,ActiveState,UnitFileState,FragmentPath,MainPID,NRestarts,StatusText,Result,NeedDaemonReload';

const run = promisify(execFile);

/** Standard output; throws `service.refused` with what systemctl said. */
const systemctl = async (...words: string[]): Promise<string> => {
  try {
    const env = { ...process.env, LC_ALL: 'C', SYSTEMD_PAGER: '' };
    return (await run('systemctl', words, { env, timeout: LIMIT_MS, maxBuffer: OUTPUT_BYTES })).stdout;
  } catch (error) {
    const { code, killed, stderr = '' } = error as Error & { code?: unknown; killed?: boolean; stderr?: string };
    if (code === 'ENOENT') throw new NetkvmError('service.noManager', 'there is no systemctl', { cause: error });
    const said =
      killed === true ? `no answer within ${LIMIT_MS / 1000} s` : stderr.trim().split('\n', 1)[0] || `exit ${String(code)}`;
    throw new NetkvmError('service.refused', `systemctl ${words.join(' ')}: ${said.replace(/[.:]$/, '')}.`, { cause: error });
  }
};

const RUN_STATES: Readonly<Record<string, RunState>> = {
  active: 'running',
  reloading: 'running',
  activating: 'starting',
  deactivating: 'stopping',
  failed: 'failed',
};

const textOr = (path: string): string | null => (existsSync(path) ? readFileSync(path, 'utf8') : null);

export interface SystemdOptions extends UnitOptions {
  /** Folder of the units that an administrator adds; another one in tests. */
  readonly folder?: string;
  /** Exists where systemd is the one that runs the system, sd_booted(3). */
  readonly booted?: string;
}

export class Systemd implements Installation {
  readonly #text: string;
  readonly #path: string;

  /** Throws `service.noManager` where systemd does not run. */
  constructor({ folder = WRITTEN_BY_US, booted = '/run/systemd/system', ...unit }: SystemdOptions) {
    if (!existsSync(booted)) throw new NetkvmError('service.noManager', `there is no ${booted}: systemd does not run here.`);
    this.#text = unitText(unit);
    this.#path = join(folder, UNIT);
  }

  async query(): Promise<InstallationState> {
    const shown = await systemctl('show', UNIT, '--no-pager', `--property=${PROPERTIES}`);
    const found = new Map(shown.split('\n').map((line) => [line.split('=', 1)[0]!, line.slice(line.indexOf('=') + 1)]));
    const of = (name: string): string => found.get(name) ?? '';
    const definition = of('FragmentPath') || (existsSync(this.#path) ? this.#path : null);
    const state = RUN_STATES[of('ActiveState')] ?? 'stopped';
    const pid = Number(of('MainPID'));
    const reason = state === 'failed' ? `ended with ${of('Result')}` : '';
    return {
      installed: definition === null ? 'no' : definition === this.#path ? 'here' : 'package',
      definition,
      current: definition !== null && textOr(definition) === this.#text && of('NeedDaemonReload') !== 'yes',
      enabled: of('UnitFileState') === 'enabled',
      state,
      pid: pid > 0 ? pid : null,
      restarts: Number(of('NRestarts')) || 0,
      text: reason || of('StatusText') || null,
    };
  }

  async install(): Promise<Change[]> {
    const changes: Change[] = [];
    const before = await this.query();
    // The definition of a package stays the package's.
    const written = before.installed !== 'package' && !before.current;
    if (written) {
      mkdirSync(dirname(this.#path), { recursive: true });
      const draft = `${this.#path}.new`;
      writeFileSync(draft, this.#text, { mode: 0o644, flush: true });
      renameSync(draft, this.#path);
      changes.push(`wrote ${this.#path}`);
      await systemctl('daemon-reload');
    }
    if (!before.enabled) {
      await systemctl('enable', UNIT);
      changes.push('enabled it');
    }
    const { state } = await this.query();
    if (state === 'running' && !written) return changes;
    await systemctl('reset-failed', UNIT).catch(() => null);
    await systemctl(state === 'running' ? 'restart' : 'start', UNIT);
    return [...changes, state === 'running' ? 'restarted it' : 'started it'];
  }

  async stop(): Promise<Change[]> {
    const before = await this.query();
    if (before.installed === 'no') return [];
    const changes: Change[] = [];
    if (before.state !== 'stopped' && before.state !== 'failed') {
      await systemctl('stop', UNIT);
      changes.push('stopped it');
    }
    if (before.enabled) {
      await systemctl('disable', UNIT);
      changes.push('disabled it');
    }
    return changes;
  }

  async remove(): Promise<Change[]> {
    await systemctl('reset-failed', UNIT).catch(() => null);
    if (!existsSync(this.#path)) return [];
    rmSync(this.#path);
    await systemctl('daemon-reload');
    return [`removed ${this.#path}`];
  }
}
