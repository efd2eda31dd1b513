import type { KafkaRecord } from '../messages/record.js';

/** Records of a partition that wait for their turn, with a count of the bytes they hold. */
export class RecordQueue {
  // A moving head: shifting an array of thousands per record would be quadratic.
  private records: (KafkaRecord | undefined)[] = [];
  private head = 0;
  bytes = 0;

  get length(): number {
    return this.records.length - this.head;
  }

  push(records: readonly KafkaRecord[]): void {
    for (const record of records) {
      this.records.push(record);
      this.bytes += sizeOf(record);
    }
  }

  take(count: number): KafkaRecord[] {
    const taken: KafkaRecord[] = [];
    while (taken.length < count && this.head < this.records.length) {
      const record = this.records[this.head]!;
      this.records[this.head++] = undefined;
      this.bytes -= sizeOf(record);
      taken.push(record);
    }
    if (this.head === this.records.length || this.head > 4096) {
      this.records = this.records.slice(this.head);
      this.head = 0;
    }
    return taken;
  }
}

function sizeOf({ key, value, headers }: KafkaRecord): number {
  let size = (key?.length ?? 0) + (value?.length ?? 0);
  for (const [name, content] of headers) size += name.length + (content?.length ?? 0);
  return size;
}
