/** Where Nest's decorators write what they are given; its indexes do not export the names. */
export const PATTERN_METADATA = 'microservices:pattern';
export const PATTERN_EXTRAS_METADATA = 'microservices:pattern_extras';
export const TRANSPORT_METADATA = 'microservices:transport';
export const INTERCEPTORS_METADATA = '__interceptors__';
