// A virtio-serial port of a Windows guest: \\.\Global\NAME, by the driver vioserial, which gives one handle at a time. Such a
// handle does one thing at a time, too, so nothing is read while an answer is being made. Not tried on a real Windows.
import { open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { LineCutter } from '../line-cutter.ts';
import type { Take, VirtioPort } from '../virtio-port.ts';

const AGAIN_MS = 1000;
const CHUNK_BYTES = 8192;

export class WindowsVirtioPort implements VirtioPort {
  readonly #path: string;
  readonly #take: Take;
  readonly #line_bytes: number;
  #handle: Awaited<ReturnType<typeof open>> | null = null;
  #closed = false;

  constructor(name: string, line_bytes: number, take: Take) {
    this.#path = `\\\\.\\Global\\${name}`;
    this.#line_bytes = line_bytes;
    this.#take = take;
    void this.#run();
  }

  async #run(): Promise<void> {
    while (!this.#closed) {
      try {
        this.#handle = await open(this.#path, 'r+');
        await this.#listen(this.#handle);
      } catch {
        // No such port, busy, or gone.
      }
      await this.#handle?.close().catch(() => {});
      this.#handle = null;
      await sleep(AGAIN_MS, undefined, { ref: false });
    }
  }

  async #listen(handle: Awaited<ReturnType<typeof open>>): Promise<void> {
    const lines = new LineCutter(this.#line_bytes);
    while (!this.#closed) {
      const { bytesRead, buffer } = await handle.read(new Uint8Array(CHUNK_BYTES), 0, CHUNK_BYTES, null);
      if (bytesRead === 0) await sleep(AGAIN_MS, undefined, { ref: false });
      // One handle does one thing at a time: an answer goes out before the next read begins.
      for (const { bytes } of lines.push(buffer.subarray(0, bytesRead))) if (bytes !== null) await this.#take(bytes.slice());
    }
  }

  async write(line: string): Promise<boolean> {
    if (this.#handle === null) return false;
    const bytes = Buffer.from(line);
    const written = await this.#handle.write(bytes, 0, bytes.length, null).catch(() => null);
    return written?.bytesWritten === bytes.length;
  }

  close(): void {
    this.#closed = true;
  }
}
