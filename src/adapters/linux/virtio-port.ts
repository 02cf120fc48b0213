// A virtio-serial port of a Linux guest: /dev/virtio-ports/NAME where udev makes it, else the port whose name sysfs tells. It
// is opened without blocking and waited for with poll(2): a blocked read would hold a thread, and the end of the process.
import { closeSync, constants, existsSync, openSync, readdirSync, readFileSync, readSync, writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { LineCutter } from '../line-cutter.ts';
import type { Take, VirtioPort } from '../virtio-port.ts';
import { libc } from './libc.ts';

const AGAIN_MS = 1000;
const WAIT_MS = 250;
const CHUNK_BYTES = 8192;
const POLLIN = 0x1;
const POLLHUP = 0x10;

const SYSFS = '/sys/class/virtio-ports';

/** The device file of the port with this name; null where there is none. */
export const linuxPort = (name: string, sysfs = SYSFS, dev = '/dev'): string | null => {
  const byUdev = `${dev}/virtio-ports/${name}`;
  if (existsSync(byUdev)) return byUdev;
  try {
    const port = readdirSync(sysfs).find((one) => readFileSync(`${sysfs}/${one}/name`, 'utf8').trim() === name);
    return port === undefined ? null : `${dev}/${port}`;
  } catch {
    return null;
  }
};

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? '';

export class LinuxVirtioPort implements VirtioPort {
  readonly #name: string;
  readonly #take: Take;
  readonly #line_bytes: number;
  readonly #buffer = new Uint8Array(CHUNK_BYTES);
  #fd: number | null = null;
  #closed = false;

  constructor(name: string, line_bytes: number, take: Take) {
    this.#name = name;
    this.#line_bytes = line_bytes;
    this.#take = take;
    void this.#run();
  }

  async #run(): Promise<void> {
    while (!this.#closed) {
      const path = linuxPort(this.#name);
      try {
        if (path !== null) {
          this.#fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
          await this.#listen(this.#fd);
        }
      } catch {
        // Busy (somebody else has it), or gone with its device.
      }
      this.#drop();
      await sleep(AGAIN_MS, undefined, { ref: false });
    }
  }

  /** Returns when the port is gone. Without a host behind it a read gives nothing at once. */
  async #listen(fd: number): Promise<void> {
    const lines = new LineCutter(this.#line_bytes);
    while (!this.#closed) {
      const happened = await this.#wait(fd);
      if (this.#closed) return;
      // Nobody is behind it at the moment.
      if ((happened & POLLHUP) !== 0) await sleep(AGAIN_MS, undefined, { ref: false });
      if ((happened & POLLIN) === 0) continue;
      let length = 0;
      try {
        length = readSync(fd, this.#buffer, 0, CHUNK_BYTES, null);
      } catch (error) {
        if (codeOf(error) !== 'EAGAIN' && codeOf(error) !== 'EINTR') return;
      }
      for (const { bytes } of lines.push(this.#buffer.slice(0, length))) if (bytes !== null) void this.#take(bytes);
    }
  }

  /** What poll(2) says of the port, 0 when nothing happens for a while: a process that exits waits for that. */
  #wait(fd: number): Promise<number> {
    const polled = new Uint8Array(8);
    const view = new DataView(polled.buffer);
    view.setInt32(0, fd, true);
    view.setInt16(4, POLLIN, true);
    return new Promise((resolve) => libc().poll.async(polled, 1, WAIT_MS, () => resolve(view.getInt16(6, true))));
  }

  write(line: string): Promise<boolean> {
    if (this.#fd === null) return Promise.resolve(false);
    const bytes = Buffer.from(line);
    try {
      return Promise.resolve(writeSync(this.#fd, bytes) === bytes.length);
    } catch {
      return Promise.resolve(false);
    }
  }

  #drop(): void {
    if (this.#fd !== null) closeSync(this.#fd);
    this.#fd = null;
  }

  /** The file is closed when nobody waits for it any more. */
  close(): void {
    this.#closed = true;
  }
}
