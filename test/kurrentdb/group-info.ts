// What the stand-in tells of a persistent subscription: its settings, its readers, and how far it is.
import type { Group } from './groups.ts';
import { persistentPb } from './messages.ts';
import type { Stored } from './store.ts';

/** The protocol's numbers of the strategies. */
const STRATEGIES = ['DispatchToSingle', 'RoundRobin', 'Pinned'];

/** `last` is the newest event of the group's source. */
export const infoOf = (
  { eventSource, name, settings, startFrom, consumers, again, parked, total, done }: Group,
  last: Stored | null,
) => {
  const placeOf = (event: Stored | null): string =>
    event === null ? '' : eventSource === '$all' ? `C:${event.position}/P:${event.position}` : String(event.revision);
  const info = new persistentPb.SubscriptionInfo();
  info.setEventSource(eventSource);
  info.setGroupName(name);
  info.setStatus('Live');
  info.setStartFrom(startFrom);
  info.setResolveLinkTos(settings.getResolveLinks());
  info.setExtraStatistics(settings.getExtraStatistics());
  info.setMessageTimeoutMilliseconds(settings.getMessageTimeoutMs());
  info.setMaxRetryCount(settings.getMaxRetryCount());
  info.setLiveBufferSize(settings.getLiveBufferSize());
  info.setBufferSize(settings.getHistoryBufferSize());
  info.setReadBatchSize(settings.getReadBatchSize());
  info.setCheckPointAfterMilliseconds(settings.getCheckpointAfterMs());
  info.setMinCheckPointCount(settings.getMinCheckpointCount());
  info.setMaxCheckPointCount(settings.getMaxCheckpointCount());
  info.setMaxSubscriberCount(settings.getMaxSubscriberCount());
  info.setNamedConsumerStrategy(STRATEGIES[settings.getNamedConsumerStrategy()] ?? 'RoundRobin');
  info.setTotalItems(String(total));
  info.setCountSinceLastMeasurement('0');
  info.setLiveBufferCount('0');
  info.setRetryBufferCount(again.length);
  info.setParkedMessageCount(String(parked.length));
  const inHand = consumers.reduce((sum, consumer) => sum + consumer.inHand.size, 0);
  info.setTotalInFlightMessages(inHand);
  info.setOutstandingMessagesCount(inHand);
  info.setLastCheckpointedEventPosition(placeOf(done));
  info.setLastKnownEventPosition(placeOf(last));
  info.setConnectionsList(
    consumers.map(({ call, buffer, inHand: held, total: given }) => {
      const connection = new persistentPb.SubscriptionInfo.ConnectionInfo();
      connection.setFrom(call.getPeer());
      connection.setTotalItems(String(given));
      connection.setCountSinceLastMeasurement('0');
      connection.setAvailableSlots(buffer - held.size);
      connection.setInFlightMessages(held.size);
      return connection;
    }),
  );
  return info;
};
