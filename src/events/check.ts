// Whether a value is an event: the catalogue's schemas, compiled, and the rules of the envelope. Every store checks with
// this before it writes and again after it reads, so that a mistake on either side is found by the other. A schema is
// compiled when its type is first met: a start that needs six types does not pay for thirty.
import { Compile, type Validator } from 'typebox/compile';
import { catalogue, eventTypes, type EventType } from './catalogue.ts';
import type { NewEvent } from './envelope.ts';

const types = new Map<string, EventType>(eventTypes.map((type) => [type, type]));
const validators = new Map<EventType, Validator>();

/** The catalogue's own spelling of an event type (one string object for all events), undefined for an unknown one. */
export const eventTypeOf = (text: string): EventType | undefined => types.get(text);

const compiled = (type: EventType): Validator => {
  let validator = validators.get(type);
  if (validator === undefined) {
    validator = Compile(catalogue[type].data);
    validators.set(type, validator);
  }
  return validator;
};

/** What is wrong with the data of an event of this type, in words; null when nothing is. */
export const dataProblem = (type: string, data: unknown): string | null => {
  const known = eventTypeOf(type);
  if (known === undefined) return `unknown event type ${JSON.stringify(type).slice(0, 80)}`;
  const validator = compiled(known);
  if (validator.Check(data)) return null;
  const [first] = validator.Errors(data);
  return `${known}: data${first?.instancePath ?? ''} ${first?.message ?? 'does not fit its schema'}`;
};

const EPISODE = /^e[1-9][0-9]{0,15}$/;
const INT64_MAX = 2n ** 63n - 1n;
const isDigit = (code: number): boolean => code >= 48 && code <= 57;

// Written out, because these two are asked of every event that is read, and a regular expression takes thrice the time.
/** A UUID in lower case. */
const isUuid = (text: string): boolean => {
  if (text.length !== 36) return false;
  for (let index = 0; index < 36; index++) {
    const code = text.charCodeAt(index);
    const fits =
      index === 8 || index === 13 || index === 18 || index === 23 ? code === 45 : isDigit(code) || (code >= 97 && code <= 102);
    if (!fits) return false;
  }
  return true;
};

/** A decimal string in its one spelling whose value fits 64 bits with a sign, as SQLite stores integers. */
export const isNanoseconds = (value: unknown): value is string => {
  if (typeof value !== 'string' || value.length === 0 || value.length > 20) return false;
  const first = value.charCodeAt(0) === 45 ? 1 : 0;
  if (first === value.length) return false;
  if (value.charCodeAt(first) === 48 && value.length > 1) return false;
  for (let index = first; index < value.length; index++) if (!isDigit(value.charCodeAt(index))) return false;
  // Below 9·10^18, which every clock is for centuries, there is nothing to compare.
  const digits = value.length - first;
  if (digits < 19 || (digits === 19 && value.charCodeAt(first) < 57)) return true;
  const number = BigInt(value);
  return number <= INT64_MAX && number >= -INT64_MAX - 1n;
};

/** A sequence number: a whole number from 1 on. */
export const isSeq = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) > 0;

export type EnvelopeFields = { readonly [K in Exclude<keyof NewEvent, 'type' | 'data'>]: unknown };

/** What is wrong with the envelope of the event that has, or is to get, the number `seq`; null when nothing is. */
export const envelopeProblem = (event: EnvelopeFields, seq: number): string | null => {
  if (typeof event.id !== 'string' || !isUuid(event.id)) return 'id is not a UUID in lower case';
  if (!isNanoseconds(event.mono_ns)) return 'mono_ns is not a decimal number of 64 bits';
  if (!isNanoseconds(event.boot_ns)) return 'boot_ns is not a decimal number of 64 bits';
  if (!isNanoseconds(event.wall_ns)) return 'wall_ns is not a decimal number of 64 bits';
  if (event.cause !== null && !(isSeq(event.cause) && event.cause < seq)) return 'cause is not an earlier sequence number';
  if (event.episode !== null && !(typeof event.episode === 'string' && EPISODE.test(event.episode)))
    return 'episode is not `e` and a sequence number';
  return null;
};

/** What is wrong with an event as a whole; null when nothing is. */
export const eventProblem = (
  event: EnvelopeFields & { readonly type: string; readonly data: unknown },
  seq: number,
): string | null => envelopeProblem(event, seq) ?? dataProblem(event.type, event.data);
