import { AbstractHttpAdapter } from '@nestjs/core';

const nothing = () => undefined;

/** For hybrid applications in tests: an HTTP platform that listens to nobody. */
export class NoHttpAdapter extends AbstractHttpAdapter {
  override initHttpServer = nothing;
  override useStaticAssets = nothing;
  override setViewEngine = nothing;
  override getRequestHostname = nothing;
  override getRequestMethod = nothing;
  override getRequestUrl = nothing;
  override status = nothing;
  override reply = nothing;
  override end = nothing;
  override render = nothing;
  override redirect = nothing;
  override setErrorHandler = nothing;
  override setNotFoundHandler = nothing;
  override isHeadersSent = () => false;
  override getHeader = nothing;
  override setHeader = nothing;
  override appendHeader = nothing;
  override registerParserMiddleware = nothing;
  override enableCors = nothing;
  override createMiddlewareFactory = () => nothing;
  override getType = () => 'none';
  override applyVersionFilter = () => () => nothing;

  close(): Promise<void> {
    return Promise.resolve();
  }
}
