// One message of QEMU's monitor protocol (docs/interop/qmp-spec.rst), as far as this program has a use for it. What comes in
// was written by another process or found in a file: names and texts are bounded, and of the data only plain fields are kept.

/** Plain fields of an object; nested ones are left out. */
export type QmpFields = Readonly<Record<string, string | number | boolean>>;

export type QmpMessage =
  | { readonly kind: 'greeting'; readonly version: string }
  /** `at_ns` is the realtime clock of the host, whole microseconds; null where QEMU could not read it. */
  | { readonly kind: 'event'; readonly name: string; readonly fields: QmpFields; readonly at_ns: bigint | null }
  | { readonly kind: 'return'; readonly fields: QmpFields }
  | { readonly kind: 'error'; readonly name: string; readonly text: string }
  | { readonly kind: 'command'; readonly name: string; readonly fields: QmpFields };

const FIELDS_MAX = 64;
const TEXT_MAX = 1024;
const NAME = /^[A-Za-z0-9_.-]{1,128}$/;

type JsonObject = Readonly<Record<string, unknown>>;
export const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const fieldsOf = (value: unknown): QmpFields => {
  if (!isObject(value)) return {};
  const kept: [string, string | number | boolean][] = [];
  for (const [key, field] of Object.entries(value)) {
    if (kept.length >= FIELDS_MAX) break;
    if (!NAME.test(key)) continue;
    if (typeof field === 'string') kept.push([key, field.slice(0, TEXT_MAX)]);
    else if (typeof field === 'number' || typeof field === 'boolean') kept.push([key, field]);
  }
  return Object.fromEntries(kept);
};

/** `{"seconds":1795329754,"microseconds":284489}`; QEMU writes -1 for both when it has no clock. */
const timeOf = (value: unknown): bigint | null => {
  if (!isObject(value)) return null;
  const { seconds, microseconds } = value;
  if (!Number.isSafeInteger(seconds) || !Number.isSafeInteger(microseconds)) return null;
  const [s, us] = [seconds as number, microseconds as number];
  return s < 0 || s > 1e11 || us < 0 || us > 999_999 ? null : BigInt(s) * 1_000_000_000n + BigInt(us) * 1000n;
};

/** What a parsed line of the monitor says; null when it is no message of the protocol. Never throws. */
export const readQmp = (value: unknown): QmpMessage | null => {
  if (!isObject(value)) return null;
  const { event, data, timestamp, execute, error } = value;
  if (typeof event === 'string')
    return NAME.test(event) ? { kind: 'event', name: event, fields: fieldsOf(data), at_ns: timeOf(timestamp) } : null;
  const command = execute ?? value['exec-oob'];
  if (typeof command === 'string')
    return NAME.test(command) ? { kind: 'command', name: command, fields: fieldsOf(value['arguments']) } : null;
  if (isObject(error)) {
    const { class: name, desc } = error;
    return {
      kind: 'error',
      name: typeof name === 'string' ? name.slice(0, TEXT_MAX) : 'GenericError',
      text: typeof desc === 'string' ? desc.slice(0, TEXT_MAX) : '',
    };
  }
  if ('return' in value) return { kind: 'return', fields: fieldsOf(value['return']) };
  if (isObject(value['QMP'])) return { kind: 'greeting', version: versionOf(value['QMP']) };
  return null;
};

const versionOf = ({ version }: JsonObject): string => {
  const qemu = isObject(version) ? version['qemu'] : null;
  if (!isObject(qemu)) return 'unknown';
  return [qemu['major'], qemu['minor'], qemu['micro']].map((part) => (Number.isSafeInteger(part) ? String(part) : '?')).join('.');
};
