// Calls every method that the API offers through the `openai` package for Node.
//
// Usage: node every_call.mjs PACKAGE_FOLDER BASE_URL KEY PROJECT CONTRACT. PROJECT is another
// project's id. Checks the keys and types of what comes back against the table in CONTRACT.
// Prints one line a call; ends with an error at the first that is not as it should be.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [folder, baseURL, apiKey, project, contract] = process.argv.slice(2);
const require = createRequire(`${folder}/package.json`);
const { default: OpenAI, toFile } = require("openai");
const table = JSON.parse(readFileSync(contract, "utf8"));
const settings = { baseURL, apiKey, adminAPIKey: apiKey, maxRetries: 0, timeout: 60000 };
const client = new OpenAI(settings);
let calls = 0;

const isObject = (v) => typeof v === "object" && v !== null && !Array.isArray(v);
const types = {
  string: (v) => typeof v === "string",
  int: (v) => Number.isInteger(v),
  number: (v) => typeof v === "number",
  bool: (v) => typeof v === "boolean",
  object: isObject,
  list: Array.isArray,
  null: (v) => v === null,
};

/** The object, which must have the keys of its kind, no others, of the right types. */
function check(kind, value) {
  const found = Object.keys(value).filter((name) => !name.startsWith("_"));
  const wanted = Object.entries(table[kind]).map(([name, type]) => ({
    name: name.replace("?", ""),
    required: !name.endsWith("?"),
    type,
  }));
  for (const { name, required } of wanted) {
    assert(!required || found.includes(name), `${kind}: no ${name}`);
  }
  for (const name of found.filter((one) => one !== "output_text" || kind !== "response")) {
    const entry = wanted.find((one) => one.name === name);
    assert(entry, `${kind}: also ${name}`);
    const right = entry.type.startsWith("=")
      ? value[name] === entry.type.slice(1)
      : entry.type.split("|").some((type) => types[type](value[name]));
    assert(right, `${kind}.${name} is ${JSON.stringify(value[name])}, not ${entry.type}`);
  }
  return value;
}

function told(name) {
  calls += 1;
  console.log(name);
}

async function page(kind, promise, ends) {
  const body = await (await promise.asResponse()).json();
  assert.equal(body.object, "list");
  const keys = ["object", "data"];
  if (ends !== null) keys.push("has_more");
  if (ends) keys.push("first_id", "last_id");
  assert.deepEqual(Object.keys(body).sort(), keys.sort());
  body.data.forEach((element) => check(kind, element));
  return body.data;
}

async function all(pages) {
  const found = [];
  for await (const element of await pages) found.push(element);
  return found;
}

const jsonl = (values) => values.map((value) => JSON.stringify(value) + "\n").join("");

