/* The command line. What is wrong with it is a UsageError. */

import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";

export class UsageError extends Error {}

const COMMON = {
    "url": { type: "string", short: "u" },
    "token": { type: "string", short: "t" },
    "token-file": { type: "string" },
    "channel-token": { type: "string" },
    "header": { type: "string", short: "H", multiple: true },
    "user-agent": { type: "string", short: "A" },
    "transport": { type: "string" },
    "timeout": { type: "string" },
    "format": { type: "string", short: "f" },
    "quiet": { type: "boolean", short: "q" },
    "help": { type: "boolean", short: "h" },
};

const COMMON_USAGE = `
  -u, --url URL            of the location; FANOUT_URL
  -t, --token TOKEN        of the session; FANOUT_TOKEN, which others don't see
      --token-file FILE    the same from a file, read for each connection
      --channel-token T    a token of the channels
  -H, --header 'N: VALUE'  an HTTP header; again for more
  -A, --user-agent TEXT    the header User-Agent
      --transport NAME     websocket, sse or poll; the best one by default
      --timeout SECONDS    for the first connection: 10
  -f, --format FORMAT      json: one object a line; text: for people, and the
                           default on a terminal
  -q, --quiet              nothing about the connection
  -h, --help
`;

export function usageOf({ usage }) {
    return usage.trimEnd() + "\n" + COMMON_USAGE;
}

/* {help}, or the values of the options with channels, args and what is asked */

export function parse(command, args) {
    let parsed;

    try {
        parsed = parseArgs({ args, allowPositionals: true,
                             options: { ...COMMON, ...command.options } });

    } catch (e) {
        if (!String(e.code).startsWith("ERR_PARSE_ARGS")) {
            throw e;
        }

        throw new UsageError(e.message.replace(
            /\. .*/s, `; what begins with "-" and is none stands behind "--"`));
    }

    const { values, positionals } = parsed;

    if (values.help) {
        return { help: true };
    }

    if (!positionals.length || positionals.includes("")) {
        throw new UsageError("there is no channel");
    }

    return {
        ...values,
        positionals,
        url: urlOf(values.url ?? process.env.FANOUT_URL),
        token: tokenOf(values),
        headers: headersOf(values),
        transport: oneOf(values, "transport", ["websocket", "sse", "poll"]),
        format: oneOf(values, "format", ["json", "text"])
                ?? (process.stdout.isTTY ? "text" : "json"),
        timeout: numberOf(values, "timeout", 10, 0.1),
    };
}

/* One channel, for commands that take no more. */

export function onlyChannel({ positionals }) {
    if (positionals.length > 1) {
        throw new UsageError("more than one channel");
    }

    return positionals[0];
}

/* A number of the option name, at least min. */

export function numberOf(values, name, otherwise, min) {
    const text = values[name];

    if (text === undefined) {
        return otherwise;
    }

    const value = Number(text);

    if (text.trim() === "" || !Number.isFinite(value) || value < min
        || Number.isInteger(min) && !Number.isInteger(value))
    {
        throw new UsageError(`--${name} is no number from ${min}: "${text}"`);
    }

    return value;
}

export function oneOf(values, name, all) {
    const value = values[name];

    if (value !== undefined && !all.includes(value)) {
        throw new UsageError(`--${name} is one of ${all.join(", ")}`);
    }

    return value;
}

function urlOf(text) {
    if (!text) {
        throw new UsageError("there is no --url, and no FANOUT_URL");
    }

    let url;

    try {
        url = new URL(text);

    } catch (e) {
        throw new UsageError(`no URL: "${text}"`);
    }

    if (!/^(?:https?|wss?):$/.test(url.protocol)) {
        throw new UsageError("the URL has another scheme than http, https,"
                             + " ws or wss");
    }

    if (url.username || url.password) {
        throw new UsageError("the URL has a user or a password: send them by"
                             + " --header 'Authorization: Basic …'");
    }

    return url.href;
}

function tokenOf(values) {
    const file = values["token-file"];
    const token = values.token ?? (process.env.FANOUT_TOKEN || undefined);
    const read = () => readFileSync(file, "utf8").trim();

    if (file === undefined) {
        return plain(token);
    }

    if (values.token !== undefined) {
        throw new UsageError("--token or --token-file");
    }

    try {
        plain(read());

    } catch (e) {
        throw new UsageError("--token-file: " + e.message);
    }

    return read;
}

function plain(token) {
    if (token !== undefined && !/^[\x21-\x7e]+$/.test(token)) {
        throw new UsageError("the token is empty, or has characters that no"
                             + " token has");
    }

    return token;
}

function headersOf({ header = [], "user-agent": agent }) {
    const headers = new Headers();

    for (const text of header) {
        const [, name = "", value] = /^([^:]+):\s*(.*)$/.exec(text) || [];

        try {
            headers.append(name, value);        /* throws without a name */

        } catch (e) {
            throw new UsageError(`no header: "${text}"`);
        }
    }

    if (agent !== undefined) {
        headers.set("User-Agent", agent);
    }

    return headers;
}
