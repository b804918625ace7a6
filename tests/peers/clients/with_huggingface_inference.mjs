// @huggingface/inference: chat about pictures through an endpoint of one's own.
import { InferenceClient } from '@huggingface/inference';
import { check, png, refused, testcase, urls } from './reporting.mjs';

const endpointUrl = `${urls['nvidia-nim-vision']}/v1/chat/completions`;
const content = [
  { type: 'text', text: 'What is this?' },
  { type: 'image_url', image_url: { url: `data:image/png;base64,${png().toString('base64')}` } },
];
const asked = { model: 'meta/llama-3.2-90b-vision-instruct', endpointUrl, messages: [{ role: 'user', content }] };

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
