// The MAC that a VF has while it is hidden from its guest. A file of its own: the configuration needs it without the chart.

/** The pair's MAC made another, locally administered one, so that no device has it by birth. */
export const parkingOf = (mac: string): string => {
  const first = (Number.parseInt(mac.slice(0, 2), 16) | 2) ^ 4;
  return first.toString(16).padStart(2, '0') + mac.slice(2);
};
