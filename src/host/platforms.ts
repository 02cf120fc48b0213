// Which world the service lives in, as the command line says: this system, a file that is played, or a simulated guest.
// Each is loaded only when it is chosen.
import type { HypervisorPlatform } from '../adapters/hypervisor/platform.ts';
import type { Clocks } from '../events/envelope.ts';
import type { ParameterStore } from '../adapters/parameters.ts';
import type { Platform } from '../adapters/platform.ts';
import type { Policy } from '../events/catalogue.ts';
import type { VmPolicy } from '../events/hosting.ts';
import { NetkvmError } from '../events/errors.ts';
import type { Arguments } from './command.ts';
import type { Configuration } from './config.ts';
import { didYouMean } from './nearest.ts';

export interface Chosen {
  readonly platform: Platform;
  readonly policy: Policy;
}

/** Options that belong to one platform, and to which. */
const BELONGS = { recording: 'recording', speed: 'recording', scenario: 'simulated', seed: 'simulated' } as const;

const given = (args: Arguments, name: keyof typeof BELONGS): boolean =>
  (name === 'speed' || name === 'seed' ? args.number(name) : args.text(name)) !== undefined;

/** In a simulated guest there is nothing to protect: the scenario says what the service may do, unless told to observe. */
const simulated = async (args: Arguments, policy: Policy): Promise<Chosen> => {
  const { SCENARIOS, scenarioOf } = await import('../adapters/simulated/scenarios.ts');
  const { openSimulated } = await import('../adapters/simulated/live.ts');
  const { Random } = await import('../adapters/simulated/random.ts');
  const name = args.text('scenario') ?? 'failover';
  const scenario = scenarioOf(name);
  if (scenario === undefined) {
    const names = SCENARIOS.map((one) => one.name);
    throw new NetkvmError('usage.value', `--scenario ${name} is none of ${names.join(', ')}${didYouMean(name, names)}`);
  }
  const seed = args.number('seed') ?? 1;
  const script = scenario.script(new Random(seed, name));
  const effects = args.flag('observe') ? 'off' : args.flag('dry-run') ? 'dryRun' : script.effects;
  const pairs = script.pairs.map((mac) => ({ mac, ...script.wishes }));
  return { platform: openSimulated(scenario, seed), policy: { ...policy, effects, pairs } };
};

/** Throws `usage.*` for options that do not go together, `platform.*` and `recording.*` where one cannot be opened. */
export const choosePlatform = async (args: Arguments, { settings, policy }: Configuration): Promise<Chosen> => {
  const name = args.text('platform') ?? 'auto';
  for (const option of Object.keys(BELONGS) as (keyof typeof BELONGS)[]) {
    if (given(args, option) && name !== BELONGS[option])
      throw new NetkvmError('usage.command', `--${option} is for --platform ${BELONGS[option]} only`);
  }
  if (name === 'simulated') return simulated(args, policy);
  if (name === 'recording') {
    const recording = args.text('recording');
    if (recording === undefined) throw new NetkvmError('usage.command', '--platform recording needs --recording FILE');
    const { PlaybackPlatform } = await import('../adapters/playback.ts');
    return { platform: await PlaybackPlatform.open(recording, args.number('speed') ?? 1), policy };
  }
  const here = process.platform === 'win32' ? 'windows' : process.platform;
  if (name !== 'auto' && name !== here)
    throw new NetkvmError('platform.unsupported', `--platform ${name}: this system is ${here}`);
  return { platform: await systemPlatform(settings), policy };
};

/** This system as a platform. Errors: `platform.unsupported`, `platform.netlink`. */
export const systemPlatform = async ({ receiveBuffer_bytes, survey_ms }: Configuration['settings']): Promise<Platform> => {
  if (process.platform === 'win32') {
    const { WindowsPlatform } = await import('../adapters/windows/platform.ts');
    return new WindowsPlatform({ surveyInterval_ms: survey_ms });
  }
  if (process.platform !== 'linux')
    throw new NetkvmError('platform.unsupported', `there is no adapter for ${process.platform} yet`);
  const { LinuxPlatform } = await import('../adapters/linux/platform.ts');
  return new LinuxPlatform({ receiveBuffer_bytes, surveyInterval_ms: survey_ms });
};

/** This system's clocks now, for what is recorded without a platform. */
export const systemClocks = async (): Promise<Clocks> =>
  process.platform === 'win32'
    ? (await import('../adapters/windows/clocks.ts')).readClocks()
    : (await import('../adapters/linux/clocks.ts')).readClocks();

/** The parameters of this system's network devices. Errors: `platform.unsupported`, `platform.netlink`. */
export const systemParameters = async (): Promise<ParameterStore> => {
  switch (process.platform) {
    case 'linux':
      return new (await import('../adapters/linux/parameters.ts')).LinuxParameters();
    case 'win32':
      return new (await import('../adapters/windows/parameters.ts')).WindowsParameters();
    default:
      throw new NetkvmError('platform.unsupported', `there is no adapter for ${process.platform}`);
  }
};

/** The hypervisor's side of these guests. Errors: `platform.unsupported`, `platform.netlink`. */
export const hypervisorPlatform = async (vms: readonly VmPolicy[]): Promise<HypervisorPlatform> => {
  if (process.platform !== 'linux')
    throw new NetkvmError('platform.unsupported', `the hypervisor’s side needs Linux, this is ${process.platform}`);
  const { HypervisorPlatform: Hypervisor } = await import('../adapters/hypervisor/platform.ts');
  return new Hypervisor(vms);
};
