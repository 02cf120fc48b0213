// Any events that the catalogue allows, made from its own schemas: a type that is added there is tested at once.
import fc, { type Arbitrary } from 'fast-check';
import { catalogue, eventTypes, type Happening } from '../../src/events/catalogue.ts';
import type { NewEvent } from '../../src/events/envelope.ts';

interface Schema {
  readonly type?: string;
  readonly pattern?: string;
  readonly maxLength?: number;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly maxItems?: number;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly Schema[];
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly patternProperties?: Readonly<Record<string, Schema>>;
}

/** Values of a schema, small ones. */
const valueOf = (schema: Schema): Arbitrary<unknown> => {
  if (schema.anyOf !== undefined) return fc.oneof(...schema.anyOf.map(valueOf));
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  if (schema.const !== undefined) return fc.constant(schema.const);
  switch (schema.type) {
    case 'string':
      return schema.pattern === undefined
        ? fc.string({ maxLength: Math.min(schema.maxLength ?? 20, 20), unit: 'binary' })
        : fc.stringMatching(new RegExp(schema.pattern));
    case 'integer':
      return fc.integer({ min: schema.minimum ?? 0, max: schema.maximum ?? 1000 });
    case 'number':
      return fc.integer({ min: -1_000_000, max: 1_000_000 });
    case 'boolean':
      return fc.boolean();
    case 'null':
      return fc.constant(null);
    case 'array':
      return fc.array(valueOf(schema.items ?? {}), { maxLength: Math.min(schema.maxItems ?? 3, 3) });
    case 'object':
      return objectOf(schema);
    case undefined:
      return fc.jsonValue({ maxDepth: 4 });
    default:
      throw new Error(`no values for a schema of type ${schema.type}`);
  }
};

const objectOf = (schema: Schema): Arbitrary<unknown> => {
  const [entry] = Object.values(schema.patternProperties ?? {});
  if (entry !== undefined)
    return fc.dictionary(fc.string({ maxLength: 8 }), valueOf(entry), { maxKeys: 3, noNullPrototype: true });
  const properties = Object.entries(schema.properties ?? {}).map(([name, value]) => [name, valueOf(value)] as const);
  return fc.record(Object.fromEntries(properties), { requiredKeys: [...(schema.required ?? [])], noNullPrototype: true });
};

const happening: Arbitrary<Happening> = fc.oneof(
  ...eventTypes.map(
    (type) => fc.record({ type: fc.constant(type), data: valueOf(catalogue[type].data as Schema) }) as Arbitrary<Happening>,
  ),
);

const nanoseconds = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String);

/** Between one and `most` new events, with causes among the events before them when the first gets number 1. */
export const eventList = (most: number): Arbitrary<NewEvent[]> =>
  fc
    .array(
      fc.record({
        happening,
        id: fc.uuid(),
        mono_ns: nanoseconds,
        boot_ns: nanoseconds,
        wall_ns: nanoseconds,
        cause: fc.option(fc.nat()),
        episode: fc.option(fc.integer({ min: 1 }).map((seq) => `e${seq}`)),
      }),
      { minLength: 1, maxLength: most },
    )
    .map((events) =>
      events.map(({ happening: made, cause, ...envelope }, index) => ({
        ...envelope,
        cause: cause === null || index === 0 ? null : 1 + (cause % index),
        ...made,
      })),
    );
