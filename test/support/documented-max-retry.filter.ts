/* eslint-disable -- the sample of Nest's Kafka documentation as it stands there, but for its name and type imports */
import { Catch, Logger, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import type { KafkaContext } from '@nestjs/microservices';

@Catch()
export class DocumentedMaxRetryFilter implements ExceptionFilter {
  private readonly logger = new Logger(DocumentedMaxRetryFilter.name);
  private failureCount = 0;
  private circuitOpen = false;
  private openTimestamp = 0;
  private readonly circuitResetTimeout = 30000;

  constructor(
    private readonly maxRetries: number,
    private readonly skipHandler?: (message: any) => Promise<void>,
  ) {}

  async catch(exception: unknown, host: ArgumentsHost) {
    const kafkaContext = host.switchToRpc().getContext<KafkaContext>();
    const message = kafkaContext.getMessage();

    if (this.circuitOpen) {
      if (Date.now() - this.openTimestamp >= this.circuitResetTimeout) {
        this.logger.log('Circuit breaker timeout elapsed. Resetting breaker.');
        this.circuitOpen = false;
        this.failureCount = 0;
      } else {
        this.logger.warn('Circuit breaker open. Skipping message processing.');
        await this.commitOffset(kafkaContext);
        return;
      }
    }

    this.failureCount++;
    this.logger.log('failureCount', { failureCount: this.failureCount });

    if (this.failureCount >= this.maxRetries) {
      this.logger.warn(
        `Circuit breaker triggered after ${this.failureCount} failures. Skipping message processing.`,
      );
      if (this.skipHandler) {
        try {
          await this.skipHandler(message);
        } catch (err) {
          this.logger.error('Error in skipHandler:', err);
        }
      }
      try {
        await this.commitOffset(kafkaContext);
      } catch (commitError) {
        this.logger.error('Failed to commit offset:', commitError);
      }
      this.circuitOpen = true;
      this.openTimestamp = Date.now();
      return;
    }

    throw exception;
  }

  private async commitOffset(context: KafkaContext): Promise<void> {
    const consumer = context.getConsumer && context.getConsumer();
    if (!consumer) {
      throw new Error('Consumer instance is not available from KafkaContext.');
    }
    const topic = context.getTopic && context.getTopic();
    const partition = context.getPartition && context.getPartition();
    const message = context.getMessage();
    const offset = message.offset;
    if (!topic || partition === undefined || offset === undefined) {
      throw new Error('Incomplete Kafka message context for committing offset.');
    }
    await consumer.commitOffsets([
      {
        topic,
        partition,
        offset: (Number(offset) + 1).toString(),
      },
    ]);
  }
}
