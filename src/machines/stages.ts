// The stages of a pair and the datapaths, by name: the one list for the chart, the reports and the command line. A file of its
// own, because a short command that only names them must not load xstate.

export const STAGES = [
  'absent',
  'standalone',
  'awaitingPrimary',
  'fallback',
  'attaching',
  'switching',
  'onPrimary',
  'detaching',
] as const;
export type Stage = (typeof STAGES)[number];

/** Which path the guest transmits on. */
export const DATAPATHS = ['none', 'standby', 'primary'] as const;
export type Datapath = (typeof DATAPATHS)[number];

/** Where a pair is, as its hypervisor sees it (migration.ts). */
export const HOST_STAGES = [
  'unwatched',
  'awaited',
  'absent',
  'present',
  'preparing',
  'unplugRequested',
  'waitUnplug',
  'hidden',
  'parked',
  'cancelling',
  'returning',
  'departed',
] as const;
export type HostStage = (typeof HOST_STAGES)[number];
