/* Hooks for React: docs/frameworks.md. */

import { useEffect, useState } from "react";

import * as live from "../live.js";

/* start(show) runs while the component is there, and anew for other keys. */

function useLive(start, initial, keys) {
    const [value, show] = useState(initial);

    useEffect(() => start(show), keys);

    return value;
}

/* {messages, state, error, channel, publish} */

export function useChannel(hub, name, options) {
    const channel = hub.channel(name);
    const value = useLive(
        (show) => live.messages(hub, name, options, show),
        { messages: [], state: channel.state },
        [hub, name, JSON.stringify(options)]);

    return { ...value, channel,
             publish: (...args) => channel.publish(...args) };
}

/* The members; with data, this client is one of them. */

export function usePresence(hub, name, data) {
    return useLive((show) => live.members(hub, name, data, show), [],
                   [hub, name, JSON.stringify(data)]);
}

/* {fields, version, pending, conflict, record, set} */

export function useRecord(hub, name, id) {
    const record = hub.channel(name).record(id);
    const value = useLive((show) => live.record(hub, name, id, show),
                          { version: 0, pending: 0 }, [hub, name, id]);

    return { ...value, record, set: (...args) => record.set(...args) };
}
