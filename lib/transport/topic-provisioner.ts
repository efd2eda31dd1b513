import type { KafkaDriver } from '../driver/driver.js';

/**
 * Creates what is missing of these topics, with the broker's defaults, and waits until they have leaders. So a
 * subscription never meets a topic that is only just coming into being.
 */
export async function provisionTopics(driver: KafkaDriver, topics: readonly string[]): Promise<void> {
  if (topics.length === 0) return;
  const admin = driver.createAdmin();
  try {
    await admin.connect();
    const existing = new Set((await admin.describeTopics(topics)).map(({ topic }) => topic));
    const missing = topics.filter((topic) => !existing.has(topic));
    if (missing.length > 0) await admin.createTopics(missing.map((topic) => ({ topic })));
  } finally {
    await admin.disconnect();
  }
}
