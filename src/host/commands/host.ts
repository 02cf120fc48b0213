// `netkvm host`: the service in its other role, beside QEMU; and `netkvm host migrate`, which orders two of them.
import type { HypervisorPlatform } from '../../adapters/hypervisor/platform.ts';
import type { VmPolicy } from '../../events/hosting.ts';
import { NetkvmError } from '../../events/errors.ts';
import type { Arguments, Run } from '../command.ts';
import type { Configuration } from '../config.ts';
import { vmOf } from '../config-vms.ts';
import { hostHandlers } from '../hosting.ts';
import { hypervisorPlatform } from '../platforms.ts';
import { runService } from './run.ts';

const ONE_GUEST = ['tap', 'bridge', 'channel', 'plug'] as const;

const vmsOf = (args: Arguments, { vms, file }: Configuration): readonly VmPolicy[] => {
  const [qmp, pair] = [args.text('qmp'), args.text('pair')];
  if ((qmp === undefined) !== (pair === undefined))
    throw new NetkvmError('usage.command', `--qmp and --pair go together, not ${qmp ?? pair} alone`);
  if (qmp !== undefined && pair !== undefined) {
    const more = Object.fromEntries(ONE_GUEST.map((name) => [name, args.text(name)]));
    return [vmOf(pair, { qmp, ...more, readOnly: args.flag('read-only') })];
  }
  const other = ONE_GUEST.find((name) => args.text(name) !== undefined);
  if (other !== undefined) throw new NetkvmError('usage.command', `--${other} goes with --qmp and --pair`);
  if (vms.length === 0)
    throw new NetkvmError(
      'usage.command',
      `no guest: give --qmp and --pair, or list [[vms]] in ${file ?? 'a configuration file'}`,
    );
  return args.flag('read-only') ? vms.map((vm) => ({ ...vm, readOnly: true })) : vms;
};

const serve = (args: Arguments): Promise<number> =>
  runService(args, {
    choose: async (_, configuration) => {
      const vms = vmsOf(args, configuration);
      return { platform: await hypervisorPlatform(vms), policy: { ...configuration.policy, pairs: [], vms: [...vms] } };
    },
    handlers: (service, platform) => hostHandlers(service, platform as HypervisorPlatform),
  });

export const run: Run = async (args, io) => {
  if (args.command === 'host') return serve(args);
  const { migrate } = await import('./host-migrate.ts');
  return migrate(args, io);
};
