// The service manager of an operating system, as far as `netkvm install`, `uninstall` and `query` need it. One class per
// operating system (linux/systemd.ts, windows/service.ts); what a command says and in which order it does things is the host's matter.

/** What the service manager is to start: an interpreter and its script, both absolute. */
export interface Program {
  readonly node: string;
  readonly script: string;
}

export type RunState = 'running' | 'starting' | 'stopping' | 'stopped' | 'failed';

export interface InstallationState {
  /** `package`: the definition belongs to a package of the system, which alone may remove it. */
  readonly installed: 'no' | 'here' | 'package';
  /** Path of the definition; null when there is none. */
  readonly definition: string | null;
  /** Whether the definition is the one that `install` would write. */
  readonly current: boolean;
  /** Starts with the system. */
  readonly enabled: boolean;
  readonly state: RunState;
  readonly pid: number | null;
  /** How often it was restarted after a failure since it was last started on purpose. */
  readonly restarts: number;
  /** What the service says of itself, and why it ended when it failed. */
  readonly text: string | null;
  /** Windows: the driver package's own service; null where there is none. */
  readonly original?: OriginalState | null;
  /** Windows: whether the failover protocol is installed; null where that could not be found out. */
  readonly protocol?: boolean | null;
}

export interface OriginalState {
  readonly name: string;
  readonly state: RunState;
  readonly startType: string;
  /** We have disabled it, and owe it its start type. */
  readonly takenOver: boolean;
}

export interface InstallOptions {
  /** Windows: stop and disable the driver package's own service, until `remove` gives it back. */
  readonly takeOver?: boolean;
}

/** What was done, in the words of the command's output; nothing where all was so already. */
export type Change = string;

/** Every method throws `service.*` when the system refuses. */
export interface Installation {
  query(): Promise<InstallationState>;
  /** Defines the service, enables it, and starts it; resolves when it is ready. */
  install(options?: InstallOptions): Promise<Change[]>;
  /** Ends the service and keeps it from starting with the system. */
  stop(): Promise<Change[]>;
  /** Removes the definition of a stopped service. */
  remove(): Promise<Change[]>;
}
