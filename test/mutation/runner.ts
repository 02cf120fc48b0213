// As much of vitest as the judging tests use, without its cost: tests are collected by loading their files, and run one by
// one. quick-judge.ts puts it in vitest's place.
import { chai, JestAsymmetricMatchers, JestChaiExpect, JestExtend } from '@vitest/expect';

type Act = () => unknown;
interface Collected {
  readonly name: string;
  readonly run: Act;
  readonly before: readonly Act[];
  readonly after: readonly Act[];
}
interface Suite {
  readonly name: string;
  readonly before: Act[];
  readonly after: Act[];
}

chai.use(JestExtend);
chai.use(JestChaiExpect);
chai.use(JestAsymmetricMatchers);
export const expect = chai.expect;

export const collected: Collected[] = [];
let suites: readonly Suite[] = [{ name: '', before: [], after: [] }];
const inner = (): Suite => suites.at(-1) as Suite;
/** Once for all tests of its suite, when the first of them runs. */
const once = (act: Act): Act => {
  let done: { result: unknown } | null = null;
  return () => (done ??= { result: act() }).result;
};

export const beforeEach = (act: Act): void => void inner().before.push(act);
export const afterEach = (act: Act): void => void inner().after.push(act);
export const beforeAll = (act: Act): void => void inner().before.push(once(act));
export const afterAll = (): void => {};

type Body = (...args: never[]) => unknown;
const each =
  (add: (name: string, body: Act) => void) =>
  (rows: readonly unknown[]) =>
  (name: string, body: Body): void => {
    for (const [at, row] of rows.entries()) add(`${name} ${at}`, () => body(...((Array.isArray(row) ? row : [row]) as never[])));
  };
const addSuite = (name: string, body: Act): void => {
  const outer = suites;
  suites = [...suites, { name, before: [], after: [] }];
  body();
  suites = outer;
};
const addTest = (name: string, body: Act): void => {
  const within = suites;
  collected.push({
    name: [...within.map((suite) => suite.name), name].filter(Boolean).join(' > '),
    run: body,
    get before() {
      return within.flatMap((suite) => suite.before);
    },
    get after() {
      return within.toReversed().flatMap((suite) => suite.after);
    },
  });
};
const conditional = (add: (name: string, body: Act) => void) => (skipped: unknown) =>
  Object.assign(skipped === true ? () => {} : add, { each: skipped === true ? () => () => {} : each(add) });

export const describe = Object.assign(addSuite, { each: each(addSuite), skipIf: conditional(addSuite) });
export const test = Object.assign(addTest, { each: each(addTest), skipIf: conditional(addTest) });
/** Tests that need more of vitest than this fail without a mutant, and are left out. */
export const vi = {};
