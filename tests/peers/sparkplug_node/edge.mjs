// A Sparkplug edge node that nobody here wrote: npm's sparkplug-client, told what to do.
//
// Enters: options as one JSON argument (see DEFAULTS), then commands, one JSON object a line, on
// stdin: {"do": "data", "metrics": [{"name": "a", "type": "Double", "value": 1.5}]}. Leaves: a
// first line when it is connected, a line for each command, in their order, and what happens as
// {"event": "connect" | "offline" | "command" | "births", ...}. Ends with its stdin.
//
// Metrics are the library's; a value of a 64-bit type or a DateTime may be text, bytes are base64.
// As an application should, it keeps the births it was given, with the newest values, and sends
// them again when the library asks for them (each connection) or a host does (Node Control/Rebirth).

import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

const require = createRequire(import.meta.url);
const Long = require("long");
const { newClient } = require("sparkplug-client");

const DEFAULTS = {
  url: "", // of the broker, as mqtt.js takes it
  group: "plant",
  node: "edge-1",
  death: true, // whether it says its death itself before it leaves
  rebirth: true, // whether it does what a host's rebirth command asks
  mqtt: {}, // options of mqtt.js
  files: {}, // ca, cert, key: PEM files
};
const LONGS = { INT64: false, UINT64: true, DATETIME: true, LONG: false };
const REBIRTH = "Node Control/Rebirth";

console.log = console.info = console.warn = console.error; // stdout is for answers

const options = { ...DEFAULTS, ...JSON.parse(process.argv[2] ?? "{}") };
const births = { node: null, devices: new Map() };
let edge;

const say = (what) => process.stdout.write(`${JSON.stringify(what, plain)}\n`);

function plain(key, value) {
  if (Long.isLong(value)) return value.toString();
  return value?.type === "Buffer" ? Buffer.from(value.data).toString("base64") : value;
}

/** A metric as the library takes it. */
function metricOf(given) {
  const { value } = given;
  const type = given.type.toUpperCase();
  if (type in LONGS && typeof value === "string") {
    return { ...given, value: Long.fromString(value, LONGS[type]) };
  }
  return type === "BYTES" || type === "FILE"
    ? { ...given, value: Buffer.from(value, "base64") }
    : given;
}

function payloadOf({ metrics = [], timestamp = Date.now() }) {
  return { timestamp, metrics: metrics.map(metricOf) };
}

/** Keep the newest values for the next birth. */
function keep(kept, metrics) {
  for (const { name, alias, value } of metrics) {
    const same = (one) => (name === undefined ? one.alias === alias : one.name === name);
    const found = kept?.find(same);
    if (found) found.value = value;
  }
}

function bear() {
  if (births.node === null) return;
  const control = { name: REBIRTH, type: "Boolean", value: false };
  edge.publishNodeBirth(payloadOf({ metrics: [control, ...births.node] }), options.birth);
  for (const [device, metrics] of births.devices) {
    edge.publishDeviceBirth(device, payloadOf({ metrics }));
  }
  say({ event: "births", devices: [...births.devices.keys()] });
}

function obey(payload, device = null) {
  const metrics = payload.metrics ?? [];
  say({ event: "command", device, metrics });
  const asked = metrics.some(({ name, value }) => name === REBIRTH && value === true);
  if (asked && options.rebirth) bear();
}

function connected() {
  const tls = Object.entries(options.files).map(([name, file]) => [name, readFileSync(file)]);
  edge = newClient({
    serverUrl: options.url, groupId: options.group, edgeNode: options.node,
    clientId: `${options.group}-${options.node}`, username: options.user ?? null,
    password: options.password ?? null, publishDeath: options.death,
    mqttOptions: { reconnectPeriod: 100, ...options.mqtt, ...Object.fromEntries(tls) },
  });
  edge.on("birth", bear);
  edge.on("ncmd", (payload) => obey(payload));
  edge.on("dcmd", (device, payload) => obey(payload, device));
  edge.on("offline", () => say({ event: "offline" }));
  edge.on("error", (error) => say({ error: String(error) }));
  // Answers wait until its commands are subscribed to, or a host's first one could be lost.
  return new Promise((resolve) => {
    edge.client.on("packetreceive", ({ cmd }) => cmd === "suback" && resolve());
    edge.on("connect", () => say({ event: "connect" }));
  });
}

const commands = {
  birth: ({ metrics }) => {
    births.node = metrics;
    bear();
  },
  device_birth: ({ device, metrics }) => {
    births.devices.set(device, metrics);
    edge.publishDeviceBirth(device, payloadOf({ metrics }));
  },
  data: (said) => {
    keep(births.node, said.metrics);
    edge.publishNodeData(payloadOf(said), said.options);
  },
  device_data: (said) => {
    keep(births.devices.get(said.device), said.metrics);
    edge.publishDeviceData(said.device, payloadOf(said), said.options);
  },
  device_death: ({ device }) => {
    births.devices.delete(device);
    edge.publishDeviceDeath(device, payloadOf({}));
  },
  // Something else takes this topic's place: what the library would never say.
  raw: ({ topic, base64 }) => edge.client.publish(topic, Buffer.from(base64, "base64")),
  // One message of the node gets lost on its way.
  lose: () => edge.incrementSeqNum(),
  // The connection breaks off, and is made anew.
  drop: () => edge.client.stream.destroy(),
  // Power off: no word, and no new connection.
  die: () => edge.client.end(true),
  stop: () => edge.stop(),
  connect: () => connected(),
};

await connected();
say({});
for await (const line of createInterface({ input: process.stdin })) {
  try {
    const { do: command, ...what } = JSON.parse(line);
    await commands[command](what);
    say({});
  } catch (error) {
    say({ error: String(error?.stack ?? error) });
  }
}
process.exit(0);
