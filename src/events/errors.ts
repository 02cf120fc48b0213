// Every error a user can meet, with its exit code, cause and cure, in one list; docs/errors.md is compared with it by a
// test. An error says in one line what was wrong, where, and what to do. Anything else that is thrown is a fault of ours.

/** Exit codes of the command line, frozen. */
export const EXIT = {
  done: 0,
  fault: 1,
  usage: 2,
  timedOut: 3,
  degraded: 4,
  notRunning: 5,
  configuration: 6,
  damaged: 7,
  notPermitted: 8,
  refused: 9,
  rebootRequired: 10,
} as const;
export type ExitName = keyof typeof EXIT;
/** What the original tools say instead, when called by their names (winerror.h): ERROR_INVALID_PARAMETER, ERROR_SUCCESS_REBOOT_REQUIRED. */
export const ORIGINAL_EXIT = { invalidParameter: 87, rebootRequired: 3010 } as const;

interface ErrorEntry {
  readonly exit: ExitName;
  readonly meaning: string;
  readonly cure: string;
}
const entry = (exit: ExitName, meaning: string, cure: string): ErrorEntry => ({ exit, meaning, cure });

export const ERRORS = {
  'usage.command': entry('usage', 'The command line could not be understood.', 'See `netkvm help`.'),
  'usage.value': entry(
    'usage',
    'A value on the command line is not one that is taken there.',
    'Give one as the message says; `netkvm help COMMAND` lists what a command takes.',
  ),
  'node.version': entry('usage', 'The running Node is older than 22.18.', 'Install Node 22.18 or newer.'),
  'config.unreadable': entry('configuration', 'The configuration file cannot be read.', 'Check path and permissions.'),
  'config.syntax': entry('configuration', 'The configuration file is not valid TOML.', 'Mend the line that is named.'),
  'config.key': entry('configuration', 'The configuration has a key that does not exist.', 'The message suggests a near one.'),
  'config.value': entry('configuration', 'A configuration value has the wrong type or range.', 'The message names the range.'),
  'log.locked': entry(
    'refused',
    'Another process is writing this log.',
    'Stop the process that is named, or use another folder.',
  ),
  'log.conflict': entry('fault', 'The log has moved on under its writer.', 'Another writer ignored the lock: report this.'),
  'log.unwritable': entry(
    'notPermitted',
    'The log cannot be created or written.',
    'Check permissions and free space of its folder.',
  ),
  'log.missing': entry(
    'notRunning',
    'There is no log in this folder, or no such log on this server.',
    'Start the service, or name the right one.',
  ),
  'log.newer': entry('damaged', 'The log was written by a newer version.', 'Use that version or a newer one.'),
  'log.damaged': entry(
    'damaged',
    'The log fails its integrity check.',
    'Export what can be read; the service sets it aside by itself.',
  ),
  'recording.unreadable': entry('refused', 'A file cannot be opened or read.', 'Check path and permissions.'),
  'recording.unwritable': entry('notPermitted', 'A file cannot be written.', 'Check permissions and free space of its folder.'),
  'recording.empty': entry('damaged', 'The file holds no event.', 'Record again.'),
  'recording.format': entry(
    'damaged',
    'The file is neither a recording nor a raw capture.',
    'Name a file that `netkvm record` wrote.',
  ),
  'recording.newer': entry(
    'damaged',
    'The recording has a newer format version.',
    'Use the version that wrote it or a newer one.',
  ),
  'recording.hash': entry('damaged', 'A line of the recording was changed, cut or moved.', 'Get the original file again.'),
  'recording.line': entry('damaged', 'A line of the recording is not a valid event.', 'Get the original file again.'),
  'replay.diverged': entry(
    'damaged',
    'Folding the recording does not give the decisions that it records.',
    'Report it with the recording.',
  ),
  'control.unreachable': entry('notRunning', 'The service does not answer on its control socket.', 'Start it with `netkvm run`.'),
  'control.request': entry('usage', 'The service did not understand the request.', 'Use the same version of client and service.'),
  'control.unusable': entry(
    'refused',
    'The control socket cannot be made at its place.',
    'Name another one with controlSocket in the configuration.',
  ),
  'control.busy': entry('refused', 'The service has as many control clients as it takes.', 'End one of them, or try again.'),
  'command.refused': entry('refused', 'The service does not do this now.', 'The message says why.'),
  'inspect.tooLong': entry(
    'refused',
    'The file has more events than a page can show.',
    'Name an earlier end with `netkvm replay FILE --until SEQ --html OUT`.',
  ),
  'inspect.unusable': entry('refused', 'The inspector cannot listen on its port.', 'Name another one with `--port`.'),
  'inspect.feed': entry('refused', 'The receiver of the xstate protocol does not answer.', 'Start it, or check its URL.'),
  'platform.unsupported': entry('refused', 'This operating system has no adapter here.', 'Use Linux or Windows, or a recording.'),
  'platform.netlink': entry(
    'refused',
    'The kernel refused a netlink operation.',
    'The message names the operation and the errno.',
  ),
  'windows.refused': entry('refused', 'Windows refused an operation.', 'The message names the operation and the reason.'),
  'windows.notPermitted': entry(
    'notPermitted',
    'Windows did not permit an operation.',
    'Run it elevated (as administrator), or as a service.',
  ),
  'parameter.device': entry(
    'usage',
    'The word names no network device, or more than one.',
    'See `netkvm show devices`; an index, a MAC, a name or an instance id will do.',
  ),
  'parameter.name': entry('usage', 'The device has no such parameter.', 'See `netkvm show parameters`.'),
  'parameter.value': entry('usage', 'The parameter does not take this value.', 'The message says what it takes.'),
  'parameter.pair': entry(
    'refused',
    'The value would part the device from its pair.',
    'Change the other device first, or write it with --force.',
  ),
  'parameter.notPermitted': entry(
    'notPermitted',
    'The system does not let this user change parameters, or restart devices.',
    'Run it as root, on Windows as administrator.',
  ),
  'parameter.refused': entry('refused', 'The system did not do what it was asked for.', 'The message says why.'),
  'service.notPermitted': entry(
    'notPermitted',
    'The system’s services can be changed by root, or an administrator, only.',
    'Run it as root; on Windows elevated.',
  ),
  'service.noManager': entry(
    'refused',
    'No systemd runs this system, so that it cannot run the service.',
    'Start `netkvm run` with what this system starts services with.',
  ),
  'service.refused': entry(
    'refused',
    'The service manager did not do what it was asked for.',
    'See `systemctl status netkvm-failover` and `journalctl -u netkvm-failover`; on Windows the event log.',
  ),
  'kurrentdb.missing': entry(
    'refused',
    'The KurrentDB client cannot be loaded.',
    'npm install @kurrent/kurrentdb-client, on a platform that it has a binary for.',
  ),
  'kurrentdb.unreachable': entry(
    'refused',
    'The KurrentDB server does not answer, or not as expected.',
    'Check address, TLS and the server itself.',
  ),
  'kurrentdb.denied': entry(
    'notPermitted',
    'The KurrentDB server does not let this user do that.',
    'Check credentialsFile, or the access rights on the server.',
  ),
  'kurrentdb.deleted': entry(
    'refused',
    'The stream was deleted for good (tombstoned) on the server.',
    'Its name cannot be used again: begin a new log, or end forwarding.',
  ),
  'kurrentdb.tooLarge': entry(
    'refused',
    'An event is larger than the server takes.',
    'Raise MaxAppendSize on the server; forwarding then goes on by itself.',
  ),
  'fleet.checkpoint': entry(
    'refused',
    'The file for `--checkpoint` cannot be used.',
    'Name another file, or remove it: without one everything is read.',
  ),
  'wait.timedOut': entry('timedOut', 'The awaited state did not come in time.', 'The message says what was still missing.'),
} as const;
export type ErrorCode = keyof typeof ERRORS;

export class NetkvmError extends Error {
  override readonly name = 'NetkvmError';
  readonly code: ErrorCode;
  /** `text` says what and where; the cure from the list is added where the text has none of its own. */
  constructor(code: ErrorCode, text: string, options?: ErrorOptions) {
    super(text, options);
    this.code = code;
  }
  get exit(): number {
    return EXIT[ERRORS[this.code].exit];
  }
  /** The one line a user sees. */
  get line(): string {
    return `${this.message} [${this.code}] ${ERRORS[this.code].cure}`;
  }
}
