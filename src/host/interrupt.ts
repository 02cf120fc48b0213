// Ctrl-C and SIGTERM as an AbortSignal, for commands that run until they are told to stop.

/** Aborts at the first SIGINT or SIGTERM; the reason is the signal's name. A second one ends the process as usual. */
export const interrupted = (): AbortSignal => {
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => controller.abort(name));
  return controller.signal;
};
