// WebSockets before an MQTT broker that has none: npm's `ws`, as a plant's web server would do it.
//
// Enters: one JSON argument: {"to": port of the broker, "ws": port, "wss": port or null,
// "ca", "certificate", "key": PEM files for wss, "ask": whether a client must show a certificate
// that `ca` signed}. Serves the subprotocol `mqtt` at /mqtt until it is ended.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { connect } from "node:net";
import { createWebSocketStream, WebSocketServer } from "ws";

const asked = JSON.parse(process.argv[2]);

function join(socket) {
  const near = createWebSocketStream(socket);
  const far = connect(asked.to, "127.0.0.1");
  near.pipe(far).pipe(near);
  for (const [one, other] of [[near, far], [far, near]]) {
    one.on("error", (error) => console.error(String(error)));
    one.on("close", () => other.destroy());
  }
}

function serve(server, port) {
  const handleProtocols = (offered) => (offered.has("mqtt") ? "mqtt" : false);
  new WebSocketServer({ server, path: "/mqtt", handleProtocols }).on("connection", join);
  server.on("tlsClientError", (error) => console.error(String(error)));
  server.listen(port, "127.0.0.1");
}

serve(createServer(), asked.ws);
if (asked.wss) {
  const files = [asked.ca, asked.certificate, asked.key];
  const [ca, cert, key] = files.map((file) => readFileSync(file));
  const options = { ca, cert, key, requestCert: asked.ask, rejectUnauthorized: asked.ask };
  serve(createTlsServer(options), asked.wss);
}
