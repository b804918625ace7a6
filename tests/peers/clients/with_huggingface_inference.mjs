// @huggingface/inference: chat about pictures through an endpoint of one's own.
import { InferenceClient } from '@huggingface/inference';
import { check, errors, png, refused, testcase, urls } from './reporting.mjs';

const content = [
  { type: 'text', text: 'What is this?' },
  { type: 'image_url', image_url: { url: `data:image/png;base64,${png().toString('base64')}` } },
];
const at = (where) => ({ model: 'meta/llama-3.2-90b-vision-instruct', endpointUrl: `${urls[where]}/v1/chat/completions`, messages: [{ role: 'user', content }] });
const asked = at('nvidia-nim-vision');

await testcase('nvidia-nim-vision', 'chatCompletion', async () => {
  const answer = await new InferenceClient('testcard').chatCompletion(asked);
  check(answer.choices[0].message.content.includes('64 by 64'), 'other words');
});
await testcase('nvidia-nim-vision', 'chatCompletionStream', async () => {
  let pieces = 0;
  for await (const chunk of new InferenceClient('testcard').chatCompletionStream(asked)) pieces += chunk.choices.length;
  check(pieces > 3, 'no pieces');
});
await testcase('nvidia-nim-vision', '401', () => refused(() => new InferenceClient('wrong').chatCompletion(asked)));
await errors('nvidia-nim-vision', 'chatCompletion', (where) => new InferenceClient('testcard').chatCompletion(at(where)));
