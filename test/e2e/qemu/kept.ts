// What takes an hour is run in parts: results are kept in the cache folder, by the name of what they are results of, and a
// page is made of all that are there. A result that is made again takes the place of the earlier one.
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CACHE } from './image.ts';

/** When it was made (ISO 8601), and how busy the machine was then: processes that wanted a CPU. */
export interface Made {
  readonly at: string;
  readonly load: number;
}

export class Kept<T extends Made> {
  readonly #file: string;

  constructor(name: string) {
    this.#file = join(CACHE, `${name}.json`);
  }

  all(): Readonly<Record<string, T>> {
    try {
      return JSON.parse(readFileSync(this.#file, 'utf8')) as Record<string, T>;
    } catch {
      return {}; // None yet, or torn: then it is run anew.
    }
  }

  keep(more: Readonly<Record<string, T>>): void {
    mkdirSync(CACHE, { recursive: true });
    writeFileSync(`${this.#file}.new`, JSON.stringify({ ...this.all(), ...more }));
    renameSync(`${this.#file}.new`, this.#file);
  }

  forget(): void {
    rmSync(this.#file, { force: true });
  }
}

/** `2026-11-25, 13:05 to 13:50 UTC` of all that were made. */
export const madeWhen = (results: readonly Made[]): string => {
  const times = results.map(({ at }) => at.slice(0, 16)).toSorted();
  const [day = '', from = ''] = times[0]?.split('T') ?? [];
  const [lastDay = '', to = ''] = times.at(-1)?.split('T') ?? [];
  return `${day}, ${from} to ${lastDay === day ? '' : `${lastDay} `}${to} UTC`;
};
