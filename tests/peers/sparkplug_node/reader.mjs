// A Sparkplug reader that nobody here wrote: mqtt.js and npm's sparkplug-payload.
//
// Enters: options as one JSON argument: {"url", "topics", "files": {ca, cert, key}, "mqtt"}, then
// commands on stdin: {"do": "rebirth", "group", "node"}, {"do": "state", "host", "online"}.
// Leaves: a first line when it is subscribed, a line for each command, and each message as
// {"event": "message", "topic", "qos", "retain", "payload"}; what cannot be decoded has "error" and
// the bytes. 64-bit integers and what is no finite number are text, bytes are base64. Ends with its
// stdin.
//
// The library wants each metric's datatype, which data should not repeat (Sparkplug 3.0, 6.4.4,
// tck-id-payloads-metric-datatype-not-req): it is put back from the births, as any host must.

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

const require = createRequire(import.meta.url);
const Long = require("long");
const mqtt = require("mqtt");
const sparkplug = require("sparkplug-payload").get("spBv1.0");
const proto = require("sparkplug-payload/lib/sparkplugPayloadProto.js");

const { Payload } = proto.org.eclipse.tahu.protobuf;
const options = { topics: ["spBv1.0/#"], files: {}, mqtt: {}, ...JSON.parse(process.argv[2]) };
const tls = Object.entries(options.files).map(([name, file]) => [name, readFileSync(file)]);
const say = (what) => process.stdout.write(`${JSON.stringify(what, plain)}\n`);

function plain(key, value) {
  if (Long.isLong(value)) return value.toString();
  if (typeof value === "number" && !Number.isFinite(value)) return String(value);
  return value?.type === "Buffer" ? Buffer.from(value.data).toString("base64") : value;
}

const datatypes = new Map(); // by node and alias, or by node, device and name

/** The same message with the datatypes that the births gave. */
function typed(topic, body) {
  const [, group, kind, node, device = ""] = topic.split("/");
  const payload = Payload.decode(body);
  for (const metric of payload.metrics) {
    const has = (field) => Object.hasOwn(metric, field);
    const byName = JSON.stringify([group, node, device, metric.name]);
    const byAlias = JSON.stringify([group, node, String(metric.alias)]);
    if (kind.endsWith("BIRTH")) {
      if (has("alias")) datatypes.set(byAlias, metric.datatype);
      datatypes.set(byName, metric.datatype);
    } else if (!has("datatype")) {
      metric.datatype = datatypes.get(has("name") ? byName : byAlias);
    }
  }
  return Payload.encode(payload).finish();
}

function decoded(topic, body) {
  if (topic.startsWith("spBv1.0/STATE/") || !topic.startsWith("spBv1.0/")) {
    return { payload: JSON.parse(body) };
  }
  try {
    return { payload: sparkplug.decodePayload(typed(topic, body)) };
  } catch (error) {
    return { error: String(error), payload: body };
  }
}

const client = mqtt.connect(options.url, { ...options.mqtt, ...Object.fromEntries(tls) });
client.on("message", (topic, body, { qos, retain }) => {
  say({ event: "message", topic, qos, retain, ...decoded(topic, body) });
});
client.on("error", (error) => say({ error: String(error) }));

const publish = (topic, body, how) =>
  new Promise((resolve) => client.publish(topic, body, how, () => resolve()));

const commands = {
  rebirth: ({ group, node }) => {
    const asked = { name: "Node Control/Rebirth", type: "Boolean", value: true };
    const body = sparkplug.encodePayload({ timestamp: Date.now(), metrics: [asked] });
    return publish(`spBv1.0/${group}/NCMD/${node}`, body, { qos: 0 });
  },
  state: ({ host, online, timestamp = Date.now() }) => {
    const body = JSON.stringify({ online, timestamp });
    return publish(`spBv1.0/STATE/${host}`, body, { qos: 1, retain: true });
  },
};

await new Promise((resolve) => client.subscribe(options.topics, { qos: 1 }, resolve));
say({});
for await (const line of createInterface({ input: process.stdin })) {
  const { do: command, ...what } = JSON.parse(line);
  await commands[command](what);
  say({});
}
process.exit(0);