function lines(rows) {
  const words = { alpha: "the lamp is broken", beta: "my invoice is wrong" };
  return Array.from({ length: rows }, (_, i) => {
    const label = i % 2 ? "alpha" : "beta";
    const messages = [
      { role: "user", content: `${words[label]} since day ${i}` },
      { role: "assistant", content: label },
    ];
    return { messages };
  });
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function until(id, states) {
  for (const end = Date.now() + 120000; ; await sleep(200)) {
    const job = await client.fineTuning.jobs.retrieve(id);
    if (states.includes(job.status)) return job;
    assert(Date.now() < end && !["failed", "cancelled"].includes(job.status), JSON.stringify(job));
  }
}

async function refused(status, kind, call, { code = null, param = null } = {}) {
  const error = await call().then(
    () => assert.fail(`not refused: ${call}`),
    (caught) => caught,
  );
  assert(error instanceof kind, `${error}`);
  assert.equal(error.status, status);
  check("error", error.error);
  assert.deepEqual([error.code, error.param], [code, param]);
  assert(error.requestID.startsWith("req_"));
  told(`error ${status} ${code ?? param}`);
}

const text = async (id) => await (await client.files.content(id)).text();

async function files() {
  const content = jsonl(lines(40));
  const file = await toFile(Buffer.from(content), "train.jsonl");
  const made = check("file", await client.files.create({ file, purpose: "fine-tune" }));
  told("files.create");
  const held = await client.files.create({
    file: await toFile(Buffer.from(jsonl(lines(12))), "held.jsonl"),
    purpose: "fine-tune",
    expires_after: { anchor: "created_at", seconds: 3600 },
  });
  assert.equal(held.expires_at - held.created_at, 3600);
  told("files.create expires_after");
  check("file", await client.files.retrieve(made.id));
  told("files.retrieve");
  assert.equal((await client.files.waitForProcessing(made.id)).id, made.id);
  told("files.waitForProcessing");
  assert.equal(await text(made.id), content);
  told("files.content");
  await page("file", client.files.list({ limit: 1 }), true);
  const ids = await all(client.files.list({ limit: 1, purpose: "fine-tune", order: "asc" }));
  assert.deepEqual(ids.slice(-2).map((one) => one.id), [made.id, held.id]);
  told("files.list");
  await refused(404, OpenAI.NotFoundError, () => client.files.retrieve("file-none"), {
    param: "id",
  });
  return [made.id, held.id];
}

async function uploads() {
  const content = Buffer.from(jsonl(lines(20)));
  const about = { filename: "parts.jsonl", purpose: "fine-tune", mime_type: "text/jsonl" };
  const upload = await client.uploads.create({ bytes: content.length, ...about });
  assert.equal(check("upload", upload).status, "pending");
  told("uploads.create");
  const half = Math.floor(content.length / 2);
  const pieces = [content.subarray(0, half), content.subarray(half)];
  const sent = await Promise.all(
    pieces.map(async (data) =>
      client.uploads.parts.create(upload.id, { data: await toFile(data, "part") }),
    ),
  );
  check("part", sent[0]);
  told("uploads.parts.create");
  const done = await client.uploads.complete(upload.id, {
    part_ids: sent.map((part) => part.id),
    md5: createHash("md5").update(content).digest("hex"),
  });
  check("upload", done);
  check("file", done.file);
  assert.equal(await text(done.file.id), content.toString());
  told("uploads.complete");
  const second = await client.uploads.create({ bytes: 5, ...about });
  assert.equal((await client.uploads.cancel(second.id)).status, "cancelled");
  told("uploads.cancel");
}

async function jobs(training, validation) {
  const asked = { model: "minilm-l6", training_file: training };
  const made = await client.fineTuning.jobs.create({
    ...asked,
    validation_file: validation,
    suffix: "node",
    metadata: { by: "node" },
    method: { type: "supervised", supervised: { hyperparameters: { n_epochs: 1 } } },
  });
  assert.equal(check("job", made).status, "validating_files");
  assert.deepEqual(made.error, {});
  told("fineTuning.jobs.create");
  const long = await client.fineTuning.jobs.create({
    ...asked,
    hyperparameters: { n_epochs: 50, batch_size: 1 },
    tunesmith: { method: "full" },
  });
  told("fineTuning.jobs.create, hyperparameters at the top");
  const done = check("job", await until(made.id, ["succeeded"]));
  assert(done.finished_at && done.trained_tokens && done.result_files.length === 1);
  told("fineTuning.jobs.retrieve");
  const result = Buffer.from(await text(done.result_files[0]), "base64").toString();
  assert(result.startsWith("step,train_loss,train_accuracy,valid_loss,"));
  told("files.content of the result");
  await page("job", client.fineTuning.jobs.list({ limit: 1 }), false);
  const ids = (await all(client.fineTuning.jobs.list({ limit: 1 }))).map((job) => job.id);
  assert(ids.includes(made.id) && ids.includes(long.id));
  told("fineTuning.jobs.list");
  const mine = await all(client.fineTuning.jobs.list({ metadata: { by: "node" } }));
  assert.deepEqual(mine.map((job) => job.id), [made.id]);
  const others = await all(client.fineTuning.jobs.list({ metadata: null }));
  assert(!others.map((job) => job.id).includes(made.id));
  told("fineTuning.jobs.list by metadata");
  await page("event", client.fineTuning.jobs.listEvents(made.id, { limit: 2 }), false);
  const events = await all(client.fineTuning.jobs.listEvents(made.id, { limit: 3 }));
  assert.equal(new Set(events.map((event) => event.id)).size, events.length);
  assert.equal(events[0].message, "The job has successfully completed");
  told("fineTuning.jobs.listEvents");
  const kept = await page("checkpoint", client.fineTuning.jobs.checkpoints.list(made.id), true);
  assert.equal(kept[0].fine_tuned_model_checkpoint, done.fine_tuned_model);
  told("fineTuning.jobs.checkpoints.list");
  await until(long.id, ["running"]);
  assert.equal(check("job", await client.fineTuning.jobs.pause(long.id)).status, "paused");
  told("fineTuning.jobs.pause");
  assert.equal((await client.fineTuning.jobs.resume(long.id)).status, "queued");
  told("fineTuning.jobs.resume");
  assert.equal((await client.fineTuning.jobs.cancel(long.id)).status, "cancelled");
  told("fineTuning.jobs.cancel");
  await refused(400, OpenAI.BadRequestError, () => client.fineTuning.jobs.pause(made.id));
  const unknown = { code: "fine_tune_not_found", param: "fine_tune_id" };
  const lost = () => client.fineTuning.jobs.retrieve("ftjob-x");
  await refused(404, OpenAI.NotFoundError, lost, unknown);
  return done.fine_tuned_model;
}

async function models(model) {
  await page("model", client.models.list(), null);
  assert((await all(client.models.list())).map((one) => one.id).includes(model));
  told("models.list");
  check("model", await client.models.retrieve(model));
  told("models.retrieve");
  const about = { code: "model_not_found", param: "model" };
  await refused(404, OpenAI.NotFoundError, () => client.models.retrieve("meta/llama"), about);
}

async function permissions(model) {
  const { permissions: permitted } = client.fineTuning.checkpoints;
  const made = await all(permitted.create(model, { project_ids: [project] }));
  check("permission", made[0]);
  told("fineTuning.checkpoints.permissions.create");
  const found = await permitted.retrieve(model);
  assert.equal(found.data[0].project_id, project);
  told("fineTuning.checkpoints.permissions.retrieve");
  assert.equal((await all(permitted.list(model))).length, 1);
  told("fineTuning.checkpoints.permissions.list");
  const about = { fine_tuned_model_checkpoint: model };
  const ended = check("deleted", await permitted.delete(made[0].id, about));
  assert.equal(ended.object, "checkpoint.permission");
  told("fineTuning.checkpoints.permissions.delete");
}

async function chat(model) {
  const ask = { model, messages: [{ role: "user", content: "the lamp is broken" }] };
  const { completions } = client.chat;
  const scored = { n: 2, seed: 1, temperature: 0, logprobs: true, top_logprobs: 2 };
  const answer = check("completion", await completions.create({ ...ask, ...scored }));
  check("usage", answer.usage);
  answer.choices.forEach((choice, i) => assert.equal(check("choice", choice).index, i));
  check("message", answer.choices[0].message);
  const tokens = answer.choices[0].logprobs.content.map((token) => check("token", token));
  assert.equal(Buffer.from(tokens.flatMap((token) => token.bytes)).toString(), "alpha");
  told("chat.completions.create");
  const given = { ...ask, stream: true, stream_options: { include_usage: true } };
  const chunks = await all(completions.create(given));
  chunks.forEach((chunk) => check("chunk", chunk));
  assert.equal(chunks.map((c) => c.choices[0]?.delta.content ?? "").join(""), "alpha");
  assert(chunks.at(-1).usage.total_tokens);
  told("chat.completions.create, stream");
  const streamed = await completions.stream(ask).finalChatCompletion();
  assert.equal(streamed.choices[0].message.content, "alpha");
  told("chat.completions.stream");
  const about = { code: "model_not_found", param: "model" };
  const lost = () => completions.create({ ...ask, model: "ft:none" });
  await refused(404, OpenAI.NotFoundError, lost, about);
  const stored = await completions.create({ ...ask, store: true, metadata: { a: "b" } });
  check("completion", await completions.retrieve(stored.id));
  told("chat.completions.retrieve");
  assert.equal((await all(completions.list({ model, limit: 1 })))[0].id, stored.id);
  told("chat.completions.list");
  const updated = await completions.update(stored.id, { metadata: { c: "d" } });
  assert.deepEqual(updated.metadata, { c: "d" });
  told("chat.completions.update");
  const messages = await all(completions.messages.list(stored.id));
  assert.equal(messages[0].content, "the lamp is broken");
  told("chat.completions.messages.list");
  check("deleted", await completions.delete(stored.id));
  told("chat.completions.delete");
}

async function completions(model) {
  const prompt = ["the lamp is broken", "my invoice is wrong"];
  const answer = await client.completions.create({ model, prompt, logprobs: 2, max_tokens: 1 });
  check("text_completion", answer);
  const texts = answer.choices.map((choice) => check("text_choice", choice).text.trim());
  assert.deepEqual(texts, ["alpha", "beta"]);
  told("completions.create");
}

async function embeddings(model) {
  for (const name of ["minilm-l6", model]) {
    for (const given of [{}, { encoding_format: "float" }]) {
      const asked = { model: name, input: ["a lamp", "an oven"], ...given };
      const found = check("embeddings", await client.embeddings.create(asked));
      assert.equal(found.data[0].embedding.length, 384);
    }
  }
  told("embeddings.create");
}

async function responses(model) {
  const answer = await client.responses.create({ model, input: "the lamp is broken" });
  check("response", answer);
  assert.equal(answer.output_text, "alpha");
  told("responses.create");
  assert.equal((await client.responses.retrieve(answer.id)).id, answer.id);
  told("responses.retrieve");
  const items = await all(client.responses.inputItems.list(answer.id));
  assert.equal(items[0].content[0].text, "the lamp is broken");
  told("responses.inputItems.list");
  const asked = { model, input: "a lamp", stream: true };
  const events = await all(client.responses.create(asked));
  assert.equal(events.at(-1).type, "response.completed");
  told("responses.create, stream");
  await refused(400, OpenAI.BadRequestError, () => client.responses.cancel(answer.id));
  await client.responses.delete(answer.id);
  told("responses.delete");
}

async function batches(model) {
  const body = { model, messages: [{ role: "user", content: "the lamp is broken" }] };
  const endpoint = "/v1/chat/completions";
  const asked = ["a", "b"].map((id) => ({ custom_id: id, method: "POST", url: endpoint, body }));
  const file = await client.files.create({
    file: await toFile(Buffer.from(jsonl(asked)), "in.jsonl"),
    purpose: "batch",
  });
  const given = { input_file_id: file.id, endpoint, completion_window: "24h" };
  let batch = check("batch", await client.batches.create(given));
  told("batches.create");
  for (const end = Date.now() + 60000; batch.status !== "completed"; await sleep(100)) {
    assert(Date.now() < end && batch.status !== "failed", JSON.stringify(batch));
    batch = check("batch", await client.batches.retrieve(batch.id));
  }
  told("batches.retrieve");
  const answers = (await text(batch.output_file_id)).trim().split("\n").map((l) => JSON.parse(l));
  answers.forEach((line) => check("batch_line", line));
  assert.deepEqual(answers.map((line) => line.custom_id).sort(), ["a", "b"]);
  await page("batch", client.batches.list({ limit: 1 }), true);
  told("batches.list");
  const second = await client.batches.create(given);
  const ended = await client.batches.cancel(second.id).catch(() => null);
  assert(ended === null || ["cancelling", "cancelled"].includes(ended.status));
  told("batches.cancel");
}

async function graders() {
  const grader = {
    type: "string_check",
    name: "same",
    operation: "eq",
    input: "{{ sample.output_text }}",
    reference: "{{ item.answer }}",
  };
  const { graders: alpha } = client.fineTuning.alpha;
  assert.equal((await alpha.validate({ grader })).grader.type, "string_check");
  told("fineTuning.alpha.graders.validate");
  const run = await alpha.run({ grader, model_sample: "yes", item: { answer: "yes" } });
  assert.equal(check("grade", run).reward, 1);
  told("fineTuning.alpha.graders.run");
}

async function evals(model) {
  const same = {
    type: "string_check",
    name: "same",
    operation: "eq",
    input: "{{ sample.output_text }}",
    reference: "{{ item.label }}",
  };
  const schema = { type: "object", properties: { text: { type: "string" } }, required: ["text"] };
  const about = await client.evals.create({
    name: "node",
    data_source_config: { type: "custom", item_schema: schema, include_sample_schema: true },
    testing_criteria: [same],
  });
  check("eval", about);
  told("evals.create");
  assert.equal((await client.evals.retrieve(about.id)).id, about.id);
  told("evals.retrieve");
  assert.equal((await client.evals.update(about.id, { name: "new" })).name, "new");
  told("evals.update");
  await page("eval", client.evals.list({ limit: 1 }), true);
  const ids = (await all(client.evals.list({ limit: 1, order_by: "updated_at" }))).map((e) => e.id);
  assert(ids.includes(about.id));
  told("evals.list");
  const run = await evalRuns(about, model);
  const { runs } = client.evals;
  check("eval_run_deleted", await runs.delete(run.id, { eval_id: about.id }));
  told("evals.runs.delete");
  check("eval_deleted", await client.evals.delete(about.id));
  told("evals.delete");
}

async function evalRuns(about, model) {
  const items = [
    { text: "the lamp is broken", label: "alpha" },
    { text: "my invoice is wrong", label: "alpha" },
  ];
  const data_source = {
    type: "completions",
    model,
    source: { type: "file_content", content: items.map((item) => ({ item })) },
    input_messages: {
      type: "template",
      template: [{ role: "user", content: "{{ item.text }}" }],
    },
  };
  const { runs } = client.evals;
  const place = { eval_id: about.id };
  let run = check("eval_run", await runs.create(about.id, { data_source }));
  told("evals.runs.create");
  for (const end = Date.now() + 60000; run.status !== "completed"; await sleep(100)) {
    assert(Date.now() < end && run.status !== "failed", JSON.stringify(run));
    run = check("eval_run", await runs.retrieve(run.id, place));
  }
  assert.deepEqual(check("eval_counts", run.result_counts).passed, 1);
  run.per_model_usage.forEach((usage) => check("eval_usage", usage));
  run.per_testing_criteria_results.forEach((one) => check("eval_criterion", one));
  told("evals.runs.retrieve");
  await page("eval_run", runs.list(about.id, { limit: 1 }), true);
  assert.equal((await all(runs.list(about.id, { status: "completed" })))[0].id, run.id);
  told("evals.runs.list");
  const listed = await page("eval_item", runs.outputItems.list(run.id, place), true);
  listed.forEach((item) => check("eval_sample", item.sample));
  listed.flatMap((item) => item.results).forEach((one) => check("eval_result", one));
  assert.deepEqual(listed.map((item) => item.status), ["pass", "fail"]);
  const failed = await all(runs.outputItems.list(run.id, { ...place, status: "fail", limit: 1 }));
  assert.deepEqual(failed.map((item) => item.datasource_item), [items[1]]);
  told("evals.runs.outputItems.list");
  const named = { ...place, run_id: run.id };
  check("eval_item", await runs.outputItems.retrieve(listed[0].id, named));
  told("evals.runs.outputItems.retrieve");
  const second = await runs.create(about.id, { data_source });
  const ended = await runs.cancel(second.id, place).catch(() => null);
  assert(ended === null || ended.status === "canceled");
  told("evals.runs.cancel");
  return run;
}

const stranger = new OpenAI({ baseURL, apiKey: "sk-wrong", maxRetries: 0 });
await refused(401, OpenAI.AuthenticationError, () => stranger.models.list(), {
  code: "invalid_api_key",
});
const [training, validation] = await files();
await uploads();
const model = await jobs(training, validation);
await models(model);
await permissions(model);
await chat(model);
await completions(model);
await embeddings(model);
await responses(model);
await batches(model);
await graders();
await evals(model);
assert.equal(check("deleted", await client.models.delete(model)).object, "model");
told("models.delete");
for (const id of [training, validation]) check("deleted", await client.files.delete(id));
told("files.delete");
console.log(`${calls} calls, openai for Node ${require("openai/version").VERSION}`);
