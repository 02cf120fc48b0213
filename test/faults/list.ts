// All faults, in their order: what docs/faults.md is made from, and what test/unit/faults.unit.test.ts tries.
import { EFFECT_FAULTS } from './effects.ts';
import { EVENT_FAULTS } from './events.ts';
import type { Fault } from './given.ts';
import { MIGRATION_FAULTS } from './migrations.ts';
import { PAIR_FAULTS } from './pairs.ts';
import { PARAMETER_FAULTS } from './parameters.ts';
import { RECORD_FAULTS } from './records.ts';

export const FAULTS: readonly Fault[] = [
  ...EVENT_FAULTS,
  ...PAIR_FAULTS,
  ...EFFECT_FAULTS,
  ...MIGRATION_FAULTS,
  ...RECORD_FAULTS,
  ...PARAMETER_FAULTS,
];
