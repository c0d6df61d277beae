// An OPC UA server that nobody here wrote: node-opcua's, told what to do from outside.
//
// Enters: options as one JSON argument (see DEFAULTS), then commands, one JSON object a line, on
// stdin: {"do": "set", "node": "v0", "value": 1}. Leaves: one JSON line on stdout when it is
// ready, {"port": ...}, and one for each command, in their order: what it found, or
// {"error": "..."}. What the library says goes to stderr. The process ends with its stdin.
//
// Its variables are `s=v0` and so on in the namespace urn:andon:peer, Doubles that are sampled on
// change; `historized` of them keep their history; `s=pressure` has a limit alarm at 100.

import { createInterface } from "node:readline";
import path from "node:path";
import certificates from "node-opcua-certificate-manager";
import files from "node-opcua-nodesets";
import channels from "node-opcua-secure-channel";
import opcua from "node-opcua-server";
import statuses from "node-opcua-status-code";
import variants from "node-opcua-variant";

const { OPCUACertificateManager } = certificates;
const { nodesets } = files;
const { MessageSecurityMode, SecurityPolicy } = channels;
const { MonitoredItem, OPCUAServer, Subscription } = opcua;
const { StatusCodes } = statuses;
const { DataType } = variants;

const DEFAULTS = {
  port: 0,
  pki: "", // folder of its own certificate, key and trust lists
  accept: true, // client and user certificates that it does not know
  users: {}, // name: password; nobody else but anonymous ones and user certificates
  anonymous: true,
  security: ["None", "Basic256Sha256"],
  variables: 10,
  historized: 0,
  kept: 100_000, // values of history a variable
  without: [], // variables that are not there, by name
  operation_limits: { maxMonitoredItemsPerCall: 1000, maxNodesPerRead: 1000 },
  nodesets: [], // names of node sets the library brings, as "machinery"
};
const NAMESPACE = "urn:andon:peer";
const ALARM_LIMIT = 100;

console.log = console.info = console.warn = console.error; // stdout is for answers

const options = { ...DEFAULTS, ...JSON.parse(process.argv[2] ?? "{}") };
const clock = { offset_ms: 0 };
const counters = new Map();
const nodes = new Map();
const muted = new Set();

// The library asks Date for the time everywhere; so does what is written here.
const RealDate = Date;
globalThis.Date = class extends RealDate {
  constructor(...given) {
    super(...(given.length ? given : [RealDate.now() + clock.offset_ms]));
  }
  static now() {
    return RealDate.now() + clock.offset_ms;
  }
};

MonitoredItem.minimumSamplingInterval = 10;
Subscription.minimumPublishingInterval = 10;

class Server extends OPCUAServer {
  _on_PublishRequest(message, channel) {
    if (!muted.has(channel)) super._on_PublishRequest(message, channel);
  }
}

async function keeper(name) {
  const manager = new OPCUACertificateManager({
    rootFolder: path.join(options.pki, name),
    automaticallyAcceptUnknownCertificate: options.accept,
    disableFileWatchers: true,
  });
  await manager.initialize();
  return manager;
}

async function made() {
  const secured = options.security.filter((policy) => policy !== "None");
  const modes = [
    ...(options.security.includes("None") ? [MessageSecurityMode.None] : []),
    ...(secured.length ? [MessageSecurityMode.SignAndEncrypt] : []),
  ];
  const server = new Server({
    port: options.port,
    hostname: "127.0.0.1",
    alternateHostname: [],
    resourcePath: "/peer",
    nodeset_filename: ["standard", ...options.nodesets].map((name) => nodesets[name]),
    serverInfo: { applicationUri: "urn:127.0.0.1:andon:peer", productUri: NAMESPACE },
    serverCertificateManager: await keeper("server"),
    userCertificateManager: await keeper("users"),
    securityPolicies: secured.map((policy) => SecurityPolicy[policy]),
    securityModes: modes,
    allowAnonymous: options.anonymous,
    allowAnonymousSubscriptionTransferOnUnsecuredChannel: true,
    userManager: { isValidUser: (name, password) => options.users[name] === password },
    serverCapabilities: {
      minSupportedSampleRate: 0, // every change is reported, none is sampled away
      operationLimits: options.operation_limits,
      maxMonitoredItemsQueueSize: 10_000,
    },
  });
  await server.initialize();
  return server;
}

const server = await made();
const space = server.engine.addressSpace;
space.installAlarmsAndConditionsService(); // binds ConditionRefresh
const own = space.registerNamespace(NAMESPACE);
const machine = own.addObject({
  browseName: "press-01",
  nodeId: "s=press-01",
  organizedBy: space.rootFolder.objects,
  eventSourceOf: space.rootFolder.objects.server,
  eventNotifier: 1,
});

