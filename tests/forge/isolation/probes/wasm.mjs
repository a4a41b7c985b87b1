// A candidate that compiles and runs WebAssembly, with a memory that reserves much and uses little.
import { writeFileSync } from "node:fs";
import { Worker } from "node:worker_threads";

const code = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 7, 1, 96, 2, 127, 127, 1, 127, 3, 2, 1, 0, 7, 7, 1, 3, 97, 100, 100, 0, 0, 10, 9,
  1, 7, 0, 32, 0, 32, 1, 106, 11,
]);
const { instance } = await WebAssembly.instantiate(code);
new WebAssembly.Memory({ initial: 1, maximum: 65536 });
const worker = new Worker("require(\"node:worker_threads\").parentPort.postMessage(7)", { eval: true });
worker.once("message", (it) => console.log(it));
const sum = instance.exports.add(40, 2);
writeFileSync(process.argv[3], `wasm\t${sum === 42 ? "OPEN" : "BLOCKED"}\t${sum} from node ${process.version}\n`);
