// openai, the npm package: pictures, words, streams and its errors.
import OpenAI, { toFile } from 'openai';
import { check, errors, isPicture, png, refused, testcase, urls } from './reporting.mjs';

const KONTEXT = 'black-forest-labs/FLUX.1-Kontext-dev';
const LLAMA = 'meta/llama-3.2-90b-vision-instruct';
const client = (where, apiKey = 'testcard') => new OpenAI({ baseURL: `${urls[where]}/v1`, apiKey, maxRetries: 0, timeout: 20000 });
const right = (answer, count, width, height) => {
  check(answer.data.length === count, `${answer.data.length} pictures`);
  for (const item of answer.data) isPicture(Buffer.from(item.b64_json, 'base64'), width, height);
};
const content = [
  { type: 'text', text: 'What is this?' },
  { type: 'image_url', image_url: { url: `data:image/png;base64,${png().toString('base64')}` } },
];
const asked = { model: LLAMA, messages: [{ role: 'user', content }] };

const nebul = client('nebul');
await testcase('nebul', 'images.generate', async () => right(await nebul.images.generate({ model: KONTEXT, prompt: 'x', n: 2, size: '256x256' }), 2, 256, 256));
await testcase('nebul', 'images.edit', async () => {
  const image = await toFile(png(), 'picture.png', { type: 'image/png' });
  right(await nebul.images.edit({ model: KONTEXT, prompt: 'x', image, size: '256x256' }), 1, 256, 256);
});
await testcase('nebul', 'images.createVariation', async () => {
  const image = await toFile(png(), 'picture.png', { type: 'image/png' });
  right(await nebul.images.createVariation({ image, n: 2, size: '256x256' }), 2, 256, 256);
});
await testcase('nanogpt', 'images.generate', async () => right(await client('nanogpt').images.generate({ model: 'hidream', prompt: 'x', size: '256x256' }), 1, 256, 256));
await testcase('nvidia-nim-vision', 'chat.completions.create', async () => {
  const answer = await client('nvidia-nim-vision').chat.completions.create(asked);
  check(answer.choices[0].message.content.includes('64 by 64'), 'other words');
});
await testcase('nvidia-nim-vision', 'chat.completions.create, streamed', async () => {
  let pieces = 0;
  for await (const chunk of await client('nvidia-nim-vision').chat.completions.create({ ...asked, stream: true })) pieces += chunk.choices.length;
  check(pieces > 3, 'no pieces');
});
const error = async (where, kind, status, key, more = {}) => {
  const found = await refused(() => client(where, key).images.generate({ model: where.startsWith('nebul') ? KONTEXT : 'hidream', prompt: 'x', ...more }));
  check(found instanceof kind && found.status === status, `${found.constructor.name} ${found.status}`);
};
for (const one of ['nebul', 'nanogpt']) {
  await testcase(one, '400', () => error(one, OpenAI.BadRequestError, 400, undefined, { n: 0 }));
  await testcase(one, '401', () => error(one, OpenAI.AuthenticationError, 401, 'wrong'));
  await testcase(one, '413', () => error(one, OpenAI.APIError, 413, undefined, { prompt: 'x'.repeat(33_000_000) }));
}
await testcase('nebul', '404', () => error('nebul', OpenAI.NotFoundError, 404, undefined, { model: 'no-such-model' }));
await errors('nebul', 'images.generate', (where) => client(where).images.generate({ model: KONTEXT, prompt: 'x' }));
await errors('nanogpt', 'images.generate', (where) => client(where).images.generate({ model: 'hidream', prompt: 'x' }));
await errors('nvidia-nim-vision', 'chat.completions.create', (where) => client(where).chat.completions.create(asked));
