import js from '@eslint/js';
import prettier from 'eslint-config-prettier';
import tseslint from 'typescript-eslint';

/** Time, timers, randomness and ids come through the clock port, so that a seeded scheduler can replace them. */
const clockOnly = [
  ...['Date', 'setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask'].map((name) => ({
    name,
    message: 'Use the Clock port (lib/runtime/clock.ts).',
  })),
];

export default tseslint.config(
  // Programs of projects of their own (test/package) are compiled and run there.
  { ignores: ['**/dist/**', '**/node_modules/**', '.cache/**', 'test/package/**'] },
  js.configs.recommended,
  ...tseslint.configs.recommended,
  {
    files: ['lib/**/*.ts', 'sample/**/*.ts', 'test/**/*.ts'],
    languageOptions: {
      parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/no-unsafe-function-type': 'off',
    },
  },
  {
    files: ['lib/**/*.ts'],
    ignores: ['lib/runtime/clock.ts'],
    rules: {
      'no-restricted-globals': ['error', ...clockOnly],
      'no-restricted-properties': [
        'error',
        { object: 'Math', property: 'random', message: 'Use the Clock port (lib/runtime/clock.ts).' },
        { object: 'crypto', property: 'randomUUID', message: 'Use the Clock port (lib/runtime/clock.ts).' },
      ],
    },
  },
  {
    // What Node's test runner returns is its own to wait for.
    files: ['sample/**/*.test.ts'],
    rules: {
      '@typescript-eslint/no-floating-promises': [
        'error',
        {
          allowForKnownSafeCalls: [
            { from: 'package', package: 'node:test', name: ['describe', 'it', 'test'] },
          ],
        },
      ],
    },
  },
  {
    files: ['**/*.mjs', '**/*.js'],
    languageOptions: {
      globals: {
        process: 'readonly',
        console: 'readonly',
        URL: 'readonly',
        setTimeout: 'readonly',
        clearTimeout: 'readonly',
      },
    },
  },
  prettier,
);
