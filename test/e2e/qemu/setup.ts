// Before the guests: what is needed is there, the image is built, and the accelerator chosen; tests `inject('guests')`.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { image, missing } from './image.ts';
import type { Setup } from './lab.ts';
import { bootKernel, chooseAccelerator } from './vm.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    guests: Setup;
    /** The whole matrix instead of the smoke subset. */
    full: boolean;
    /** What chance begins with. */
    seed: number;
  }
}

/** Errors: one line that says what to install. */
export const prepare = async (folder: string): Promise<Setup> => {
  const lacks = missing();
  if (lacks !== null) throw new Error(lacks);
  const made = await image(folder);
  const boot = bootKernel(made.kernel, made.initrd, 'nodrivers');
  return { ...made, accelerator: await chooseAccelerator({ name: 'trial', folder, launcher: [], boot }) };
};

export const setup = async (project: TestProject): Promise<() => void> => {
  const folder = mkdtempSync(join(tmpdir(), 'netkvm-guests-'));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  try {
    project.provide('guests', await prepare(folder));
    project.provide('full', process.env['NETKVM_QEMU'] === 'full');
    project.provide('seed', Number(process.env['NETKVM_SEED'] ?? Date.now() % 2 ** 32));
    return remove;
  } catch (error) {
    remove();
    throw error;
  }
};
