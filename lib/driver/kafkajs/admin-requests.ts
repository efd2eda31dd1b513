import type { TopicSpecification } from '../driver.js';
import { defineRequest } from './request.js';

export interface NamedErrorCode {
  readonly name: string;
  readonly errorCode: number;
  readonly message: string | null;
}

/** How long the controller may take, ms. */
const TIMEOUT = 15_000;
/** "The broker's default", from version 4 on (KIP-464). */
const BROKER_DEFAULT = -1;

export const CREATE_TOPICS = defineRequest<{ topics: readonly TopicSpecification[] }, NamedErrorCode[]>({
  name: 'CreateTopics',
  apiKey: 19,
  versions: [4],
  write(writer, { topics }) {
    writer.array(topics, ({ topic, partitions, replicationFactor, configEntries }) => {
      writer
        .string(topic)
        .int32(partitions ?? BROKER_DEFAULT)
        .int16(replicationFactor ?? BROKER_DEFAULT);
      writer.int32(0); // no manual assignments
      writer.array(configEntries ?? [], ({ name, value }) => writer.string(name).string(value));
    });
    writer.int32(TIMEOUT).int8(0); // validate_only
  },
  read(reader) {
    reader.int32(); // throttle_time_ms
    return reader.array(() => ({
      name: reader.string() ?? '',
      errorCode: reader.int16(),
      message: reader.string(),
    }));
  },
});

export const DELETE_TOPICS = defineRequest<{ topics: readonly string[] }, NamedErrorCode[]>({
  name: 'DeleteTopics',
  apiKey: 20,
  versions: [3, 2, 1],
  write: (writer, { topics }) => writer.array(topics, (topic) => writer.string(topic)).int32(TIMEOUT),
  read(reader) {
    reader.int32(); // throttle_time_ms
    return reader.array(() => ({ name: reader.string() ?? '', errorCode: reader.int16(), message: null }));
  },
});

export const CREATE_PARTITIONS = defineRequest<{ topic: string; count: number }, NamedErrorCode[]>({
  name: 'CreatePartitions',
  apiKey: 37,
  versions: [1, 0],
  write(writer, { topic, count }) {
    writer.array([topic], (name) => writer.string(name).int32(count).int32(-1)); // no manual assignments
    writer.int32(TIMEOUT).int8(0); // validate_only
  },
  read(reader) {
    reader.int32(); // throttle_time_ms
    return reader.array(() => ({
      name: reader.string() ?? '',
      errorCode: reader.int16(),
      message: reader.string(),
    }));
  },
});

export interface TopicSettings {
  readonly topic: string;
  readonly errorCode: number;
  readonly values: ReadonlyMap<string, string | null>;
}

const RESOURCE_TOPIC = 2;

/** Settings of topics, by name. A topic that is missing, or may not be looked at, has an error code. */
export const DESCRIBE_TOPIC_CONFIGS = defineRequest<
  { topics: readonly string[]; names: readonly string[] },
  TopicSettings[]
>({
  name: 'DescribeConfigs',
  apiKey: 32,
  versions: [1],
  write(writer, { topics, names }) {
    writer.array(topics, (topic) => {
      writer.int8(RESOURCE_TOPIC).string(topic);
      writer.array(names, (name) => writer.string(name));
    });
    writer.int8(0); // include_synonyms
  },
  read(reader) {
    reader.int32(); // throttle_time_ms
    return reader.array(() => {
      const errorCode = reader.int16();
      reader.string(); // error_message
      reader.int8(); // resource_type
      const topic = reader.string() ?? '';
      const values = reader.array(() => {
        const setting = [reader.string() ?? '', reader.string()] as const;
        reader.int8(); // read_only
        reader.int8(); // config_source
        reader.int8(); // is_sensitive
        reader.array(() => [reader.string(), reader.string(), reader.int8()]); // synonyms
        return setting;
      });
      return { topic, errorCode, values: new Map(values) };
    });
  },
});

export const DELETE_GROUP = defineRequest<{ groupId: string }, NamedErrorCode[]>({
  name: 'DeleteGroups',
  apiKey: 42,
  versions: [1, 0],
  write: (writer, { groupId }) => writer.array([groupId], (id) => writer.string(id)),
  read(reader) {
    reader.int32(); // throttle_time_ms
    return reader.array(() => ({ name: reader.string() ?? '', errorCode: reader.int16(), message: null }));
  },
});
