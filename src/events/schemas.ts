// The words that the catalogue's schemas are made of (catalogue.ts says their units).
import { Type, type TSchema } from 'typebox';

export const Ns = Type.String({ pattern: '^-?[0-9]{1,20}$' });
export const MacText = Type.String({ pattern: '^[0-9a-f]{2}(:[0-9a-f]{2}){5}$' });
export const Short = Type.String({ maxLength: 256 });
export const Text = Type.String({ maxLength: 4096 });
export const Int = Type.Integer({ minimum: -2147483648, maximum: 4294967295 });
export const Nullable = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()]);
export const OneOf = <const T extends readonly string[]>(names: T) => Type.Unsafe<T[number]>(Type.Enum([...names]));
export const Closed = { additionalProperties: false } as const;
