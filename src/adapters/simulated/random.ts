// Chance from a seed: sfc32 (Chris Doty-Humphrey, PractRand), a small generator with a period of at least 2^32. The same
// seed gives the same numbers on every machine; a fork is a generator of its own, so that one part of a simulation drawing
// more numbers does not change what another part draws.

export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** `seed` is a whole number; `stream` names the part of the simulation that draws. */
  constructor(seed: number, stream = '') {
    let hash = 2166136261;
    for (const character of stream) hash = Math.imul(hash ^ character.charCodeAt(0), 16777619);
    this.#a = seed >>> 0;
    this.#b = Math.floor(seed / 4294967296) >>> 0;
    this.#c = hash >>> 0;
    for (let warmUp = 0; warmUp < 15; warmUp += 1) this.next();
  }

  /** A whole number of 32 bits. */
  next(): number {
    const result = (this.#a + this.#b + this.#counter) >>> 0;
    this.#counter = (this.#counter + 1) >>> 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) >>> 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) >>> 0;
    this.#c = (this.#c + result) >>> 0;
    return result;
  }

  /** From 0 up to, not including, 1. */
  fraction(): number {
    return this.next() / 4294967296;
  }

  /** A whole number from `min` to `max`, both included. */
  between(min: number, max: number): number {
    return min + Math.floor(this.fraction() * (max - min + 1));
  }

  /** Whether something of this probability happens. Nothing is drawn for what cannot happen. */
  chance(probability: number): boolean {
    return probability > 0 && this.fraction() < probability;
  }

  pick<T>(items: readonly T[]): T {
    const item = items[Math.floor(this.fraction() * items.length)];
    if (item === undefined) throw new Error('nothing to pick from');
    return item;
  }
}
