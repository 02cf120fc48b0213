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
