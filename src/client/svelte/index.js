/* Stores for Svelte: docs/frameworks.md. They are live while one subscribes. */

import { readable } from "svelte/store";

import * as live from "../live.js";

/* {messages, state, error}, and publish() */

export function channelStore(hub, name, options) {
    const channel = hub.channel(name);

    return {
        ...readable({ messages: [], state: channel.state },
                    (show) => live.messages(hub, name, options, show)),
        publish: (...args) => channel.publish(...args),
    };
}

/* The members; with data, this client is one of them. */

export function presenceStore(hub, name, data) {
    return readable([], (show) => live.members(hub, name, data, show));
}

/* {fields, version, pending, conflict}, and set() */

export function recordStore(hub, name, id) {
    const record = hub.channel(name).record(id);

    return {
        ...readable({ version: 0, pending: 0 },
                    (show) => live.record(hub, name, id, show)),
        set: (...args) => record.set(...args),
    };
}
