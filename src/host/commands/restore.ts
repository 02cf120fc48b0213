// `netkvm restore`: everything that was changed goes back to what it was. The running service does it; with none running this
// opens the log as its one writer, looks at the system, and does it itself. Afterwards the pair is left alone until the
// configuration is read again (SIGHUP) or the system starts anew.
import type { Platform } from '../../adapters/platform.ts';
import type { Obligation } from '../../events/catalogue.ts';
import { EXIT, NetkvmError } from '../../events/errors.ts';
import type { Story } from '../../machines/story.ts';
import type { Run } from '../command.ts';
import type { Configuration } from '../config.ts';
import { request } from '../control-client.ts';
import { openLogger } from '../lines.ts';
import { configurationOf, openLogOf, pairOption, servicePid, tellLog, untilMet } from '../look.ts';
import { hostFacts, machineId } from '../machine-facts.ts';
import { hypervisorPlatform, systemPlatform } from '../platforms.ts';
import { openWriter } from '../service-log.ts';
import type { LogPlace } from '../settings.ts';
import { Service } from '../service.ts';
import { packageVersion } from './version.ts';

const DEFAULT_LIMIT_S = 60;

const owedIn = ({ guest }: Story, mac: string | null): readonly Obligation[] =>
  [...guest.pairs.values(), ...guest.hosted.pairs.values()]
    .filter((pair) => mac === null || pair.mac === mac)
    .flatMap(({ obligations }) => obligations);

/** Nothing is owed any more, and what gave it back has its outcome. */
const isGivenBack = (story: Story, mac: string | null): boolean =>
  owedIn(story, mac).length === 0 && [...story.guest.pairs.values()].every(({ pending }) => pending === null);

/** What is still owed, in words, with what stands in the way. */
const stillOwed = (story: Story, mac: string | null): string[] => {
  const owed = owedIn(story, mac);
  return owed.map(({ pair, kind, id }) => {
    const hindrance = story.guest.stateOf(pair)?.hindrance ?? null;
    return `${pair}: ${kind} (${id})${hindrance === null ? '' : `, ${hindrance}`}`;
  });
};

interface Alone {
  readonly platform: Platform;
  readonly place: LogPlace;
  readonly policy: Configuration['policy'];
  readonly mac: string | null;
  readonly by: string;
  readonly limit_ms: number;
}

/** Gives back without a service: as the log’s one writer, from one look at the system. Returns what is still owed. */
export const restoreAlone = async ({ platform, place, policy, mac, by, limit_ms }: Alone): Promise<string[]> => {
  const opened = await openWriter(place, { bootId: platform.bootId(), machineId: machineId() });
  const lines = await openLogger({ level: 'silent' });
  const settings = { checkpointEvents: Infinity, retentionEvents: Number.MAX_SAFE_INTEGER, retentionDays: 36_500 };
  const observing = { ...policy, effects: 'off' } as const;
  const service = new Service({
    platform,
    opened,
    settings,
    policy: observing,
    lines,
    version: packageVersion(),
    host: hostFacts(),
  });
  const failed = Promise.withResolvers<never>();
  try {
    service.start((error) => {
      if (error !== null) failed.reject(error);
    });
    // From the first look on, devices are known by what they are now.
    const looked = service.until(() => service.isWatching, limit_ms);
    if (!(await Promise.race([looked, failed.promise])))
      throw new NetkvmError('wait.timedOut', 'the system could not be looked at');
    service.obey('restore', mac, by);
    await Promise.race([service.until((story) => isGivenBack(story, mac), limit_ms), failed.promise]);
    return stillOwed(service.story, mac);
  } finally {
    await service.stop('restore');
  }
};

/** How many obligations a log has seen. */
const openedIn = async (configuration: Configuration): Promise<number> => {
  const reader = await openLogOf(configuration);
  try {
    let opened = 0;
    for (const page of reader.fold(reader.first())) for (const { type } of page) opened += Number(type === 'obligation.opened');
    return opened;
  } finally {
    reader.close();
  }
};

export const run: Run = async (args, io) => {
  const configuration = configurationOf(args);
  const mac = pairOption(args);
  const limit_s = args.number('timeout') ?? DEFAULT_LIMIT_S;
  const by = `netkvm restore, uid ${process.geteuid?.() ?? 'unknown'}`;
  const tell = (before: number, missing: readonly string[]): number => {
    if (args.flag('json')) io.stdout.write(`${JSON.stringify({ schemaVersion: 1, owed: before, missing })}\n`);
    else if (missing.length === 0) io.stdout.write(before === 0 ? 'Nothing is owed.\n' : `${before} given back\n`);
    if (missing.length > 0) throw new NetkvmError('wait.timedOut', `after ${limit_s} s still owed: ${missing.join('; ')}`);
    return EXIT.done;
  };
  const { settings, policy } = configuration;
  const isRunning = (await servicePid(configuration)) !== null;
  // What the log says of a hypervisor's guests is what was changed; the file may no longer name them.
  const alone = async (vms: Configuration['policy']['vms']): Promise<string[]> => {
    const platform = vms === undefined ? await systemPlatform(settings) : await hypervisorPlatform(vms);
    const observed = vms === undefined ? policy : { ...policy, vms };
    return restoreAlone({ platform, place: settings, policy: observed, mac, by, limit_ms: limit_s * 1000 });
  };
  try {
    const reader = await openLogOf(configuration);
    try {
      const story = tellLog(reader);
      const before = owedIn(story, mac).length;
      if (isRunning) {
        const { seq } = await request(settings.controlSocket, 'restore', { pair: mac, by });
        return tell(before, await untilMet(reader, story, () => stillOwed(story, mac), limit_s, Number(seq)));
      }
      return tell(before, before === 0 ? [] : await alone(story.guest.policy.vms));
    } finally {
      reader.close();
    }
  } catch (error) {
    if (!(error instanceof NetkvmError) || isRunning || settings.log !== '') throw error;
    // Nothing was ever recorded, so nothing was ever changed.
    if (error.code === 'log.missing') return tell(0, []);
    if (error.code !== 'log.damaged') throw error;
    // Its writer sets it aside, and carries over what it owed.
    const missing = await alone(policy.vms);
    return tell(await openedIn(configuration), missing);
  }
};
