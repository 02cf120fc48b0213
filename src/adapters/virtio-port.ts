// The guest's end of the channel to its hypervisor: a virtio-serial port (linux/virtio-port.ts, windows/virtio-port.ts). It is
// there or not, and has a host behind it or not, and neither is an error: it is looked for again and again.

export interface VirtioPort {
  /** Writes a line; false where nobody takes it. */
  write(line: string): Promise<boolean>;
  close(): void;
}

/** What comes in, line by line. Where a port does one thing at a time, the next is read when the promise is resolved. */
export type Take = (line: Uint8Array) => Promise<void>;
