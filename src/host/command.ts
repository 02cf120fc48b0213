// What a command is: how it is described (the list is commands.ts), what it is given, and what it may touch.
import type { ExitName } from '../events/errors.ts';

/** A command line that was understood. Asking for an option that the command does not declare is a fault of ours. */
export interface Arguments {
  readonly command: string;
  readonly positionals: readonly string[];
  readonly flag: (name: string) => boolean;
  readonly text: (name: string) => string | undefined;
  readonly number: (name: string) => number | undefined;
}

/** What a command may touch of its process. */
export interface Io {
  readonly stdin: NodeJS.ReadableStream;
  readonly stdout: NodeJS.WritableStream & { readonly isTTY?: boolean };
  readonly stderr: NodeJS.WritableStream;
}

/** A command: the exit code is its result; a NetkvmError is what it says to the user when it fails. */
export type Run = (args: Arguments, io: Io) => Promise<number>;

export interface Option {
  readonly name: string;
  readonly short?: string;
  readonly meaning: string;
  /** Word for the value in help texts; an option without one is a flag. */
  readonly value?: string;
  readonly choices?: readonly string[];
  /** Makes the value a number within this range; a whole one unless `fraction`. */
  readonly range?: readonly [min: number, max: number];
  readonly fraction?: true;
}

export interface Positional {
  readonly name: string;
  readonly meaning: string;
  readonly required?: true;
  /** How many words it may have; one unless given. */
  readonly words?: number;
  /** An empty word is one, too. */
  readonly empty?: true;
}

export interface Command {
  /** One word, or two (`log export`). */
  readonly name: string;
  /** A shorter word for it. */
  readonly alias?: string;
  readonly summary: string;
  readonly positionals?: readonly Positional[];
  readonly options: readonly Option[];
  /** The words behind it are taken as they are, whatever they look like. */
  readonly verbatim?: true;
  /** Options of which only one may be given. */
  readonly exclusive?: readonly (readonly [string, string])[];
  readonly examples: readonly (readonly [line: string, meaning: string])[];
  readonly exits: readonly ExitName[];
}
