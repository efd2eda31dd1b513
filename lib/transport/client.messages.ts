/** What the client's errors say; tests use the same functions. */
export const clientMessages = {
  noConsumer: () => 'No consumer initialized. Please, call the "connect" method first.',
  noGroup: () =>
    `A client with "replyPartition: 'shared'" is in no group: it has no consumer, and no offsets to commit.`,
  noProducer: () => 'No producer initialized. Please, call the "connect" method first.',
  notInitialized: () => 'Not initialized. Please call the "connect" method first.',
  eventsUnsupported: () =>
    'Method is not supported for Kafka client: subscribe to "status", or use the driver\'s "consumer" and "producer"',
  ownsAssigner: () =>
    'belongs to the client: another assigner would take reply partitions away from requests on their way. Remove it',
  closedWhileWaiting: (topic: string) => `The client was closed before the reply to "${topic}" arrived`,
  closedBeforeSent: () => 'The client was closed before the message was sent',
  closedWhileConnecting: () => 'The client was closed while it was connecting',
  producerOnly: (topic: string) =>
    `send() to "${topic}" needs a consumer for the reply, which "producerOnlyMode" rules out. Use emit(), or a client ` +
    'without that option.',
  notSubscribed: (topic: string, replyTopic: string) =>
    `The client consumer did not subscribe to the corresponding reply topic (${replyTopic}). Call ` +
    `subscribeToResponseOf('${topic}') before connect() and before the first emit() or send(), for example in ` +
    'onModuleInit().',
  subscribedLate: (replyTopic: string) =>
    `"${replyTopic}" was subscribed to after connect(); it counts from the next close() and connect()`,
  unassigned: (replyTopic: string, milliseconds: number) =>
    `No partition of the reply topic "${replyTopic}" was assigned within requestTimeout (${milliseconds} ms): the ` +
    "client's group is still rebalancing. The request was not sent.",
  waitsHere: (request: string) =>
    `the request is ${request}, a partition that this process itself holds, and its handler was not called yet. A handler ` +
    'that waits for a request behind the record that it handles, or for one that finds no free slot, waits for itself: ' +
    'ask on another topic or partition, set "ordering" to \'key\', raise "concurrency", or return without the reply.',
  partitionMissing: (replyTopic: string, count: number | undefined) =>
    `No partition of the reply topic "${replyTopic}" was assigned to this client: ` +
    (count === undefined
      ? 'all its partitions are'
      : `its ${count} partition${count === 1 ? ' is' : 's are'}`) +
    ` held by other clients of its group. Add partitions to "${replyTopic}", at least one for each running client, or ` +
    `set "replyPartition: 'shared'" for all of them.`,
  invalidPattern: (pattern: string) =>
    `${pattern} is not the name of a topic. Use a string of 1 to 249 letters, digits, ".", "_" or "-".`,
};
