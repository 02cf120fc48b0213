// Before the machines: what is needed is there, and their disk is made; tests `inject('disk')`.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { type Disk, makeMachineDisk, missing } from './disk.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    disk: Disk;
  }
}

/** Errors: one line that says what to install. */
export const setup = async (project: TestProject): Promise<() => void> => {
  const lacks = missing();
  if (lacks !== null) throw new Error(lacks);
  const work = mkdtempSync(join(tmpdir(), 'netkvm-disk-'));
  const remove = (): void => rmSync(work, { recursive: true, force: true });
  try {
    project.provide('disk', await makeMachineDisk(work));
    return remove;
  } catch (error) {
    remove();
    throw error;
  }
};
