// The log of a hypervisor's side (`netkvm host`) as a host of the timeline: what QEMU said, what was ordered and decided, with
// the host's own clock. And the names of migrations that a log holds, by which source, target and guest belong together.
import type { Foldable } from '../../src/events/envelope.ts';
import type { HostEvent } from './host.ts';

/** Decisions as the commands of QEMU's monitor that they become; the others keep their names. */
const COMMANDS: Readonly<Record<string, string>> = {
  startMigration: 'migrate',
  cancelMigration: 'migrate_cancel',
  unplugPrimary: 'device_del',
  plugPrimary: 'device_add',
};
const KEPT_MAX = 100_000;

export class HostLog {
  readonly events: HostEvent[] = [];
  /** Names of migrations, in the order in which they were first heard of. */
  readonly migrations = new Set<string>();
  /** Whether a hypervisor wrote this log. */
  isHost = false;

  note({ type, data }: Foldable, seq: number, wall_ns: string): void {
    const keep = (event: Omit<HostEvent, 'line' | 'at_ns'>, at_ns = wall_ns): void => {
      if (this.events.length < KEPT_MAX) this.events.push({ at_ns: BigInt(at_ns), line: seq, ...event });
    };
    switch (type) {
      case 'monitor.event':
        this.isHost = true;
        keep({ kind: 'event', name: data.name, fields: data.fields }, data.at_ns ?? wall_ns);
        return;
      case 'monitor.facts':
        this.isHost = true;
        return;
      case 'operator.commanded':
        if (data.episode !== undefined) this.#name(data.episode);
        if (data.command === 'reserve' || data.command === 'cancel')
          keep({ kind: 'command', name: data.command, fields: { id: data.episode ?? '' } });
        return;
      case 'channel.heard':
        this.#name(data.episode);
        if (data.word === 'prepared' || data.word === 'refused')
          keep({ kind: 'event', name: `guest ${data.word}`, fields: { id: data.episode } });
        return;
      case 'channel.facts':
        if (data.guest?.episode != null) this.#name(data.guest.episode);
        return;
      case 'decision.made': {
        if (data.mode !== 'host') return;
        if (data.kind === 'tellGuest') this.#name(data.plan.episode);
        const fields =
          data.kind === 'startMigration' ? { uri: data.plan.uri } : data.kind === 'tellGuest' ? { id: data.plan.word } : {};
        keep({ kind: 'command', name: COMMANDS[data.kind] ?? data.kind, fields });
        return;
      }
      case 'outcome.seen':
        if (data.result === 'failed' || data.result === 'refused')
          keep({ kind: 'error', name: data.result, fields: { desc: data.reason ?? '' } });
        return;
      default:
        return;
    }
  }

  #name(episode: string): void {
    if (episode !== '' && this.migrations.size < 1000) this.migrations.add(episode);
  }
}
