// What happens to the guests: each scenario by name, with where the pair must be in the end and, where the service lives
// through all of it, which datapaths it must have told. `strike` is where a variant kills the service with SIGKILL.
import type { Guest } from './guest.ts';
import { FOREIGN_MAC, type Lab, MAC } from './lab.ts';
import { pause } from './vm.ts';

export const MODES = ['kernel', 'bond'] as const;
export type Mode = (typeof MODES)[number];

export interface Scenario {
  readonly name: string;
  readonly modes: readonly Mode[];
  /** Whether the guest has its primary when the scenario begins; `boots` begins before there are any drivers. */
  readonly begins: 'onPrimary' | 'onStandby' | 'boots';
  readonly native?: boolean;
  /**
   * In a bond that we steer there is a path at every moment. Not so where nothing announces the loss: the kernel itself
   * leaves a primary that it takes away, or that lost its carrier, as the active member for a while.
   */
  readonly unbroken?: boolean;
  readonly act: (lab: Lab, guest: Guest, strike: () => Promise<void>) => Promise<void>;
  /** Datapaths from the beginning of the scenario on, and the stage in the end. */
  readonly datapaths: Readonly<Record<Mode, readonly string[]>>;
  readonly ends: Readonly<Record<Mode, string>>;
}

const same = <T>(value: T): Record<Mode, T> => ({ kernel: value, bond: value });
const ON_PRIMARY = same('onPrimary');
/** How long QEMU's own announcements go on after a migration; a primary that is plugged earlier is announced, too. */
const ANNOUNCED_MS = 1500;
const AWAY_MS = 1500;

/** What an orchestrator does around a migration where QEMU does not know the pair and leaves the primary alone. */
const parts = async (lab: Lab, guest: Guest): Promise<void> => {
  if (lab.failover) return;
  await guest.netkvm('prepare');
  await lab.unplug();
};
const returns = async (lab: Lab): Promise<void> => {
  if (!lab.failover) await lab.plug();
};

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'boot',
    modes: MODES,
    begins: 'boots',
    act: async (_lab, guest, strike) => {
      await guest.sh('modprobe -a virtio_net');
      await guest.sh('modprobe -a e1000e vmxnet3');
      await strike();
      await guest.address();
    },
    datapaths: same(['primary']),
    ends: ON_PRIMARY,
  },
  {
    name: 'hot-plug',
    modes: MODES,
    begins: 'onStandby',
    act: async (lab, _guest, strike) => {
      await lab.plug();
      await strike();
    },
    unbroken: true,
    datapaths: same(['standby', 'primary']),
    ends: ON_PRIMARY,
  },
  {
    name: 'unplug',
    modes: MODES,
    begins: 'onPrimary',
    act: async (lab, _guest, strike) => {
      await lab.unplug('primary', false);
      await strike();
    },
    datapaths: same(['primary', 'standby']),
    ends: same('fallback'),
  },
  {
    name: 'unplug, prepared',
    modes: ['bond'],
    begins: 'onPrimary',
    act: async (lab, guest, strike) => {
      await guest.netkvm('prepare');
      await lab.unplug('primary', false);
      await strike();
    },
    unbroken: true,
    datapaths: same(['primary', 'standby']),
    ends: same('fallback'),
  },
  {
    name: 'unplug, native hotplug',
    modes: MODES,
    begins: 'onPrimary',
    native: true,
    act: async (lab, _guest, strike) => {
      await lab.unplug('primary', false);
      await strike();
    },
    unbroken: true,
    datapaths: same(['primary', 'standby']),
    ends: same('fallback'),
  },
  {
    name: 'carrier loss',
    modes: MODES,
    begins: 'onPrimary',
    act: async (lab, guest, strike) => {
      await lab.link(false);
      await strike();
      await guest.rests('fallback', 'standby');
      await lab.link(true);
    },
    datapaths: same(['primary', 'standby', 'primary']),
    ends: ON_PRIMARY,
  },
  {
    name: 'migration there and back',
    modes: MODES,
    begins: 'onPrimary',
    act: async (lab, guest, strike) => {
      for (const last of [false, true]) {
        await parts(lab, guest);
        await lab.migrate(() => (last ? Promise.resolve() : strike()));
        await pause(ANNOUNCED_MS);
        await returns(lab);
        await guest.rests('onPrimary', 'primary');
      }
    },
    unbroken: true,
    datapaths: same(['primary', 'standby', 'primary', 'standby', 'primary']),
    ends: ON_PRIMARY,
  },
  {
    name: 'migration cancelled while memory is copied',
    modes: MODES,
    begins: 'onPrimary',
    unbroken: true,
    act: async (lab, guest, strike) => {
      await parts(lab, guest);
      const to = await lab.destination();
      await lab.beginMigration(to, 'active');
      await strike();
      await pause(AWAY_MS);
      await lab.cancelMigration(to);
      await returns(lab);
    },
    datapaths: same(['primary', 'standby', 'primary']),
    ends: ON_PRIMARY,
  },
  {
    name: 'migration cancelled while the unplug is awaited',
    modes: ['kernel'],
    begins: 'onPrimary',
    native: true,
    act: async (lab, _guest, strike) => {
      const to = await lab.destination();
      await lab.beginMigration(to, 'wait-unplug');
      await strike();
      await lab.cancelMigration(to);
    },
    datapaths: same(['primary', 'standby', 'primary']),
    ends: ON_PRIMARY,
  },
  {
    name: 'migration failed',
    modes: MODES,
    begins: 'onPrimary',
    unbroken: true,
    act: async (lab, guest, strike) => {
      await parts(lab, guest);
      const to = await lab.destination();
      await lab.beginMigration(to, 'active');
      await strike();
      await pause(AWAY_MS);
      await lab.failMigration(to);
      await returns(lab);
    },
    datapaths: same(['primary', 'standby', 'primary']),
    ends: ON_PRIMARY,
  },
  {
    name: 'foreign MAC',
    modes: MODES,
    begins: 'onStandby',
    act: async (lab, guest, strike) => {
      await lab.plug('primary', FOREIGN_MAC);
      await strike();
      await guest.appears(FOREIGN_MAC, 'primary');
    },
    datapaths: same(['standby']),
    ends: same('fallback'),
  },
  {
    name: 'two primaries',
    modes: MODES,
    begins: 'onPrimary',
    act: async (lab, guest, strike) => {
      await lab.plug('second');
      await guest.appears(MAC, 'second');
      await strike();
      await lab.unplug();
    },
    // The kernel’s net_failover does not adopt the second when the first leaves.
    datapaths: { kernel: ['primary', 'standby'], bond: ['primary', 'standby', 'primary'] },
    ends: { kernel: 'fallback', bond: 'onPrimary' },
  },
];
