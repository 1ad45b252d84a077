// Runs a TensorFlow.js graph model: `node tfjs.cjs NODE_MODULES MODEL_FOLDER`. A line of JSON says what it takes and gives;
// then each request is a line of JSON and the bytes of its tensors, and so is each answer.
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const { createRequire } = require('node:module');

const [modules, folder] = process.argv.slice(2);
const from = createRequire(path.join(modules, 'here.js'));
const tf = from('@tensorflow/tfjs-core');
const { loadGraphModel } = from('@tensorflow/tfjs-converter');
from('@tensorflow/tfjs-backend-cpu');

const WRITTEN = { DT_FLOAT: 'float32', DT_INT32: 'int32', DT_BOOL: 'bool' };
const ARRAYS = { float32: Float32Array, int32: Int32Array, bool: Uint8Array };

let waiting = Buffer.alloc(0);

function more() {
  const chunk = Buffer.alloc(1 << 16);
  for (;;) {
    try {
      const count = fs.readSync(0, chunk);
      waiting = Buffer.concat([waiting, chunk.subarray(0, count)]);
      return count > 0;
    } catch (error) {
      if (error.code === 'EOF') return false;
      if (error.code !== 'EAGAIN') throw error;
    }
  }
}

function line() {
  let end;
  while ((end = waiting.indexOf(10)) < 0) if (!more()) return null;
  const text = waiting.subarray(0, end).toString();
  waiting = waiting.subarray(end + 1);
  return text;
}

function bytes(count) {
  while (waiting.length < count) if (!more()) throw new Error('the request ended early');
  const taken = Buffer.from(waiting.subarray(0, count));
  waiting = waiting.subarray(count);
  return taken;
}

function write(data) {
  for (let done = 0; done < data.length; ) {
    try {
      done += fs.writeSync(1, data, done);
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
    }
  }
}

const answer = (told, ...parts) => write(Buffer.concat([Buffer.from(JSON.stringify(told) + '\n'), ...parts]));

function artifacts() {
  const model = JSON.parse(fs.readFileSync(path.join(folder, 'model.json')));
  const parts = model.weightsManifest.flatMap((group) => group.paths.map((name) => path.join(folder, path.basename(name))));
  const weights = Buffer.concat(parts.map((name) => fs.readFileSync(name)));
  return {
    modelTopology: model.modelTopology,
    format: model.format,
    signature: model.signature,
    weightSpecs: model.weightsManifest.flatMap((group) => group.weights),
    weightData: weights.buffer.slice(weights.byteOffset, weights.byteOffset + weights.length),
  };
}

function told(tensors) {
  return Object.entries(tensors ?? {}).map(([name, info]) => ({
    name,
    dtype: WRITTEN[info.dtype],
    shape: info.tensorShape?.unknownRank ? null : (info.tensorShape?.dim ?? []).map((each) => Number(each.size)),
  }));
}

async function request(model, signature, header) {
  const inputs = {};
  for (const each of header) {
    const data = bytes(each.bytes);
    const array = new ARRAYS[each.dtype](data.buffer.slice(data.byteOffset, data.byteOffset + data.length));
    inputs[signature.inputs[each.name].name] = tf.tensor(array, each.shape, each.dtype);
  }
  const names = Object.keys(signature.outputs);
  const start = process.hrtime.bigint();
  const found = await model.executeAsync(inputs, names.map((name) => signature.outputs[name].name));
  const outputs = Array.isArray(found) ? found : [found];
  const values = await Promise.all(outputs.map((each) => each.data()));
  const ns = Number(process.hrtime.bigint() - start);
  const described = outputs.map((each, place) => ({ name: names[place], dtype: each.dtype, shape: each.shape }));
  answer({ ns, outputs: described }, ...values.map((each) => Buffer.from(each.buffer, each.byteOffset, each.byteLength)));
  tf.dispose([Object.values(inputs), outputs]);
}

async function main() {
  await tf.setBackend('cpu');
  const files = artifacts();
  const model = await loadGraphModel({ load: async () => files });
  const signature = files.signature ?? { inputs: {}, outputs: {} };
  answer({ inputs: told(signature.inputs), outputs: told(signature.outputs) });
  for (let text; (text = line()) !== null; ) await request(model, signature, JSON.parse(text));
}

main().catch((error) => answer({ error: String(error.message ?? error).slice(0, 1000) }));
