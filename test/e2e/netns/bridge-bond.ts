// A stand-in for a bond where the kernel has none: a bridge with two ports, which the service is shown as an active-backup
// bond. Everything else is real: the kernel's messages, the changes (made with `ip`), and what LinuxPlatform performs itself
// (parameters, giving back). Which port is active is written into the bridge's MTU, so that it is a fact of the kernel, too,
// and outlives the process. Every effect is noted in a file before it is begun.
import { execFile } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { Observable } from 'rxjs';
import type { Adapter, Decision, Observation } from '../../../src/events/catalogue.ts';
import { changesOf, isAnother } from '../../../src/adapters/linux/adapter.ts';
import type { LinuxOptions, LinuxPlatform as Real } from '../../../src/adapters/linux/platform.ts';
import type { Ledger, Outcome, Platform, Sighting } from '../../../src/adapters/platform.ts';

// The real one, past the hook that puts this file in its place.
const { LinuxPlatform: Kernel } = (await import(
  `${new URL('../../../src/adapters/linux/platform.ts', import.meta.url).href}?real`
)) as { LinuxPlatform: typeof Real };

const ACTIVE_MTU = { stby: 1500, prim: 1498 };
const ip = async (...words: string[]): Promise<string | null> => {
  try {
    await promisify(execFile)('ip', words);
    return null;
  } catch (error) {
    return String((error as { stderr?: string }).stderr).trim();
  }
};
const pause = promisify(setTimeout);
const carries = ({ up, carrier }: Adapter): boolean => up && carrier;
const failed = (reason: string): Outcome => ({ result: 'failed', reason, observed: false });

/** What the kernel has, as a guest with a bond would have it. */
const asBond = (real: ReadonlyMap<number, Adapter>): Map<number, Adapter> => {
  const bridge = [...real.values()].find(({ kind }) => kind === 'bridge');
  const ports = [...real.values()].filter(({ master }) => master !== null && master === bridge?.ifindex);
  const chosen = ports.find(({ name }) => name === (bridge?.mtu === ACTIVE_MTU.prim ? 'prim' : 'stby'));
  const active = [chosen, ...ports].find((port) => port !== undefined && carries(port))?.ifindex ?? null;
  return new Map(
    [...real].map(([ifindex, facts]): [number, Adapter] => {
      if (facts === bridge)
        return [ifindex, { ...facts, kind: 'bond', mtu: 1500, carrier: active !== null, bond: { mode: 1, activeSlave: active } }];
      if (!ports.includes(facts)) return [ifindex, facts];
      return [ifindex, { ...facts, slave: { active: ifindex === active, miiUp: carries(facts) } }];
    }),
  );
};

export class LinuxPlatform implements Platform {
  readonly name = 'linux';
  readonly sightings: Observable<Sighting>;
  readonly #inner: Real;
  readonly #real = new Map<number, Adapter>();
  #told = new Map<number, Adapter>();

  constructor(options: LinuxOptions = {}) {
    this.#inner = new Kernel(options);
    this.sightings = new Observable((out) =>
      this.#inner.sightings.subscribe({
        next: ({ at, observations }) => {
          const seen = observations.flatMap((one) => this.#translate(one));
          if (seen.length > 0) out.next({ at, observations: seen });
        },
        error: (error: Error) => out.error(error),
        complete: () => out.complete(),
      }),
    );
  }

  async perform(decision: Decision, signal: AbortSignal, ledger: Ledger): Promise<Outcome> {
    const { kind, primary } = decision;
    const journal = process.env['NETKVM_JOURNAL'];
    if (journal !== undefined) appendFileSync(journal, `${decision.id} ${kind}\n`);
    switch (kind) {
      case 'bindPrimary': {
        const here = primary === null ? undefined : this.#real.get(primary.ifindex);
        if (here?.name !== 'prim') return { result: 'void', reason: 'the primary is gone', observed: false };
        const problem = await ip('link', 'set', 'prim', 'up', 'master', 'br0');
        return this.#readBack(problem, () => this.#real.get(here.ifindex)?.master !== null);
      }
      case 'activatePrimary':
      case 'activateStandby': {
        const mtu = kind === 'activatePrimary' ? ACTIVE_MTU.prim : ACTIVE_MTU.stby;
        const problem = await ip('link', 'set', 'br0', 'mtu', String(mtu));
        return this.#readBack(problem, () => [...this.#real.values()].some((one) => one.kind === 'bridge' && one.mtu === mtu));
      }
      default:
        return this.#inner.perform(decision, signal, ledger);
    }
  }

  async #readBack(problem: string | null, isSo: () => boolean): Promise<Outcome> {
    if (problem !== null) return failed(problem);
    for (let tries = 0; tries < 50 && !isSo(); tries += 1) await pause(10);
    return isSo() ? { result: 'succeeded', reason: null, observed: false } : failed('the facts did not follow');
  }

  #translate(observation: Observation): Observation[] {
    const { type, data } = observation;
    switch (type) {
      case 'survey.taken':
        this.#real.clear();
        for (const facts of data.adapters) this.#real.set(facts.ifindex, facts);
        this.#told = asBond(this.#real);
        return [{ type, data: { ...data, adapters: [...this.#told.values()] } }];
      case 'adapter.appeared':
        this.#real.set(data.ifindex, data);
        return this.#differences(data.ifindex);
      case 'adapter.changed': {
        const known = this.#real.get(data.ifindex);
        if (known !== undefined) this.#real.set(data.ifindex, { ...known, ...data.changed });
        return this.#differences();
      }
      case 'adapter.gone':
        this.#real.delete(data.ifindex);
        return this.#differences();
      default:
        return [observation];
    }
  }

  /** What is told of the ports and the bridge follows from each other. `anew`: an adapter that is another one for sure. */
  #differences(anew?: number): Observation[] {
    const before = this.#told;
    const after = asBond(this.#real);
    this.#told = after;
    const found: Observation[] = [];
    for (const ifindex of before.keys()) if (!after.has(ifindex)) found.push({ type: 'adapter.gone', data: { ifindex } });
    for (const [ifindex, facts] of after) {
      const known = before.get(ifindex);
      if (known !== undefined && (ifindex === anew || isAnother(known, facts)))
        found.push({ type: 'adapter.gone', data: { ifindex } });
      if (known === undefined || ifindex === anew || isAnother(known, facts)) {
        found.push({ type: 'adapter.appeared', data: facts });
        continue;
      }
      const changed = changesOf(known, facts);
      if (changed !== null) found.push({ type: 'adapter.changed', data: { ifindex, changed } });
    }
    return found;
  }

  survey(reason: string): void {
    this.#inner.survey(reason);
  }
  now(): ReturnType<Platform['now']> {
    return this.#inner.now();
  }
  after(delay_ms: number, act: () => void): () => void {
    return this.#inner.after(delay_ms, act);
  }
  bootId(): string {
    return this.#inner.bootId();
  }
  close(): Promise<void> {
    return this.#inner.close();
  }
}
