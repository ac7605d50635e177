/* browser: what xmpp.js takes from browsers and the Node of Debian 12 (18) lacks. */
import { webcrypto } from "node:crypto";
import WebSocket from "ws";

globalThis.crypto ??= webcrypto;
globalThis.WebSocket ??= WebSocket;
