import { Injectable } from '@nestjs/common';

/** Asks somebody outside; a test puts another in its place. */
@Injectable()
export class TaxService {
  rate(_country: string): Promise<number> {
    return Promise.reject(new Error('There is no tax office in this sample'));
  }
}
