// The parameters of network devices, as far as `netkvm getparam`, `setparam` and their like need them: one store per
// operating system (windows/parameters.ts: the driver's INF parameters in the registry; linux/parameters.ts: what ethtool
// and rtnetlink offer). Values are text, as the registry has them; what they mean is parameter-values.ts.

/** What values a parameter takes. The kinds are those of an INF file (Ndi\Params\NAME\Type). */
export type ParameterType =
  | { readonly kind: 'enum'; readonly values: readonly { readonly value: string; readonly meaning: string }[] }
  | {
      readonly kind: 'int' | 'long' | 'word' | 'dword';
      readonly min: number;
      readonly max: number;
      /** At least 1; counted from `min`. */
      readonly step: number;
    }
  | {
      readonly kind: 'text';
      /** Characters at most; null for no limit. */
      readonly limit: number | null;
      readonly upperCase: boolean;
    }
  /** A type that nobody knows: it is listed, and never written. */
  | { readonly kind: 'unknown'; readonly name: string };

export interface Parameter {
  readonly name: string;
  readonly description: string;
  readonly type: ParameterType;
  /** What holds where nothing is stored. */
  readonly initial: string | null;
  /** May be without a value. */
  readonly optional: boolean;
  /** What is stored now, valid or not; null where nothing is. */
  readonly stored: string | null;
  /** The driver does not let it be changed. */
  readonly readOnly: boolean;
  /** What has to agree with the pair: an MTU in bytes, a whole frame (MTU and 14 bytes of header), the MAC. */
  readonly bears: 'mtu' | 'frame' | 'mac' | null;
}

export interface ParameterDevice {
  /** Device instance id (Windows); place on its bus, or its name where it has none (Linux). */
  readonly id: string;
  readonly name: string;
  readonly description: string;
  readonly location: string;
  readonly busNumber: number;
  /** Where its parameters are stored. */
  readonly key: string;
  /** The MAC by which its driver pairs it. */
  readonly mac: string | null;
  readonly mtu: number | null;
  /** Name of the device that gives it its MTU, null for none (Linux: the master). */
  readonly master: string | null;
}

/** Every method throws `parameter.notPermitted` or `parameter.refused` when the system does not let it. */
export interface ParameterStore {
  /** Whether what is written holds only after a restart of the device. */
  readonly needsRestart: boolean;
  /** In the order of their index. */
  devices(): Promise<readonly ParameterDevice[]>;
  /** Those that cannot be read are listed as `unknown`; one bad one spoils nothing. */
  parameters(device: ParameterDevice): Promise<readonly Parameter[]>;
  /** `null` takes the stored value away. Resolves when it reads back as written. */
  write(device: ParameterDevice, parameter: Parameter, value: string | null): Promise<void>;
  restart(device: ParameterDevice): Promise<'done' | 'rebootRequired'>;
  close(): Promise<void>;
}
