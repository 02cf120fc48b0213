// A packet meter's side of a migration: which packets were missing when, on the hosts' clock.
import type { History } from '../../src/adapters/log/history.ts';
import { HOLES_MAX, type Metered, readLosses } from '../../src/adapters/losses.ts';
import { complaintOf } from '../replay.ts';

export interface Losses extends Omit<Metered, 'damage'> {
  readonly name: string;
  readonly file: string;
  readonly complaints: readonly string[];
  readonly damaged: boolean;
}

/** Reads the file of a meter to its end. Throws NetkvmError `recording.*`. */
export const lossesOf = async (name: string, { name: file, chunks }: History<'losses'>): Promise<Losses> => {
  const { damage, ...metered } = await readLosses(file, chunks);
  const complaints = damage.map((one) => complaintOf(file, one));
  if (metered.holes.length === HOLES_MAX) complaints.push(`${file}: only the first ${HOLES_MAX} holes are shown`);
  return { ...metered, name, file, complaints, damaged: damage.some(({ torn }) => !torn) };
};
