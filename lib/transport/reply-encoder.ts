import { encodeReply, type MessageSerializer, type ReplyPacket } from '../messages/packets.js';
import { isPromise } from '../runtime/is-promise.js';
import type { EncodedReply } from '../messages/reply.js';

export type ReplyEncoder = (packet: ReplyPacket, index?: number) => EncodedReply | Promise<EncodedReply>;

/**
 * Encodes replies by the user's serializer. Fails only for a response that can't be serialized: errors and ends of
 * streams get out whatever the serializer makes of them, or the requester would never hear of it.
 */
export function replyEncoder(serializer: MessageSerializer | undefined): ReplyEncoder {
  if (serializer === undefined) return (packet, index) => encodeReply(packet, undefined, index);
  return (packet, index) => {
    if ('response' in packet) return encodeReply(packet, serializer, index);
    const plainly = () => encodeReply(packet, undefined, index);
    try {
      const encoded = encodeReply(packet, serializer, index);
      return isPromise(encoded) ? Promise.resolve(encoded).catch(plainly) : encoded;
    } catch {
      return plainly();
    }
  };
}
