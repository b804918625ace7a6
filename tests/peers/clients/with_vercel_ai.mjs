// Vercel's AI SDK with its openai and openai-compatible providers: pictures, words, streams.
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import * as ai from 'ai';
import { check, errors, isPicture, png, refused, testcase, urls } from './reporting.mjs';

const KONTEXT = 'black-forest-labs/FLUX.1-Kontext-dev';
const LLAMA = 'meta/llama-3.2-90b-vision-instruct';
const generateImage = ai.generateImage ?? ai.experimental_generateImage;
const compatible = (where, apiKey = 'testcard') => createOpenAICompatible({ name: where, baseURL: `${urls[where]}/v1`, apiKey });
const openai = (where) => createOpenAI({ baseURL: `${urls[where]}/v1`, apiKey: 'testcard' });
const messages = [{ role: 'user', content: [{ type: 'text', text: 'What is this?' }, { type: 'image', image: png() }] }];

for (const [name, make] of [['openai', openai], ['openai-compatible', compatible]]) {
  const image = (where, model) => (name === 'openai' ? make(where).image(model) : make(where).imageModel(model));
  const chat = (where) => (name === 'openai' ? make(where).chat(LLAMA) : make(where).chatModel(LLAMA));
  await testcase('nebul', `generateImage (${name})`, async () => {
    const { images } = await generateImage({ model: image('nebul', KONTEXT), prompt: 'x', size: '256x256', n: 2, maxRetries: 0 });
    check(images.length === 2, `${images.length} pictures`);
    for (const one of images) isPicture(one.uint8Array, 256, 256);
  });
  await testcase('nanogpt', `generateImage (${name})`, async () => {
    const { images } = await generateImage({ model: image('nanogpt', 'hidream'), prompt: 'x', size: '256x256', maxRetries: 0 });
    isPicture(images[0].uint8Array, 256, 256);
  });
  await testcase('nvidia-nim-vision', `generateText (${name})`, async () => {
    const { text } = await ai.generateText({ model: chat('nvidia-nim-vision'), messages, maxRetries: 0 });
    check(text.includes('64 by 64'), text);
  });
  await testcase('nvidia-nim-vision', `streamText (${name})`, async () => {
    let pieces = 0;
    for await (const piece of ai.streamText({ model: chat('nvidia-nim-vision'), messages, maxRetries: 0 }).textStream) pieces += piece ? 1 : 0;
    check(pieces > 3, 'no pieces');
  });
  const model = { nebul: KONTEXT, nanogpt: 'hidream' };
  for (const one of ['nebul', 'nanogpt'])
    await errors(one, `generateImage (${name})`, (where) => generateImage({ model: image(where, model[one]), prompt: 'x', maxRetries: 0 }));
  await errors('nvidia-nim-vision', `generateText (${name})`, (where) => ai.generateText({ model: chat(where), messages, maxRetries: 0 }));
}
await testcase('nebul', '401', async () => {
  const found = await refused(() => generateImage({ model: compatible('nebul', 'wrong').imageModel(KONTEXT), prompt: 'x', maxRetries: 0 }));
  check(found.statusCode === 401, `${found.name} ${found.statusCode}`);
});