function add(name) {
  const node = own.addVariable({
    browseName: name,
    nodeId: `s=${name}`,
    componentOf: machine,
    dataType: "Double",
    minimumSamplingInterval: 0,
  });
  const number = Number(name.slice(1));
  if (number < options.historized) {
    space.installHistoricalDataNode(node, { maxOnlineValues: options.kept });
  }
  nodes.set(name, node);
  set(name, Number.isNaN(number) ? 0 : number);
}

function set(name, value, status = 0, time = new Date()) {
  const code = Object.values(StatusCodes).find((known) => known.value === status);
  nodes.get(name).setValueFromSource({ dataType: DataType.Double, value }, code, time);
}

for (const name of ["pressure", ...Array.from({ length: options.variables }, (_, i) => `v${i}`)]) {
  if (!options.without.includes(name)) add(name);
}
const alarm = own.instantiateExclusiveLimitAlarm("ExclusiveLimitAlarmType", {
  browseName: "PressureHigh",
  conditionName: "PressureHigh",
  conditionSource: machine,
  inputNode: nodes.get("pressure"),
  highLimit: ALARM_LIMIT,
  lowLimit: -ALARM_LIMIT,
});

const sessions = () => Object.values(server.engine._sessions);

const COMMANDS = {
  // value, status, time_ms: of one variable
  set: ({ node, value, status, time_ms }) => set(node, value, status, time_ms && new Date(time_ms)),

  // all variables v0.. become `value` + their number
  sweep: ({ value }) => {
    for (const [name, node] of nodes) {
      const number = Number(name.slice(1));
      if (!Number.isNaN(number)) set(name, value + number);
    }
    return { nodes: nodes.size };
  },

  // one variable counts on from `start`, a step each `every_ms`, until `uncount`
  count: ({ node, start, every_ms }) => {
    const counter = { value: start };
    counter.timer = setInterval(() => {
      if (nodes.has(node)) set(node, counter.value++);
    }, every_ms);
    counters.set(node, counter);
  },
  uncount: ({ node }) => {
    clearInterval(counters.get(node).timer);
    return { next: counters.get(node).value };
  },

  // `count` values of one variable at once, a microsecond of source time apart
  burst: ({ node, start, count }) => {
    for (let i = 0; i < count; i++) set(node, start + i);
  },

  add: ({ node }) => add(node),
  remove: ({ node }) => {
    space.deleteNode(nodes.get(node));
    nodes.delete(node);
  },

  event: ({ message, severity }) => {
    machine.raiseEvent("BaseEventType", {
      message: { dataType: DataType.LocalizedText, value: { text: message } },
      severity: { dataType: DataType.UInt16, value: severity },
    });
  },
  alarm: ({ active }) => {
    set("pressure", active ? ALARM_LIMIT + 1 : 0);
    return { active: alarm.activeState.getValue() };
  },

  // publish requests of those who are connected now are taken, and never answered
  mute: () => {
    for (const session of sessions()) muted.add(session.channel);
    return { sessions: muted.size };
  },

  // all sessions end as if they had timed out, with or without their subscriptions
  expire: ({ subscriptions }) => {
    const tokens = sessions().map((one) => one.authenticationToken);
    for (const token of tokens) server.engine.closeSession(token, subscriptions, "Timeout");
    return { sessions: tokens.length };
  },

  // look at the folders of certificates again
  reread: async () => void (await server.serverCertificateManager.reloadCertificates()),
  clock: ({ offset_ms }) => void (clock.offset_ms = offset_ms),
  state: () => ({
    sessions: server.engine.currentSessionCount,
    subscriptions: server.engine.currentSubscriptionCount,
    transferred: transfers,
    republished: republishes,
    items: sessions().flatMap((one) =>
      one.publishEngine.subscriptions.map((each) => each.monitoredItemCount),
    ),
  }),
};

let transfers = 0;
let republishes = 0;
server.on("response", (response) => {
  const results = response.results ?? [];
  const name = response.constructor.name;
  if (name === "TransferSubscriptionsResponse") {
    transfers += results.filter((one) => one.statusCode.isGood()).length;
  }
  republishes += name === "RepublishResponse" && response.responseHeader.serviceResult.isGood();
});

const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);

await server.start();
say({ port: server.endpoints[0].port });

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  try {
    say((await COMMANDS[command.do](command)) ?? {});
  } catch (error) {
    say({ error: `${command.do}: ${error.stack}` });
  }
}
process.exit(0);
