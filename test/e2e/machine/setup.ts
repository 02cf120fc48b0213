// Before the machines: what is needed is there, and their disks are made; tests `inject('disks')`.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { type Disks, makeDisks, missing } from './disk.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    disks: Disks;
  }
}

/** Errors: one line that says what to install. */
export const setup = async (project: TestProject): Promise<() => void> => {
  const lacks = missing();
  if (lacks !== null) throw new Error(lacks);
  const work = mkdtempSync(join(tmpdir(), 'netkvm-disks-'));
  const remove = (): void => rmSync(work, { recursive: true, force: true });
  try {
    project.provide('disks', await makeDisks(work));
    return remove;
  } catch (error) {
    remove();
    throw error;
  }
};
