// How the programs of this folder that run under Node say what a client did with a mock: one JSON line a case.
import zlib from 'node:zlib';

export const urls = JSON.parse(process.argv[2]);

export async function testcase(provider, operation, what) {
  const line = { provider, operation, works: true, detail: '' };
  try {
    await what();
  } catch (error) {
    line.works = false;
    line.detail = `${error?.constructor?.name}: ${error?.message}`.slice(0, 400);
  }
  console.log(JSON.stringify(line));
}

// What the mocks PROVIDER:STATUS of `urls` refuse everything with.
const STATUSES = [400, 401, 402, 403, 404, 413, 422, 429];

// For each status the error that `what` throws of the mock that refuses with it, whose name in `urls` it is given: its type, whether that is
// one of the client's own, the status that it carries, and what it says.
export async function errors(provider, operation, what) {
  for (const status of STATUSES) {
    const line = { provider, operation, status, raised: null, typed: false, carried: null, detail: 'no error' };
    try {
      await what(`${provider}:${status}`);
    } catch (error) {
      line.raised = error?.constructor?.name;
      line.typed = ![Error, TypeError].includes(error?.constructor);
      line.carried = error?.status ?? error?.statusCode ?? error?.httpResponse?.status ?? null;
      line.detail = `${error?.message} ${error?.responseBody ?? JSON.stringify(error?.httpResponse?.body ?? '')}`.slice(0, 2000);
    }
    console.log(JSON.stringify(line));
  }
}

export function check(right, what) {
  if (!right) throw new Error(what);
}

// The error that `what` throws; that it throws none is a failure of the case.
export async function refused(what) {
  let found;
  try {
    await what();
  } catch (error) {
    found = error;
  }
  check(found !== undefined, 'no error');
  return found;
}

export function isPicture(data, width, height) {
  const bytes = Buffer.from(data);
  check(bytes.subarray(1, 4).toString('latin1') === 'PNG', 'no PNG');
  const size = [bytes.readUInt32BE(16), bytes.readUInt32BE(20)];
  check(size[0] === width && size[1] === height, `a picture of ${size}`);
}

// A small grey picture.
export function png(width = 64, height = 64) {
  const chunk = (kind, data) => {
    const body = Buffer.concat([Buffer.from(kind), data]);
    const out = Buffer.alloc(body.length + 8);
    out.writeUInt32BE(data.length, 0);
    body.copy(out, 4);
    out.writeUInt32BE(zlib.crc32(body) >>> 0, out.length - 4);
    return out;
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 2, 0, 0, 0], 8);
  const row = Buffer.concat([Buffer.from([0]), Buffer.alloc(width * 3, 128)]);
  const pixels = zlib.deflateSync(Buffer.concat(Array(height).fill(row)));
  const mark = Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]);
  return Buffer.concat([mark, chunk('IHDR', head), chunk('IDAT', pixels), chunk('IEND', Buffer.alloc(0))]);
}
