/** Program. Keeps so many requests under way until SIGTERM, then awaits the last and leaves. Tells how it went. */
import { ClientKafkaProxy } from 'nestjs-durable-kafka';
import { firstValueFrom } from 'rxjs';
import { SETTINGS_VARIABLE, type RequesterSettings } from './settings.js';

const settings = JSON.parse(process.env[SETTINGS_VARIABLE]!) as RequesterSettings;
const { topic } = settings;

const client = new ClientKafkaProxy({
  client: { brokers: settings.brokers },
  consumer: { groupId: settings.group, sessionTimeout: settings.sessionTimeout, heartbeatInterval: 300 },
  requestTimeout: settings.requestTimeout,
});
client.subscribeToResponseOf(topic);
await client.connect();
console.log(`JOINED ${client.getConsumerAssignments()[`${topic}.reply`]}`);

let isEnding = false;
process.once('SIGTERM', () => (isEnding = true));

let answered = 0;
const failures: string[] = [];

async function ask(value: string): Promise<void> {
  try {
    const reply = await firstValueFrom(client.send<string>(topic, value));
    if (reply !== value) throw new Error(`"${value}" was answered by "${reply}"`);
    if (++answered % 500 === 0) console.log(`ANSWERED ${answered}`);
  } catch (error) {
    failures.push(String(error));
  }
}

await Promise.all(
  Array.from({ length: settings.inFlight }, async (_, lane) => {
    for (let n = 0; !isEnding; n++) await ask(`${process.pid}/${lane}/${n}`);
  }),
);
const { pendingRequests, unclaimedReplies } = client;
await client.close();
console.log(`RESULT ${JSON.stringify({ answered, failures, pendingRequests, unclaimedReplies })}`);
